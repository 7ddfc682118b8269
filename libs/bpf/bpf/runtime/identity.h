/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The policy of the current task.
 *
 * Place in the data path: hook → identify() → decide.h. A task in a pod's cgroup is armed by its
 * first exec outside the mount namespace of container runtimes. From then on it and its descendants
 * belong to the pod, in any namespace or cgroup; their state (state.h) says so. Before, it is a
 * task of the runtime, whose operations are counted but not decided (RT_LOSS_UNARMED).
 * A container can leave its pod's cgroup, and a runtime that enters it follows. Later execs are
 * therefore identified by the mount namespace in which a pod was armed first, before the cgroup.
 * A task that is older than the programs arms at its next operation, if its executable is on a
 * mount of its own mount namespace, and that is not the runtimes'.
 * Limits: a task without policy costs one look-up; the cgroup is read only until a task is armed,
 * CGROUP_LEVELS deep.
 */
#ifndef BAILIFF_RUNTIME_IDENTITY_H
#define BAILIFF_RUNTIME_IDENTITY_H

#include <stdbool.h>

#include "kernel.h"
#include "maps.h"
#include "state.h"
#include "walk.h"

#define CGROUP_LEVELS	10	/* kubelet's trees are 3 deep, nested ones 6 */
#define BIND_TRIES	4

/* The same decision, but neither counted nor sampled. */
enum quiet {
	QUIET_COUNTED = 1,	/* an earlier hook of the operation counted it; kill still kills */
	QUIET_PROBE = 2,	/* and any greater value: the task did nothing yet, so no kill */
};

#define IDENTITY_FIELDS								\
	struct pod_uid pod;							\
	struct subject subject;							\
	__u64 container_cgroup_id;						\
	__u64 root_dentry;	/* of the container's root: compared, never followed */	\
	__u32 root_device;	/* of its file system */				\
	__u32 quiet;	/* enum quiet */						\
	__u64 suffix_lengths;	/* as in struct path_masks, of path_classes */	\
	__u32 depths;								\
	__u32 path_classes;	/* bits of enum path_class */

/*
 * Argument of global functions: plain data, because such a call takes no pointers to kernel
 * objects.
 */
struct identity {
	IDENTITY_FIELDS
};

struct policy_ctx {
	union {
		struct identity identity;
		struct {
			IDENTITY_FIELDS
		};
	};
	const struct set_head *head;	/* NULL: an orphan, which decide_*() refuse */
	struct task_state *task;	/* NULL at a container's first program */
};

#define OP_BIT(op)	(1ULL << (op))

#define EXECUTE_PATH_OPS	(OP_BIT(OP_READ) - 1)
#define CHANGE_PATH_OPS		(OP_BIT(OP_UNIX_CONNECT) - OP_BIT(OP_WRITE))
#define UNIX_PATH_OPS		(OP_BIT(OP_CONNECT) - OP_BIT(OP_UNIX_CONNECT))

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

	if (!settings || !own || !file || LOAD(mnt_namespace, own, ns.inum) == settings->host_mount_ns)
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
	struct ns_common___id *numbered = (void *)own + bpf_core_field_offset(struct mnt_namespace, ns);

	if (bpf_core_field_exists(struct mnt_namespace___seq, seq))
		return BPF_CORE_READ(counted, seq);
	return bpf_core_field_exists(struct ns_common___id, ns_id) ? BPF_CORE_READ(numbered, ns_id) : 0;
}

/* The origin of a task without a state: its cgroup, and its current root. */
static __noinline bool find_origin(struct rt_origin *origin)
{
	struct task_struct *task = bpf_get_current_task_btf();

	if (!find_pod(&origin->pod, &origin->cgroup_id))
		return false;
	origin->root_dentry = (__u64)BPF_CORE_READ(task, fs, root.dentry);
	origin->root_device = BPF_CORE_READ(task, fs, root.mnt, mnt_sb, s_dev);
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
 * The first container that is armed in a mount namespace keeps it. Hooks of a runtime that run
 * before the pivot have the runtime's root, not the container's. They are not recorded.
 */
static __noinline int record_origin(struct task_struct *task, const struct rt_origin *origin)
{
	__u64 number = mnt_ns_number(task);

	if (!number || !origin->cgroup_id || BPF_CORE_READ(task, real_parent, fs, root.mnt, mnt_sb, s_dev) == origin->root_device ||
	    bpf_map_lookup_elem(&rt_mounts, &number))
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
 */
static __noinline struct task_state *arm(struct task_struct *task, const struct rt_origin *origin, const struct file *program)
{
	struct task_state *state;

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
	push_program(state, rt_hash_file(&(struct file_at){ program }));
	state->flags |= TASK_ARMED;
	return state;
}

/*
 * Arms a task that ran its container's program before the programs were loaded, within the share of
 * its pod. Returns 0 if it is not a container's task, or not yet.
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
		return arm(task, &origin, executable) != NULL;
	return 0;
}

/* State of the current task if it is armed, otherwise NULL. */
static __always_inline struct task_state *state_of_current(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct task_state *state = state_of(task);

	if (state && state->flags & TASK_ARMED)
		return state;
	if (!rt_arm_late())
		return NULL;
	return state_of(task);
}

/*
 * Copies the subject `found`, all fields from one write. The map may reuse a replaced element for
 * another key during the copy. The key must therefore lead to the same element after the copy.
 */
static __always_inline bool copy_subject(void *map, const void *key, const struct subject *found, struct subject *to)
{
	for (int i = 0; i < BIND_TRIES; i++) {
		const struct subject *again;

		if (!found)
			return false;
		*to = *found;
		barrier();
		again = bpf_map_lookup_elem(map, key);
		if (again == found)
			return true;
		found = again;
	}
	return true;
}

/* Bits of enum path_class that contain one of `ops`. */
static __always_inline __u32 path_classes_of(__u64 ops)
{
	return (ops & EXECUTE_PATH_OPS ? 1U << PATHS_EXECUTE : 0) | (ops & OP_BIT(OP_READ) ? 1U << PATHS_READ : 0) |
	       (ops & CHANGE_PATH_OPS ? 1U << PATHS_CHANGE : 0) | (ops & UNIX_PATH_OPS ? 1U << PATHS_UNIX : 0);
}

/* Copies the masks of the rules about `ops`. */
static __always_inline void take_masks(struct policy_ctx *policy, __u64 ops)
{
	__u32 classes = path_classes_of(ops);

	policy->path_classes = classes;
	policy->suffix_lengths = 0;
	policy->depths = 0;
	for (int i = 0; i < PATH_CLASSES; i++) {
		if (!(classes >> i & 1))
			continue;
		policy->suffix_lengths |= policy->head->masks[i].suffix_lengths;
		policy->depths |= policy->head->masks[i].depths;
	}
}

/*
 * Returns false if no policy covers any of `ops`. `pod`: the result of the look-up of policy->pod,
 * or NULL.
 */
static __noinline bool bind_policy(struct policy_ctx *policy, const struct subject *pod, __u64 ops)
{
	policy->head = NULL;
	if (!copy_subject(&rt_pods, &policy->pod, pod, &policy->subject)) {
		if (!policy->task || !(policy->task->flags & TASK_BOUND))
			return false;
		rt_count_loss(RT_LOSS_ORPHAN);
		return true;
	}
	if (policy->task && !(policy->task->flags & TASK_BOUND))
		policy->task->flags |= TASK_BOUND;
	if (policy->subject.flags & SUBJECT_CONTAINERS) {
		struct subject own;

		if (copy_subject(&rt_containers, &policy->container_cgroup_id,
				 bpf_map_lookup_elem(&rt_containers, &policy->container_cgroup_id), &own))
			policy->subject = own;
	}
	if (!policy->subject.set)
		return false;
	policy->head = bpf_map_lookup_elem(&rt_sets, &policy->subject.set);
	if (!policy->head) {
		rt_count_loss(RT_LOSS_ORPHAN);
		return true;
	}
	take_masks(policy, ops);
	return policy->head->ops & ops;
}

static __always_inline void copy_state(struct policy_ctx *policy, const struct task_state *state)
{
	policy->pod = state->pod;
	policy->container_cgroup_id = state->cgroup_id;
	policy->root_dentry = state->root_dentry;
	policy->root_device = state->root_device;
}

static __always_inline bool identify_any(struct policy_ctx *policy, __u64 ops)
{
	struct task_state *state = state_of_current();
	const struct subject *found;

	if (!state)
		return false;
	found = bpf_map_lookup_elem(&rt_pods, &state->pod);
	/* before any copy: most tasks of a node are in pods without policy */
	if (!found && !(state->flags & TASK_BOUND))
		return false;
	*policy = (struct policy_ctx){ .task = state };
	copy_state(policy, state);
	return bind_policy(policy, found, ops);
}

/*
 * Returns false if no policy holds for the task, or it does not cover `op`: the hook allows. True
 * with `head` NULL is an orphan, which decide_*() refuse.
 */
static __always_inline bool identify(struct policy_ctx *policy, enum op op)
{
	return identify_any(policy, OP_BIT(op));
}

/*
 * As identify_any(), and also for a runtime that is about to run a container's first program and
 * has entered its root.
 */
static __always_inline bool identify_exec(struct policy_ctx *policy, __u64 ops)
{
	struct task_state *state = state_of_current();
	struct rt_origin origin = {};

	*policy = (struct policy_ctx){ .task = state };
	if (state) {
		copy_state(policy, state);
	} else {
		if (!find_origin_at_exec(&origin))
			return false;
		policy->pod = origin.pod;
		policy->container_cgroup_id = origin.cgroup_id;
		policy->root_dentry = origin.root_dentry;
		policy->root_device = origin.root_device;
	}
	return bind_policy(policy, bpf_map_lookup_elem(&rt_pods, &policy->pod), ops);
}

/* Whether the set covers `op`; an orphan's covers all. */
static __always_inline bool policy_covers_op(const struct policy_ctx *policy, enum op op)
{
	return !policy->head || policy->head->ops & OP_BIT(op);
}

#endif
