/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Cache of opens that were allowed without any effect: nothing counted, no rule with a source met,
 * the path resolved.
 *
 * Place in the data path: file.h → here → rt_opens. A hit allows; everything else decides as
 * without this file. docs/adr/0030-cache-of-opens.md lists what a decision reads, what changes it,
 * and why that is noticed before the next decision.
 * Invariants: an entry is of one dentry since that got its inode (handle_d_instantiate), one mount,
 * one container and one stamp. The stamp is the sum of counters that only grow: of renames, of
 * changes of mounts, of policies, and of dentries that began to use the slot. It was the same
 * before and after the decision that filled the entry, so it is equal only while none changed.
 * Limits: OPEN_SLOTS for the node. An entry ends with its window, so that no counter of 32 bits can
 * return to its value meanwhile.
 */
#ifndef BAILIFF_RUNTIME_OPEN_CACHE_H
#define BAILIFF_RUNTIME_OPEN_CACHE_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_tracing.h>

#include "cache.h"
#include "identity.h"
#include "mounts.h"
#include "other-tasks.h"
#include "state.h"

#define OPEN_SLOT_BITS 15
/* Jiffies of a window: 8 s at 1000 Hz, 82 s at 100 Hz. A rename takes far more than 40 ns. */
#define WINDOW_BITS 13

/* What rt_find_open() returns: OPEN_CACHED, OPEN_NOT_CACHED, or the stamp to fill an entry with. */
#define OPEN_CACHED	0
#define OPEN_NOT_CACHED 1

/*
 * One dentry may have an entry. User space never reads or writes it. `lock` covers all fields but
 * `dentries`.
 */
struct rt_open {
	struct bpf_spin_lock lock;
	__u32 dentries; /* counts dentries of this slot that got an inode */
	__u64 stamp;	/* 0: empty */
	__u64 dentry;
	__u64 mnt;
	__u64 pod[2];
	__u64 cgroup_id;
	__u64 root_dentry;
	__u32 root_device;
	__u16 ops;   /* bits of the operations that were allowed */
	__u16 bound; /* TASK_BOUND of the task */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << OPEN_SLOT_BITS);
	__type(key, __u32);
	__type(value, struct rt_open);
} rt_opens SEC(".maps");

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct seqcount {
	unsigned int sequence;
};

#pragma clang attribute pop

/* ---- entries ---- */

static __always_inline struct rt_open *slot_of(__u64 dentry)
{
	__u32 index = dentry * GOLDEN_RATIO >> (64 - OPEN_SLOT_BITS);

	return bpf_map_lookup_elem(&rt_opens, &index);
}

/* A counter that a sum of counters contains. */
static __always_inline __u32 counted(__u32 counter, enum open_check check)
{
	return leaves_out(check) ? 0 : counter;
}

/*
 * The stamp of this moment; 0: a rename, a mount or a change of policies is under way, or the cache
 * is off. The sequence counter is the first member of a seqlock, and odd while it is held.
 */
static __always_inline __u64 current_stamp(const struct rt_open *open)
{
	const struct rt_cache_control *control;
	__u32 zero = 0, renames, mounts, sum;
	__u64 epoch;

	control = bpf_map_lookup_elem(&rt_cache_control, &zero);
	if (!control || !control->mount_lock)
		return 0;
	epoch = control->epoch;
	renames = counted(LOAD(seqcount, (void *)control->rename_lock, sequence), CHECK_RENAMES);
	mounts = counted(LOAD(seqcount, (void *)control->mount_lock, sequence), CHECK_MOUNTS);
	if (epoch & CACHE_EPOCH_CHANGING || (renames | mounts) & 1)
		return 0;
	sum = renames + mounts + counted(epoch >> CACHE_EPOCH_SHIFT, CHECK_EPOCH) +
	      counted(open->dentries, CHECK_DENTRIES);
	return (bpf_jiffies64() >> WINDOW_BITS) << 32 | sum;
}

/* The lock is held. */
static __always_inline bool is_entry_of(const struct rt_open *open, const struct rt_open *key)
{
	return open->stamp == key->stamp && open->dentry == key->dentry && open->mnt == key->mnt &&
	       open->pod[0] == key->pod[0] && open->pod[1] == key->pod[1] &&
	       open->cgroup_id == key->cgroup_id && open->root_dentry == key->root_dentry &&
	       open->root_device == key->root_device && open->bound == key->bound;
}

/* What a key does not tell apart, in a test. */
static __always_inline void leave_out(struct rt_open *key)
{
	if (leaves_out(CHECK_MOUNT))
		key->mnt = 0;
	if (leaves_out(CHECK_BOUND))
		key->bound = 0;
	if (!leaves_out(CHECK_CONTAINER))
		return;
	key->pod[0] = key->pod[1] = key->cgroup_id = key->root_dentry = 0;
	key->root_device = 0;
}

#ifdef OPEN_CACHE_TEST
static long idle(__u32 step, void *context)
{
	return 0;
}

/* Time for a rename between the decision and its entry. */
static __always_inline void leave_out_before(void)
{
	if (leaves_out(CHECK_BEFORE))
		bpf_loop(20000, idle, NULL, 0);
}
#else
#define leave_out_before() \
	do { \
	} while (0)
#endif

/* Returns false if the current task is not armed. */
static __always_inline bool read_key(struct rt_open *key, const struct object *object)
{
	struct task_struct *task = bpf_get_current_task_btf();
	const struct task_state *state = state_of(task);

	if (!is_armed(task, state))
		return false;
	key->dentry = (__u64)object->dentry;
	key->mnt = (__u64)object->mnt;
	__builtin_memcpy(key->pod, &state->pod, sizeof(key->pod));
	key->cgroup_id = state->cgroup_id;
	key->root_dentry = state->root_dentry;
	key->root_device = state->root_device;
	key->bound = state->flags & TASK_BOUND;
	leave_out(key);
	return true;
}

/* Global functions here, so that the verifier takes the address of a dentry as a number. */
__noinline __u64 rt_find_open(const struct object *object)
{
	struct rt_open *open, key;
	__u32 wanted = 0;
	bool found;

	if (!bpf_ksym_exists(bpf_rdonly_cast) || !object || object->quiet ||
	    !read_key(&key, object))
		return OPEN_NOT_CACHED;
	open = slot_of((__u64)object->dentry);
	key.stamp = open ? current_stamp(open) : 0;
	if (!key.stamp)
		return OPEN_NOT_CACHED;
	if (!leaves_out(CHECK_OPS))
		wanted = object->ops;
	bpf_spin_lock(&open->lock);
	found = is_entry_of(open, &key) && !(wanted & ~open->ops);
	bpf_spin_unlock(&open->lock);
	if (found)
		return OPEN_CACHED;
	read_barrier();
	return key.stamp;
}

/*
 * Whether the decision depends on more than names and mounts: a mount that is in no namespace can
 * get further mounts beside it, and files of tasks and cgroups are decided by their task or cgroup.
 */
static __always_inline bool depends_on_more(const struct object *object)
{
	struct dentry *dentry = object->dentry;
	struct super_block *sb = LOAD(dentry, dentry, d_sb);
	unsigned long magic = LOAD(super_block, sb, s_magic);

	return !namespace_of(real_mount(object->mnt)) || magic == PROC_MAGIC ||
	       magic == CGROUP_MAGIC || magic == CGROUP2_MAGIC;
}

/* `stamp`: of before the decision, which allowed. */
__noinline int rt_store_open(const struct object *object, __u64 stamp)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct rt_open *open, key;
	__u64 now;
	bool known;

	if (!bpf_ksym_exists(bpf_rdonly_cast) || !object ||
	    (object->effects && !leaves_out(CHECK_EFFECTS)) || depends_on_more(object))
		return 0;
	open = slot_of((__u64)object->dentry);
	if (!open || !read_key(&key, object))
		return 0;
	/* a host's process can lose its state meanwhile, whose memory then holds another task's */
	read_barrier();
	leave_out_before();
	now = current_stamp(open);
	if (leaves_out(CHECK_BEFORE))
		stamp = now;
	if (!is_armed(task, state_of(task)) || !now || now != stamp)
		return 0;
	key.stamp = stamp;
	bpf_spin_lock(&open->lock);
	known = is_entry_of(open, &key);
	open->stamp = stamp;
	open->dentry = key.dentry;
	open->mnt = key.mnt;
	open->pod[0] = key.pod[0];
	open->pod[1] = key.pod[1];
	open->cgroup_id = key.cgroup_id;
	open->root_dentry = key.root_dentry;
	open->root_device = key.root_device;
	open->bound = key.bound;
	open->ops = known ? open->ops | object->ops : object->ops;
	bpf_spin_unlock(&open->lock);
	return 0;
}

__noinline int rt_begin_dentry(const struct object *object)
{
	struct rt_open *open = object ? slot_of((__u64)object->dentry) : NULL;

	if (open)
		__sync_fetch_and_add(&open->dentries, 1);
	return 0;
}

/*
 * A dentry gets its inode: after this its address, which an earlier dentry may have had, leads to
 * other names.
 */
SEC("lsm/d_instantiate")
int BPF_PROG(handle_d_instantiate, struct dentry *dentry, struct inode *inode)
{
	struct object object = { .dentry = dentry };

	rt_begin_dentry(&object);
	return 0;
}

#endif
