/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Result of path_mknod for file_open of the same open(O_CREAT), because that is one operation with
 * two hooks.
 *
 * Place in the data path: file.h → here. If a name is not in the dentry cache, the kernel calls
 * path_mknod first and looks the name up afterwards. If path_mknod refuses, the kernel still opens
 * an existing file.
 * Invariants: a refusal by both hooks is counted once; an allowed creation is counted if the file
 * was created. Limit: one result per task, which the next open with O_CREAT takes.
 */
#ifndef BAILIFF_RUNTIME_CREATION_H
#define BAILIFF_RUNTIME_CREATION_H

#include <stdbool.h>

#include "identity.h"
#include "mounts.h"
#include "state.h"

/* Flags of task_state.mknod_result, or'ed to the low half of the dentry's address. */
enum mknod_result {
	MKNOD_UNCOUNTED = 1, /* allowed; count it if the file is created */
	MKNOD_REFUSED = 2,   /* refused and counted */
	MKNOD_FLAGS = 3,
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct dentry___lru {
	struct list_head d_lru;
};

#pragma clang attribute pop

/*
 * Whether only the call that created the dentry holds it. A dentry that was released once is on the
 * LRU list.
 */
static __always_inline bool is_new_dentry(struct dentry *dentry)
{
	struct dentry___lru *listed = (void *)dentry;

	return BPF_CORE_READ(listed, d_lru.next) ==
	       (void *)dentry + bpf_core_field_offset(struct dentry___lru, d_lru);
}

static __always_inline bool is_hashed(struct dentry *dentry)
{
	return LOAD(dentry, dentry, d_hash.pprev);
}

/* Both functions are global, so that the verifier treats the address as a number. */
__noinline int rt_store_mknod(const struct object *object, enum mknod_result result)
{
	struct task_state *state = state_of(bpf_get_current_task_btf());

	if (object && state)
		state->mknod_result = (__u32)(__u64)object->dentry | result;
	return 0;
}

/*
 * Completes `object` with the result of path_mknod if it ran in this open. `created`: the open
 * created the file.
 */
__noinline int rt_take_mknod(struct object *object, __u32 created)
{
	struct task_state *state = state_of(bpf_get_current_task_btf());
	__u32 mknod_result;

	if (!object || !state)
		return 0;
	mknod_result = state->mknod_result;
	state->mknod_result = 0;
	if ((mknod_result & ~MKNOD_FLAGS) != (__u32)(__u64)object->dentry)
		return 0;
	if (mknod_result & MKNOD_UNCOUNTED && created)
		object->ops |= OP_BIT(OP_CREATE);
	if (mknod_result & MKNOD_REFUSED && is_new_dentry(object->dentry))
		object->quiet = QUIET_COUNTED;
	return 0;
}

#endif
