/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The maps of the runtime half, each with what bounds it and what happens when it is full. Keys and values: layout.h.
 *
 * Rules are written by user space only, a set whole under a new number before anything points at it, and freed a grace
 * period after nothing does; so what a program looks up does not change under it. `rt_pods` and `rt_containers` are what is
 * flipped: an element that went may be used again while a program still reads it, so their values are copied and looked up a
 * second time (identity.h). The kernel inserts into rt_cgroups, rt_born, rt_mounts and rt_sockets; full, it counts a loss or evicts.
 */
#ifndef BAILIFF_RUNTIME_MAPS_H
#define BAILIFF_RUNTIME_MAPS_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#include "kernel.h"
#include "layout.h"

#define MAX_SUBJECTS	4096	/* 1,024 pods with four containers that differ */

/* Twice what large clouds allow a node, and the pods that are going beside those that come. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct pod_uid);
	__type(value, struct subject);
} rt_pods SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_SUBJECTS);
	__type(key, __u64);
	__type(value, struct subject);
} rt_containers SEC(".maps");

/* Full: RT_LOSS_CGROUPS_FULL, and the pod waits for user space. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, struct pod_uid);
} rt_cgroups SEC(".maps");

/* Full: the time of that container's birth is not known; nothing else depends on it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, __u64);
} rt_born SEC(".maps");

/*
 * One entry for each start of a container, and one for each time that a runtime enters a namespace which the container made since. Full:
 * the longest unused goes, and that container is identified by its cgroup alone.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct rt_origin);
} rt_mounts SEC(".maps");

/* Bounded by the tasks themselves. Not made: the fork is refused. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct task_state);
} rt_tasks SEC(".maps");

/* The same before Linux 6.2 (state.h), elsewhere of one entry. Twice what kubelets allow 110 pods of 512 tasks. Full: the fork is refused. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 131072);
	__type(key, __u64);
	__type(value, struct task_state);
} rt_task_hash SEC(".maps");

/* Pods share sets, so these are policy sets in force and those in their grace period. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct set_head);
} rt_sets SEC(".maps");

/* Thousands of paths in hundreds of sets. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct path_key);
	__type(value, struct path_rules);
} rt_paths SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct rt_address_key);
	__type(value, struct address_rules);
} rt_addresses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct value_key);
	__type(value, struct value_rules);
} rt_values SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, struct source_key);
	__type(value, __u32);
} rt_sources SEC(".maps");

/* 4 MiB: 128 cells for each of MAX_SUBJECTS. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 524288);
	__type(key, __u32);
	__type(value, __u64);
} rt_counters SEC(".maps");

/* What bounds the samples of one subject; the kernel's alone. */
struct rt_bucket {
	__u64 refilled_ns;
	__u32 tokens;
	__u32 generation;	/* differs from the subject's: the bucket starts afresh */
	__u32 sample_due;		/* a first breach found the ring full: the next breach needs no token */
	struct bpf_spin_lock lock;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_SUBJECTS);
	__type(key, __u32);
	__type(value, struct rt_bucket);
} rt_buckets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rt_settings);
} rt_settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, RT_LOSS_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} rt_losses SEC(".maps");

/* Only raw and packet sockets; the longest unused goes. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct socket_maker);
} rt_sockets SEC(".maps");

/* The spoof half's ring by its pin, so that user space reads one; made if it is not there. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} samples SEC(".maps");

#define WALK_COMPONENTS	64	/* of a path; deeper ones are unresolved */
#define WALK_MOUNTS	16	/* that a walk crosses */
#define NAME_BYTES	256
#define TEXT_BYTES	SAMPLE_PATH_BYTES
#define SCRATCH_WORDS	64	/* a power of two above 1 + NAME_BYTES / 8, so that a mask bounds an index */

/* Where the walk left a mount upwards: what lies below is `count` components of its file system. */
struct crossing {
	struct dentry *root;
	__u32 device;
	__u32 count;
};

/* Working memory of one program run. Everything but the zeroes is written before it is read; see claim() in state.h. */
struct scratch {
	__u32 busy;
	__u32 count;		/* components, from the object upwards */
	__u32 crossings;
	__u32 end;		/* enum walk_end */
	__u64 key[2];
	__u64 hash;
	struct dentry *dentry;
	struct mount *mount;
	struct dentry *root;	/* of `mount` */
	struct dentry *stop;	/* a walk within one file system ends here; NULL otherwise */
	struct dentry *components[WALK_COMPONENTS];
	struct crossing crossed[WALK_MOUNTS];
	__u64 words[SCRATCH_WORDS];	/* what is hashed: the hash above it, then a name */
	__u32 reserved;
	__u32 at;		/* of the text: it is written from its end to its front */
	__u8 text[2 * TEXT_BYTES];	/* the second half stays zero, so that the front can be copied whole from anywhere */
};

/*
 * Of each task that an LSM program needed it for: LSM programs can be preempted, so memory of a processor is not a run's alone, and of a
 * shared supply one pod could hold all. Bounded by the tasks themselves. Not made: what that task does is unresolved.
 */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct scratch);
} rt_task_scratch SEC(".maps");

/* The same before Linux 6.2 (state.h), elsewhere of one entry. As many as rt_task_hash. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 131072);
	__type(key, __u64);
	__type(value, struct scratch);
} rt_scratch_hash SEC(".maps");

#define SCRATCH_SLOTS	64	/* tasks of the host that are preempted in the midst of making a cgroup; more: that pod waits for user space */
#define SCRATCH_ZEROES	63	/* this one is never claimed */

/* For tracepoints, where the kernel may make no task storage. Tasks of a pod use none of it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SCRATCH_SLOTS);
	__type(key, __u32);
	__type(value, struct scratch);
} rt_scratch SEC(".maps");

static __always_inline void rt_count_loss(enum rt_loss loss)
{
	__u32 index = loss;
	__u64 *count = bpf_map_lookup_elem(&rt_losses, &index);

	/* preemptible: another program may add on this CPU in between */
	if (count)
		__sync_fetch_and_add(count, 1);
}

static __always_inline const struct rt_settings *rt_read_settings(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&rt_settings, &zero);
}

#endif
