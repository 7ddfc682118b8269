/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What all remembered decisions share: the epoch of the policies.
 *
 * Place in the data path: identity.h, open-cache.h and peer-cache.h → here → rt_cache_control.
 * Invariant: user space sets a flag before it writes what decisions read, and a greater epoch
 * afterwards. What was read between two equal epochs is therefore of one moment.
 */
#ifndef BAILIFF_RUNTIME_CACHE_H
#define BAILIFF_RUNTIME_CACHE_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#include "layout.h"
#include "maps.h"

#define GOLDEN_RATIO 0x9e3779b97f4a7c15ULL /* spreads a number over the slots */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rt_cache_control);
} rt_cache_control SEC(".maps");

/*
 * Everything that was read before is older than what is read afterwards. An exchange is a full
 * barrier on every architecture, and costs one instruction where loads are ordered anyway.
 */
static __always_inline void read_barrier(void)
{
	__u64 word = 0;

	word = __sync_lock_test_and_set(&word, 1);
	barrier_var(word);
}

/* The epoch of this moment; 0: policies change. A read_barrier() precedes what it is to cover. */
static __always_inline __u64 policy_epoch(void)
{
	const volatile struct rt_cache_control *control;
	__u32 zero = 0;
	__u64 epoch;

	control = bpf_map_lookup_elem(&rt_cache_control, &zero);
	epoch = control ? control->epoch : CACHE_EPOCH_CHANGING;
	return epoch & CACHE_EPOCH_CHANGING ? 0 : epoch;
}

/* ---- what a test leaves out ---- */

/* Each check of the caches. With OPEN_CACHE_TEST, those in rt_settings.reserved are left out. */
enum open_check {
	CHECK_RENAMES = 1 << 0,
	CHECK_MOUNTS = 1 << 1,
	CHECK_EPOCH = 1 << 2,
	CHECK_DENTRIES = 1 << 3,
	CHECK_CONTAINER = 1 << 4,
	CHECK_OPS = 1 << 5,
	CHECK_MOUNT = 1 << 6,
	CHECK_EFFECTS = 1 << 7,
	CHECK_BEFORE = 1 << 8,
	CHECK_BOUND = 1 << 9,
	CHECK_ADDRESS = 1 << 10,
};

#ifdef OPEN_CACHE_TEST
static __always_inline bool leaves_out(enum open_check check)
{
	const struct rt_settings *settings = rt_read_settings();

	return settings && settings->reserved & check;
}
#else
#define leaves_out(check) false
#endif

#endif
