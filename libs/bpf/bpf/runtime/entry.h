/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Tasks that enter a pod's cgroup: who put them there, until the first program of their container.
 *
 * cgroup_attach_task	records a task that is moved into a pod's cgroup
 * task_newtask		records a new process: its parent's record, or the cgroup that it starts in
 * iter/task		records the tasks that were in a pod's cgroup before the programs were loaded
 *
 * Place in the data path: kernel → here → rt_tasks → identity.h, which arms by the record and not by
 * the cgroup of that moment. A container that can write to the node's cgroups could otherwise move
 * a runtime's process out of its pod, or a process of the host into one.
 * Invariants: a move by a task of a pod neither ends a record nor makes one that binds. A move out
 * by a task of the host ends it. The record of a process is its leader's; threads have none.
 * Only cgroups of the unified hierarchy count: ids of other hierarchies overlap with its.
 * Limit: between the start of a child in another cgroup (CLONE_INTO_CGROUP) and its record, a few
 * hundred instructions later, another task can move it.
 */
#ifndef BAILIFF_RUNTIME_ENTRY_H
#define BAILIFF_RUNTIME_ENTRY_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_tracing.h>

#include "kernel.h"
#include "maps.h"
#include "state.h"

#define CGROUP_LEVELS 10 /* kubelet's trees are 3 deep, nested ones 6 */

#define CLONE_THREAD	  0x10000
#define CLONE_INTO_CGROUP 0x200000000ULL

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct cgroup_root {
	unsigned int subsys_mask; /* bits of its controllers */
	int hierarchy_id;	  /* 0: the unified hierarchy */
};

struct cgroup___root {
	struct cgroup_root *root;
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

struct task_struct___entry {
	struct css_set *cgroups;
	struct task_struct *group_leader;
};

#pragma clang attribute pop

static __always_inline bool same_pod(const struct pod_uid *a, const struct pod_uid *b)
{
	return !__builtin_memcmp(a, b, sizeof(*a));
}

static __always_inline bool is_unified(struct cgroup *cgroup)
{
	struct cgroup___root *in = (void *)cgroup;

	return !BPF_CORE_READ(in, root, hierarchy_id);
}

/* The cgroup of a task in the unified hierarchy. */
static __always_inline struct cgroup *cgroup_of(struct task_struct *task)
{
	struct task_struct___entry *in = (void *)task;

	return BPF_CORE_READ(in, cgroups, dfl_cgrp);
}

/* The pod whose cgroup this is, or is in; false: none. origin->cgroup_id: the container's, or 0. */
static __noinline bool pod_of_cgroup(struct cgroup *cgroup, struct rt_origin *origin)
{
	__u64 below = 0;

	for (int i = 0; i < CGROUP_LEVELS && cgroup; i++) {
		__u64 id = BPF_CORE_READ(cgroup, kn, id);
		const struct pod_uid *found = bpf_map_lookup_elem(&rt_cgroups, &id);

		if (found) {
			origin->pod = *found;
			origin->cgroup_id = below;
			return true;
		}
		below = id;
		cgroup = BPF_CORE_READ(cgroup, self.parent, cgroup);
	}
	return false;
}

#define ENTRY_FLAGS (TASK_ENTERED | TASK_FOREIGN)

/* State of the task's process: its record, or what it is since it was armed. NULL: neither. */
static __always_inline struct task_state *entry_of(struct task_struct *task)
{
	const struct task_struct___entry *of = (void *)task;

	return state_of(LOAD(task_struct___entry, of, group_leader));
}

/*
 * Whether the task belongs to the pod of its state. A thread's state ends with the entry of its
 * process: when the host moves that out of the pod again.
 */
static __always_inline bool is_armed(struct task_struct *task, const struct task_state *state)
{
	return state && state->flags & TASK_ARMED &&
	       (!(state->flags & TASK_ENTERED) || entry_of(task));
}

static __always_inline bool is_room_left(void)
{
	const struct rt_settings *settings = rt_read_settings();
	const struct rt_totals *total = totals();

	return settings && total && total->tasks < (__s32)settings->max_tasks;
}

/*
 * Records the entry of a process, in place of an earlier record. The share of the pod does not
 * matter, as in arm(). Without room the first program is refused and counted (exec.h).
 */
static __noinline int record_entry(struct task_struct *task, const struct rt_origin *origin,
				   __u32 flag)
{
	struct task_state *state;

	delete_state(task);
	if (!is_room_left())
		return 0;
	rt_make_share(&origin->pod);
	make_state(task, share_of(&origin->pod), zeroes());
	state = state_of(task);
	if (!state)
		return 0;
	state->pod = origin->pod;
	state->cgroup_id = origin->cgroup_id;
	state->flags = flag;
	return 1;
}

static __always_inline bool is_current_armed(void)
{
	struct task_struct *task = bpf_get_current_task_btf();

	return is_armed(task, state_of(task));
}

/* A program that a runtime started armed the task: it is the pod's for good. */
static __always_inline bool is_bound_for_good(const struct task_state *state)
{
	return state && state->flags & TASK_ARMED && !(state->flags & TASK_ENTERED);
}

/* The current task put `task` into `cgroup`. */
static __noinline int enter(struct task_struct *task, struct cgroup *cgroup)
{
	const struct task_state *state = state_of(task);
	struct rt_origin origin = {};
	bool inside, by_pod = is_current_armed();

	if (is_bound_for_good(state))
		return 0;
	inside = pod_of_cgroup(cgroup, &origin);
	if (!inside && state && (!by_pod || state->flags & TASK_FOREIGN))
		delete_state(task);
	if (inside && (!by_pod || !state))
		record_entry(task, &origin, by_pod ? TASK_FOREIGN : TASK_ENTERED);
	return 0;
}

SEC("tp_btf/cgroup_attach_task")
int BPF_PROG(handle_cgroup_attach_task, struct cgroup *cgroup, const char *path,
	     struct task_struct *leader, bool whole)
{
	/* a single thread moves only within the cgroups of its process */
	if (whole && is_unified(cgroup))
		enter(leader, cgroup);
	return 0;
}

/* A new process does not run yet. An armed parent's state was copied at task_alloc. */
SEC("tp_btf/task_newtask")
int BPF_PROG(handle_task_newtask, struct task_struct *task, __u64 flags)
{
	const struct task_state *entry, *state;
	struct rt_origin origin = {};

	if (flags & CLONE_THREAD)
		return 0;
	if (flags & CLONE_INTO_CGROUP)
		return enter(task, cgroup_of(task));
	entry = entry_of(bpf_get_current_task_btf());
	if (!entry || !(entry->flags & ENTRY_FLAGS))
		return 0;
	state = state_of(task);
	if (state && state->flags & TASK_ARMED)
		return 0;
	origin.pod = entry->pod;
	origin.cgroup_id = entry->cgroup_id;
	record_entry(task, &origin, entry->flags & ENTRY_FLAGS);
	return 0;
}

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct bpf_iter_meta {
	struct seq_file *seq;
};

#pragma clang attribute pop

/* User space reads the pinned link: four bytes for each process that it recorded, its number. */
SEC("iter/task")
int record_tasks(struct bpf_iter__task *context)
{
	struct task_struct *task = context->task;
	struct seq_file *seq = context->meta->seq;
	struct rt_origin origin = {};
	__u32 tgid;

	if (!task || entry_of(task) || state_of(task))
		return 0;
	tgid = task->tgid;
	if ((__u32)task->pid != tgid || !pod_of_cgroup(cgroup_of(task), &origin))
		return 0;
	if (record_entry(task, &origin, TASK_ENTERED))
		bpf_seq_write(seq, &tgid, sizeof(tgid));
	return 0;
}

#endif
