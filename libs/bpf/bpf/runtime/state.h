/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Task states and working memory.
 *
 * Place in the data path: every file that needs the state of a task → here → rt_tasks; walk.h and
 * others claim() working memory.
 * Invariant: nothing here allocates memory; shares.h says how much of it a pod may use.
 * Limits: an entry lives until the task ends (handle_task_free). If its bucket was locked on that
 * CPU then, which Linux 6.1 reports as busy, it is deleted when a fork reuses the address.
 */
#ifndef BAILIFF_RUNTIME_STATE_H
#define BAILIFF_RUNTIME_STATE_H

#include <stdbool.h>
#include <stddef.h>

#include "kernel.h"
#include "maps.h"
#include "shares.h"

_Static_assert(sizeof(struct task_state) <= TEXT_BYTES, "zeroes() has that many bytes");

/* ---- states ---- */

/* NULL: the task has none. */
static __always_inline struct task_state *state_of(struct task_struct *task)
{
	__u64 key = (__u64)task;

	return bpf_map_lookup_elem(&rt_tasks, &key);
}

/* Creates the state of a task of the pod with this share. Returns false if the map is full. */
static __always_inline bool make_state(struct task_struct *task, struct rt_share *share,
				       const void *value)
{
	__u64 key = (__u64)task;

	if (!value || bpf_map_update_elem(&rt_tasks, &key, value, BPF_NOEXIST))
		return false;
	count_task(share, 1);
	return true;
}

static __always_inline void delete_state(struct task_struct *task)
{
	const struct task_state *state = state_of(task);
	__u64 key = (__u64)task;
	struct pod_uid pod;

	if (!state)
		return;
	pod = state->pod;
	if (!bpf_map_delete_elem(&rt_tasks, &key))
		count_task(share_of(&pod), -1);
}

/* ---- working memory ---- */

/* Index of a spare slot; negative: none is free, or the pod uses its share. */
static __always_inline int claim_spare(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	const struct task_state *state = state_of(task);
	struct rt_share *share = state ? share_of(&state->pod) : NULL;
	struct rt_totals *total = totals();
	__u32 start = task->pid;

	if (!total || (share ? share->spares : 0) >= SPARES - total->spares)
		return -1;
	for (__u32 i = 0; i < SPARES; i++) {
		__u32 index = (start + i) & (SPARES - 1);
		struct scratch *scratch = bpf_map_lookup_elem(&rt_scratch, &index);

		if (!scratch || scratch->busy ||
		    __sync_val_compare_and_swap(&scratch->busy, SCRATCH_FREE, SCRATCH_SPARE))
			continue;
		if (share)
			__sync_fetch_and_add(&share->spares, 1);
		__sync_fetch_and_add(&total->spares, 1);
		return index;
	}
	return -1;
}

/* Index of a claimed slot; negative: there is none. Global, so that the verifier checks it once. */
__noinline int rt_claim_slot(void)
{
	__u32 index = SPARES + bpf_get_smp_processor_id();
	struct scratch *scratch = bpf_map_lookup_elem(&rt_scratch, &index);

	/* programs do not migrate: only tasks of this CPU compete for it */
	if (scratch && !__sync_val_compare_and_swap(&scratch->busy, SCRATCH_FREE, SCRATCH_CPU))
		return index;
	return claim_spare();
}

__noinline int rt_count_released_spare(void)
{
	const struct task_state *state = state_of(bpf_get_current_task_btf());
	struct rt_share *share = state ? share_of(&state->pod) : NULL;
	struct rt_totals *total = totals();

	if (share)
		__sync_fetch_and_add(&share->spares, -1);
	if (total)
		__sync_fetch_and_add(&total->spares, -1);
	return 0;
}

/* Claims working memory. NULL (counted): there is none. Call release() on every path. */
static __always_inline struct scratch *claim(void)
{
	const struct rt_settings *settings = rt_read_settings();
	__u32 index = rt_claim_slot();
	struct scratch *scratch = bpf_map_lookup_elem(&rt_scratch, &index);

	if (!scratch || !settings) {
		rt_count_loss(RT_LOSS_NO_SCRATCH);
		return NULL;
	}
	scratch->key[0] = settings->hash_key[0];
	scratch->key[1] = settings->hash_key[1];
	return scratch;
}

static __always_inline void release(struct scratch *scratch)
{
	__u32 use = scratch->busy;

	__sync_fetch_and_and(&scratch->busy, 0);
	if (use == SCRATCH_SPARE)
		rt_count_released_spare();
}

#endif
