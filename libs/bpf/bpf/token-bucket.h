/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Token bucket that bounds the samples of one interface or of one runtime subject.
 *
 * Place in the data path: spoof/report.h, runtime/sample.h → here. Elements of pinned arrays, which
 * only the kernel uses. The owner takes the lock around every call; it covers a few instructions and
 * no helper call. The lock must be a direct member of a map value, so the owners share this struct
 * and do not embed it.
 */
#ifndef BAILIFF_TOKEN_BUCKET_H
#define BAILIFF_TOKEN_BUCKET_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

#define NSEC_PER_SEC  1000000000ULL
#define MAX_REFILL_NS (10 * NSEC_PER_SEC) /* keeps elapsed × rate within 64 bits */

struct token_bucket {
	__u64 refilled_ns;
	__u32 tokens;
	__u32 generation; /* if it is not the owner's, the bucket restarts */
	__u32 marks;	  /* of the owner; a restart clears them */
	struct bpf_spin_lock lock;
};

/* Restarts the bucket for a new generation, and adds the tokens that are due. */
static __always_inline void refill_tokens(struct token_bucket *bucket, __u32 generation, __u64 now,
					  __u32 rate, __u32 burst)
{
	__u64 elapsed, more;

	if (bucket->generation != generation) {
		bucket->generation = generation;
		bucket->tokens = burst;
		bucket->marks = 0;
		bucket->refilled_ns = now;
	}
	if (bucket->tokens > burst)
		bucket->tokens = burst;

	elapsed = now - bucket->refilled_ns;
	/* filled by an older program, whose clock ran on while the machine was suspended */
	if ((__s64)elapsed < -(__s64)MAX_REFILL_NS)
		bucket->refilled_ns = now;
	/* another CPU may have read a later clock and taken the lock first */
	if ((__s64)elapsed <= 0 || rate == 0)
		return;
	if (elapsed > MAX_REFILL_NS) {
		elapsed = MAX_REFILL_NS;
		bucket->refilled_ns = now - elapsed;
	}
	more = elapsed * rate / NSEC_PER_SEC;
	bucket->refilled_ns += more * NSEC_PER_SEC / rate;
	bucket->tokens = more >= burst - bucket->tokens ? burst : bucket->tokens + more;
}

static __always_inline bool take_token(struct token_bucket *bucket)
{
	if (!bucket->tokens)
		return false;
	bucket->tokens--;
	return true;
}

#endif
