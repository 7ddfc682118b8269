/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Task states and working memory: in task storage since Linux 6.2, before in hashes by task.
 *
 * Place in the data path: every file that needs the state of a task → here → rt_tasks or
 * rt_task_hash; walk.h and others claim() working memory.
 * Before 6.2, a look-up in task storage fails while another task on the same CPU is inside one,
 * which full preemption allows. A pod's task would then have no state. A hash look-up does not
 * fail. The verifier removes the half that the kernel does not use.
 * Limits: an entry lives until the task ends (handle_task_free). If its bucket was locked on that
 * CPU then, it is deleted when a fork reuses the address, before that task runs. Working memory is
 * 2 KiB per task.
 */
#ifndef BAILIFF_RUNTIME_STATE_H
#define BAILIFF_RUNTIME_STATE_H

#include <stddef.h>

#include "kernel.h"
#include "maps.h"

/*
 * A function of the same release. User space tests the kernel's BTF for it as well, and sizes
 * rt_task_hash by the result (src/runtime/object.ts).
 */
#define TASK_STORAGE_WORKS bpf_ksym_exists(bpf_rdonly_cast)

_Static_assert(sizeof(struct task_state) <= TEXT_BYTES, "zeroed_state() is of that many bytes");

/* Never NULL. */
static __always_inline const struct scratch *zeroed_scratch(void)
{
	__u32 index = SCRATCH_ZEROES;

	return bpf_map_lookup_elem(&rt_scratch, &index);
}

/* Zeros of the size of a state. */
static __always_inline const void *zeroed_state(void)
{
	const struct scratch *scratch = zeroed_scratch();

	return scratch ? scratch->text + TEXT_BYTES : NULL;
}

/* Returns NULL if the task has none. */
static __always_inline struct task_state *state_of(struct task_struct *task)
{
	__u64 key = (__u64)task;

	if (TASK_STORAGE_WORKS)
		return bpf_task_storage_get(&rt_tasks, task, NULL, 0);
	return bpf_map_lookup_elem(&rt_task_hash, &key);
}

/*
 * Creates a state for a task without one: a copy of `like`, or zeros if it is NULL. Returns NULL
 * without memory.
 */
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

/* Task storage is freed with its task. */
static __always_inline void delete_state(struct task_struct *task)
{
	__u64 key = (__u64)task;

	if (!TASK_STORAGE_WORKS) {
		bpf_map_delete_elem(&rt_task_hash, &key);
		bpf_map_delete_elem(&rt_scratch_hash, &key);
	}
}

/* ---- working memory ---- */

/* For the current task, if it has none. Global, so that the verifier checks it once. */
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
 * Claims the current task's working memory. NULL (counted): there is no memory, or this run
 * interrupts another run of the task. Call release() on every path.
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

/* Index of a claimed slot; negative: none is free. Global, so that the verifier checks it once. */
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

/* The same for a tracepoint program that runs in a task of the host. */
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
