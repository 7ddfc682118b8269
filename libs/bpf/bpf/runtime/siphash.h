/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The keyed hash of names and paths, so that no pod can make two of them collide. */
#ifndef BAILIFF_RUNTIME_SIPHASH_H
#define BAILIFF_RUNTIME_SIPHASH_H

#include "maps.h"

#define ROTATE(x, bits) ((x) << (bits) | (x) >> (64 - (bits)))
#define SIP_ROUND(v0, v1, v2, v3) \
	do { \
		v0 += v1; \
		v1 = ROTATE(v1, 13) ^ v0; \
		v0 = ROTATE(v0, 32); \
		v2 += v3; \
		v3 = ROTATE(v3, 16) ^ v2; \
		v0 += v3; \
		v3 = ROTATE(v3, 21) ^ v0; \
		v2 += v1; \
		v1 = ROTATE(v1, 17) ^ v2; \
		v2 = ROTATE(v2, 32); \
	} while (0)

/* SipHash-1-3 of the first `bytes` of scratch->words; at most 8 + NAME_BYTES. */
__noinline __u64 rt_siphash(struct scratch *scratch, __u32 bytes)
{
	__u64 v0 = 0x736f6d6570736575ULL, v1 = 0x646f72616e646f6dULL, v2 = 0x6c7967656e657261ULL,
	      v3 = 0x7465646279746573ULL;
	__u32 whole = bytes / 8, rest = bytes & 7;
	__u64 word, last = (__u64)bytes << 56;

	if (!scratch)
		return 0;
	if (rest)
		last |= scratch->words[whole & (SCRATCH_WORDS - 1)] & ((1ULL << (rest * 8)) - 1);
	v0 ^= scratch->key[0];
	v1 ^= scratch->key[1];
	v2 ^= scratch->key[0];
	v3 ^= scratch->key[1];
	for (__u32 i = 0; i < 1 + NAME_BYTES / 8; i++) {
		if (i >= whole)
			break;
		word = scratch->words[i];
		v3 ^= word;
		SIP_ROUND(v0, v1, v2, v3);
		v0 ^= word;
	}
	v3 ^= last;
	SIP_ROUND(v0, v1, v2, v3);
	v0 ^= last;
	v2 ^= 0xff;
	SIP_ROUND(v0, v1, v2, v3);
	SIP_ROUND(v0, v1, v2, v3);
	SIP_ROUND(v0, v1, v2, v3);
	return v0 ^ v1 ^ v2 ^ v3;
}

#endif
