/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The policy of the current task.
 *
 * Place in the data path: hook → arming.h, entry.h → identify() → decide.h. A task that entered a
 * pod's cgroup is armed by its first exec outside the mount namespace of container runtimes. From
 * then on it and its descendants belong to the pod, in any namespace or cgroup; their state
 * (state.h) says so. Before, it is a task of the runtime, whose operations are counted but not
 * decided (RT_LOSS_UNARMED).
 * A container can leave its pod's cgroup, and a runtime that enters it follows. Later execs are
 * therefore identified by the mount namespace in which a pod was armed first, before the cgroup.
 * A task that is older than the programs arms at its next operation, if its executable is on a
 * mount of its own mount namespace, and that is not the runtimes'. So does a service of the host
 * that the host moved into a pod's cgroup, until the host moves it out.
 * Limits: a task without policy costs one look-up. The cgroup is read only of a task without a
 * state, CGROUP_LEVELS deep.
 */
#ifndef BAILIFF_RUNTIME_IDENTITY_H
#define BAILIFF_RUNTIME_IDENTITY_H

#include <stdbool.h>

#include "arming.h"
#include "cache.h"
#include "kernel.h"
#include "maps.h"
#include "state.h"
#include "walk.h"

#define BIND_TRIES 4

/* The same decision, but neither counted nor sampled. */
enum quiet {
	QUIET_COUNTED = 1, /* an earlier hook of the operation counted it; kill still kills */
	QUIET_PROBE = 2,   /* and any greater value: the task did nothing yet, so no kill */
};

#define IDENTITY_FIELDS \
	struct pod_uid pod; \
	struct subject subject; \
	__u64 container_cgroup_id; \
	__u64 root_dentry;    /* of the container's root: compared, never followed */ \
	__u32 root_device;    /* of its file system */ \
	__u32 quiet;	      /* enum quiet */ \
	__u64 suffix_lengths; /* as in struct path_masks, of path_classes */ \
	__u32 depths; \
	__u16 path_classes; /* bits of enum path_class */ \
	__u16 effects;	    /* 1: the decision did or depends on more than a cache knows */

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
	const struct set_head *head; /* NULL: an orphan, which decide_*() refuse */
	struct task_state *task;     /* NULL at a container's first program */
};

#define OP_BIT(op) (1ULL << (op))

#define EXECUTE_PATH_OPS (OP_BIT(OP_READ) - 1)
#define CHANGE_PATH_OPS	 (OP_BIT(OP_UNIX_CONNECT) - OP_BIT(OP_WRITE))
#define UNIX_PATH_OPS	 (OP_BIT(OP_CONNECT) - OP_BIT(OP_UNIX_CONNECT))

/* State of the current task if it is armed, otherwise NULL. */
static __always_inline struct task_state *state_of_current(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct task_state *state = state_of(task);

	if (is_armed(task, state))
		return state;
	if (!rt_arm_late())
		return NULL;
	rt_push_executable();
	return state_of(task);
}

/*
 * Copies the subject `found`, all fields from one write. The map may reuse a replaced element for
 * another key during the copy. The key must therefore lead to the same element after the copy.
 */
static __always_inline bool copy_subject(void *map, const void *key, const struct subject *found,
					 struct subject *to)
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
	return (ops & EXECUTE_PATH_OPS ? 1U << PATHS_EXECUTE : 0) |
	       (ops & OP_BIT(OP_READ) ? 1U << PATHS_READ : 0) |
	       (ops & CHANGE_PATH_OPS ? 1U << PATHS_CHANGE : 0) |
	       (ops & UNIX_PATH_OPS ? 1U << PATHS_UNIX : 0);
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
				 bpf_map_lookup_elem(&rt_containers, &policy->container_cgroup_id),
				 &own))
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

/*
 * Whether a state that was read still is the current task's, which is asked after the last read. The
 * host can move a process that it had moved into a pod out again during a hook, and the memory is then
 * another task's. Only the task itself arms, so an armed state at the same place was its own all along.
 */
static __always_inline bool is_own(const struct task_state *state)
{
	struct task_struct *task = bpf_get_current_task_btf();

	read_barrier();
	return state_of(task) == state && is_armed(task, state);
}

/*
 * Returns false if no policy holds for the task: the hook allows. `found`: the result of the look-up
 * of its pod, or NULL.
 */
static __always_inline bool is_judged(struct policy_ctx *policy, const struct subject **found)
{
	struct task_state *state = state_of_current();

	if (!state)
		return false;
	*found = bpf_map_lookup_elem(&rt_pods, &state->pod);
	/* before any copy: most tasks of a node are in pods without policy */
	if (!*found && !(state->flags & TASK_BOUND))
		return false;
	*policy = (struct policy_ctx){ .task = state };
	copy_state(policy, state);
	return true;
}

static __always_inline bool identify_any(struct policy_ctx *policy, __u64 ops)
{
	const struct subject *found;

	return is_judged(policy, &found) && bind_policy(policy, found, ops);
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
