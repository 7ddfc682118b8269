/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * open(O_CREAT) is one operation with two hooks: what path_mknod answered, until file_open of the same open.
 *
 * Place in the path: file.h → here. For a name that is not in its cache the kernel asks path_mknod first and looks the name up afterwards.
 * Refused, it still opens the file if there is one. Invariants: what both hooks refuse is counted once, a creation that may be done is
 * counted when it was. Bounds: one answer a task; the next open with O_CREAT takes it.
 */
#ifndef BAILIFF_RUNTIME_CREATION_H
#define BAILIFF_RUNTIME_CREATION_H

#include <stdbool.h>

#include "identity.h"
#include "mounts.h"
#include "state.h"

/* Of task_state.asked: or'ed to the low half of the dentry's address. */
enum mknod_result {
	MKNOD_UNCOUNTED = 1,	/* it may create: to be counted when it did */
	MKNOD_REFUSED = 2,	/* it may not, and that is counted */
	MKNOD_FLAGS = 3,
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct dentry___lru {
	struct list_head d_lru;
};

#pragma clang attribute pop

/* Still in the hands of the call that looked it up first: what was let go once is in the list of those that may be freed. */
static __always_inline bool is_new_dentry(struct dentry *dentry)
{
	struct dentry___lru *listed = (void *)dentry;

	return BPF_CORE_READ(listed, d_lru.next) == (void *)dentry + bpf_core_field_offset(struct dentry___lru, d_lru);
}

static __always_inline bool is_hashed(struct dentry *dentry)
{
	return LOAD(dentry, dentry, d_hash.pprev);
}

/* Both are global, so that the address is a number to the verifier. */
__noinline int rt_store_mknod(const struct object *object, enum mknod_result result)
{
	struct task_state *state = state_of(bpf_get_current_task_btf());

	if (object && state)
		state->mknod_result = (__u32)(__u64)object->dentry | result;
	return 0;
}

/* Completes `object` by what path_mknod answered, if it was asked in this open. `created`: whether that made the file. */
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
