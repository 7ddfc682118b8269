/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Where the state of a task is kept: in task storage from Linux 6.2 on, before that in a hash by task.
 *
 * Place in the path: identity.h, lifecycle.h and whoever asks about a task → here → rt_tasks or rt_task_hash.
 * Before 6.2 the kernel answers a question about task storage with nothing while another task is in the midst of one on the same
 * processor, which full preemption allows: a task of a pod would then be nobody's. A hash answers always. The verifier takes out
 * whichever half this kernel does not use.
 * Bounds: an entry lives from arming or fork to the end of the task (handle_task_free). One that could not be taken out then, because
 * its bucket was being written on that processor, goes when its address becomes another task's: at the fork, before that one runs.
 */
#ifndef BAILIFF_RUNTIME_STATE_H
#define BAILIFF_RUNTIME_STATE_H

/* Of the same release. User space asks the same of the kernel's BTF (runtime-object.ts): it sizes rt_task_hash by it. */
#define STORAGE_ANSWERS bpf_ksym_exists(bpf_rdonly_cast)

_Static_assert(sizeof(struct task_state) <= TEXT_BYTES, "no_state() is of that many bytes");

/* Zeroes; NULL never happens. */
static __always_inline const void *no_state(void)
{
	__u32 zero = 0;
	const struct scratch *scratch = bpf_map_lookup_elem(&rt_scratch, &zero);

	return scratch ? scratch->text + TEXT_BYTES : NULL;
}

/* NULL: it has none. */
static __always_inline struct task_state *state_of(struct task_struct *task)
{
	__u64 key = (__u64)task;

	if (STORAGE_ANSWERS)
		return bpf_task_storage_get(&rt_tasks, task, NULL, 0);
	return bpf_map_lookup_elem(&rt_task_hash, &key);
}

/* A state for a task that has none, as another's is or all zeroes (`like` NULL). NULL: there is no memory for it. */
static __always_inline struct task_state *make_state(struct task_struct *task, struct task_state *like)
{
	__u64 key = (__u64)task;
	const void *value = like;

	if (STORAGE_ANSWERS)
		return bpf_task_storage_get(&rt_tasks, task, like, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!value)
		value = no_state();
	if (!value || bpf_map_update_elem(&rt_task_hash, &key, value, BPF_ANY))
		return NULL;
	return bpf_map_lookup_elem(&rt_task_hash, &key);
}

/* Task storage goes with its task. */
static __always_inline void forget_state(struct task_struct *task)
{
	__u64 key = (__u64)task;

	if (!STORAGE_ANSWERS)
		bpf_map_delete_elem(&rt_task_hash, &key);
}

#endif
