/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Where a task comes from, and arming: from then on it belongs to a pod.
 *
 * Place in the data path: identity.h, lifecycle.h, exec.h → here → rt_tasks, rt_mounts. The origin
 * of a task is the pod that was armed first in its mount namespace, otherwise the one that its
 * process entered (entry.h), otherwise the one of its cgroup.
 * Limits: the cgroup is read only of a task without a state, CGROUP_LEVELS deep.
 */
#ifndef BAILIFF_RUNTIME_ARMING_H
#define BAILIFF_RUNTIME_ARMING_H

#include <stdbool.h>

#include "entry.h"
#include "kernel.h"
#include "maps.h"
#include "state.h"
#include "walk.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/*
 * Numbers that the kernel never reuses: until 6.17 of mount namespaces, since 6.18 of all
 * namespaces.
 */
struct mnt_namespace___seq {
	__u64 seq;
};

struct ns_common___id {
	__u64 ns_id;
};

#pragma clang attribute pop

/* Finds the pod of the current task's cgroup, the outermost if there are several. */
static __noinline bool find_pod(struct pod_uid *pod, __u64 *container_cgroup_id)
{
	for (int level = 1; level <= CGROUP_LEVELS; level++) {
		__u64 id = bpf_get_current_ancestor_cgroup_id(level);
		const struct pod_uid *found;

		if (!id)
			return false;
		found = bpf_map_lookup_elem(&rt_cgroups, &id);
		if (!found)
			continue;
		*pod = *found;
		*container_cgroup_id = bpf_get_current_ancestor_cgroup_id(level + 1);
		return true;
	}
	return false;
}

static __always_inline struct mnt_namespace *mnt_ns_of(struct task_struct *task)
{
	struct nsproxy *namespaces = LOAD(task_struct, task, nsproxy);

	return LOAD(nsproxy, namespaces, mnt_ns);
}

/* Whether the task is in a mount namespace of its own, and the file is on a mount of it. */
static __always_inline bool is_container_file(struct task_struct *task, const struct file *file)
{
	const struct rt_settings *settings = rt_read_settings();
	struct mnt_namespace *own = mnt_ns_of(task);

	if (!settings || !own || !file ||
	    LOAD(mnt_namespace, own, ns.inum) == settings->host_mount_ns)
		return false;
	return namespace_of(real_mount(LOAD(file, file, f_path.mnt))) == own;
}

static __always_inline bool is_in_host_mnt_ns(struct task_struct *task)
{
	const struct rt_settings *settings = rt_read_settings();

	struct mnt_namespace *own = mnt_ns_of(task);

	return !settings || LOAD(mnt_namespace, own, ns.inum) == settings->host_mount_ns;
}

/* Returns 0 if this kernel does not number mount namespaces; then none is recorded. */
static __always_inline __u64 mnt_ns_number(struct task_struct *task)
{
	struct mnt_namespace *own = mnt_ns_of(task);
	struct mnt_namespace___seq *counted = (void *)own;
	struct ns_common___id *numbered =
		(void *)own + bpf_core_field_offset(struct mnt_namespace, ns);

	if (bpf_core_field_exists(struct mnt_namespace___seq, seq))
		return BPF_CORE_READ(counted, seq);
	return bpf_core_field_exists(struct ns_common___id, ns_id) ? BPF_CORE_READ(numbered, ns_id)
								   : 0;
}

/*
 * The root of the container's first program, in whatever mount namespace the task is: what is
 * mounted over it later is not the image. Until there is one, the task's current root.
 */
static __always_inline void find_root(struct task_struct *task, struct rt_origin *origin)
{
	const struct rt_birth *birth = bpf_map_lookup_elem(&rt_born, &origin->cgroup_id);

	if (birth && birth->root_dentry) {
		origin->root_dentry = birth->root_dentry;
		origin->root_device = birth->root_device;
		return;
	}
	origin->root_dentry = (__u64)BPF_CORE_READ(task, fs, root.dentry);
	origin->root_device = BPF_CORE_READ(task, fs, root.mnt, mnt_sb, s_dev);
}

/*
 * The origin of an unarmed task: the pod that its process entered, or without a record the one of
 * its cgroup; and its container's root.
 */
static __noinline bool find_origin(struct rt_origin *origin)
{
	struct task_struct *task = bpf_get_current_task_btf();
	const struct task_state *entry = entry_of(task);

	if (entry && entry->flags & TASK_FOREIGN)
		return false;
	if (entry) {
		origin->pod = entry->pod;
		origin->cgroup_id = entry->cgroup_id;
	} else if (!find_pod(&origin->pod, &origin->cgroup_id)) {
		return false;
	}
	find_root(task, origin);
	return true;
}

/*
 * The origin of an unarmed task at an exec. Returns false for a task of the host, or of a runtime
 * that has not left the host's mount namespace.
 */
static __noinline bool find_origin_at_exec(struct rt_origin *origin)
{
	struct task_struct *task = bpf_get_current_task_btf();
	const struct rt_origin *first;
	__u64 number;

	if (is_in_host_mnt_ns(task))
		return false;
	number = mnt_ns_number(task);
	first = bpf_map_lookup_elem(&rt_mounts, &number);
	if (!first)
		return find_origin(origin);
	*origin = *first;
	return true;
}

/*
 * The first container that is armed in a mount namespace keeps it, and the first root of a container
 * is its image. Hooks of a runtime that run before the pivot have the runtime's root, not the
 * container's. They are not recorded. The file system alone does not show that: snapshotters
 * without overlay put roots into that of the host.
 */
static __noinline int record_origin(struct task_struct *task, const struct rt_origin *origin)
{
	__u64 number = mnt_ns_number(task);

	if (!origin->cgroup_id ||
	    (__u64)BPF_CORE_READ(task, real_parent, fs, root.dentry) == origin->root_dentry)
		return 0;
	rt_own_root(origin->cgroup_id, origin->root_dentry, origin->root_device);
	if (!number || bpf_map_lookup_elem(&rt_mounts, &number))
		return 0;
	if (bpf_map_update_elem(&rt_mounts, &number, origin, BPF_NOEXIST))
		rt_count_loss(RT_LOSS_NO_RECORD);
	else
		rt_own_mounts(origin->cgroup_id, number);
	return 0;
}

/* Updates the chain of a task that runs `program` next; 0: its path is unresolved. */
static __always_inline void push_program(struct task_state *state, __u64 program)
{
	if (state->chain_count >= SOURCE_CHAIN || !program)
		state->flags |= TASK_CHAIN_CUT;
	for (int i = SOURCE_CHAIN - 1; i > 0; i--)
		state->chain[i] = state->chain[i - 1];
	state->chain[0] = program;
	if (state->chain_count < SOURCE_CHAIN)
		state->chain_count++;
}

/*
 * Returns NULL if rt_tasks is full (counted); the task's next operation tries again. The pod's share
 * does not matter here: a pod with many tasks would otherwise have programs without a policy.
 * The caller adds the program to the task's chain: its hash needs stack that is not left here.
 */
static __noinline struct task_state *arm(struct task_struct *task, const struct rt_origin *origin)
{
	struct task_state *state = state_of(task);

	if (state && !same_pod(&state->pod, &origin->pod))
		delete_state(task);
	rt_make_share(&origin->pod);
	make_state(task, share_of(&origin->pod), zeroes());
	state = state_of(task);
	if (!state) {
		rt_count_loss(RT_LOSS_NO_STATE);
		return NULL;
	}
	if (!bpf_map_lookup_elem(&rt_pods, &origin->pod))
		rt_count_loss(RT_LOSS_UNBOUND);
	state->pod = origin->pod;
	state->cgroup_id = origin->cgroup_id;
	state->root_dentry = origin->root_dentry;
	state->root_device = origin->root_device;
	state->bounding = CAPABILITIES(task, cred, cap_bset);
	state->flags = (state->flags & ~ENTRY_FLAGS) | TASK_ARMED;
	return state;
}

/* As arm(), for a task that was not seen in an exec: what the host moved in, it can move out again. */
static __always_inline int arm_as_entered(struct task_struct *task, const struct rt_origin *origin)
{
	const struct task_state *entry = entry_of(task);
	__u32 entered = entry ? entry->flags & TASK_ENTERED : 0;
	struct task_state *state = arm(task, origin);

	if (state)
		state->flags |= entered;
	return state != NULL;
}

/*
 * Arms a task that ran its container's program before the programs were loaded, within the share of
 * its pod. Returns 0 if it is not a container's task, or not yet; otherwise rt_push_executable()
 * follows.
 */
__noinline int rt_arm_late(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct rt_origin origin = {};
	struct file *executable;

	if (is_in_host_mnt_ns(task) || !find_origin(&origin))
		return 0;
	executable = BPF_CORE_READ(task, mm, exe_file);
	if (!executable || !is_container_file(task, executable))
		rt_count_loss(RT_LOSS_UNARMED);
	else if (!has_room(share_of(&origin.pod)))
		rt_count_loss(RT_LOSS_TASK_SHARE);
	else
		return arm_as_entered(task, &origin);
	return 0;
}

/* Begins the chain of the current task, which was armed, with the program that it runs. */
__noinline int rt_push_executable(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct task_state *state = state_of(task);

	if (state)
		push_program(state,
			     rt_hash_file(&(struct file_at){ BPF_CORE_READ(task, mm, exe_file) }));
	return 0;
}

#endif
