/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Where the state of a task and its working memory are kept: in task storage from Linux 6.2 on, before that in hashes by task.
 *
 * Place in the path: every file that asks about a task → here → rt_tasks or rt_task_hash; walk.h and others claim()
 * the working memory.
 * Before 6.2 the kernel answers a question about task storage with nothing while another task is in the midst of one on the same
 * processor, which full preemption allows: a task of a pod would then be nobody's. A hash answers always. The verifier takes out
 * whichever half this kernel does not use.
 * Bounds: an entry lives from arming or fork to the end of the task (handle_task_free). One that could not be taken out then, because
 * its bucket was being written on that processor, goes when its address becomes another task's: at the fork, before that one runs.
 * Working memory: from the first claim to the end of the task, 2 KiB.
 */
#ifndef BAILIFF_RUNTIME_STATE_H
#define BAILIFF_RUNTIME_STATE_H

#include <stddef.h>

#include "kernel.h"
#include "maps.h"

/* Of the same release. User space asks the same of the kernel's BTF (runtime-object.ts): it sizes rt_task_hash by it. */
#define TASK_STORAGE_WORKS bpf_ksym_exists(bpf_rdonly_cast)

_Static_assert(sizeof(struct task_state) <= TEXT_BYTES, "zeroed_state() is of that many bytes");

/* NULL never happens. */
static __always_inline const struct scratch *zeroed_scratch(void)
{
	__u32 index = SCRATCH_ZEROES;

	return bpf_map_lookup_elem(&rt_scratch, &index);
}

/* As many zeroes as a state has bytes. */
static __always_inline const void *zeroed_state(void)
{
	const struct scratch *scratch = zeroed_scratch();

	return scratch ? scratch->text + TEXT_BYTES : NULL;
}

/* NULL: it has none. */
static __always_inline struct task_state *state_of(struct task_struct *task)
{
	__u64 key = (__u64)task;

	if (TASK_STORAGE_WORKS)
		return bpf_task_storage_get(&rt_tasks, task, NULL, 0);
	return bpf_map_lookup_elem(&rt_task_hash, &key);
}

/* A state for a task that has none, as another's is or all zeroes (`like` NULL). NULL: there is no memory for it. */
static __always_inline struct task_state *make_state(struct task_struct *task, struct task_state *like)
{
	__u64 key = (__u64)task;
	const void *value = like;

	if (TASK_STORAGE_WORKS)
		return bpf_task_storage_get(&rt_tasks, task, like, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!value)
		value = zeroed_state();
	if (!value || bpf_map_update_elem(&rt_task_hash, &key, value, BPF_ANY))
		return NULL;
	return bpf_map_lookup_elem(&rt_task_hash, &key);
}

/* Task storage goes with its task. */
static __always_inline void delete_state(struct task_struct *task)
{
	__u64 key = (__u64)task;

	if (!TASK_STORAGE_WORKS) {
		bpf_map_delete_elem(&rt_task_hash, &key);
		bpf_map_delete_elem(&rt_scratch_hash, &key);
	}
}

/* ---- working memory ---- */

/* For the current task, if it has none. Global, so that the verifier reads it once. */
__noinline int rt_make_scratch(void)
{
	__u64 key = (__u64)bpf_get_current_task_btf();
	const struct scratch *empty = zeroed_scratch();

	if (empty && !bpf_map_lookup_elem(&rt_scratch_hash, &key))
		bpf_map_update_elem(&rt_scratch_hash, &key, empty, BPF_NOEXIST);
	return 0;
}

/* Of the current task. */
static __always_inline struct scratch *own_scratch(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u64 key = (__u64)task;

	if (TASK_STORAGE_WORKS)
		return bpf_task_storage_get(&rt_task_scratch, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	rt_make_scratch();
	return bpf_map_lookup_elem(&rt_scratch_hash, &key);
}

static __always_inline struct scratch *with_hash_key(struct scratch *scratch)
{
	const struct rt_settings *settings = rt_read_settings();

	if (!scratch || !settings) {
		rt_count_loss(RT_LOSS_NO_SCRATCH);
		return NULL;
	}
	scratch->key[0] = settings->hash_key[0];
	scratch->key[1] = settings->hash_key[1];
	return scratch;
}

/*
 * Working memory that is this run's alone, because it is the current task's. NULL: there was no memory for it, or the run interrupts
 * another one of the task (counted). Give it back with release() on every way out.
 */
static __always_inline struct scratch *claim(void)
{
	struct scratch *scratch = own_scratch();

	if (scratch && scratch->busy)
		scratch = NULL;
	if (scratch)
		scratch->busy = 1;
	return with_hash_key(scratch);
}

/* The index of a slot that is now the caller's; negative: none is free. Global, so that the verifier reads it once. */
__noinline int rt_claim_slot(void)
{
	__u32 start = bpf_get_smp_processor_id();

	for (__u32 i = 0; i < SCRATCH_SLOTS; i++) {
		__u32 index = (start + i) & (SCRATCH_SLOTS - 1);
		struct scratch *scratch = bpf_map_lookup_elem(&rt_scratch, &index);

		if (index != SCRATCH_ZEROES && scratch && !__sync_val_compare_and_swap(&scratch->busy, 0, 1))
			return index;
	}
	return -1;
}

/* The same for a program at a tracepoint that works for a task of the host. */
static __always_inline struct scratch *claim_host_scratch(void)
{
	__u32 index = rt_claim_slot();

	return with_hash_key(bpf_map_lookup_elem(&rt_scratch, &index));
}

static __always_inline void release(struct scratch *scratch)
{
	__sync_fetch_and_and(&scratch->busy, 0);
}

#endif
