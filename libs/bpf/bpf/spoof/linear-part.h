/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The bytes of a frame that the programs read, as memory of the kernel that no other frame shares.
 *
 * Place in the data path: before any byte is read. rules.md, "The bytes that are read".
 */
#ifndef BAILIFF_LINEAR_PART_H
#define BAILIFF_LINEAR_PART_H

#include "packet.h"
#include "skb.h"

/*
 * Whether another part of the kernel holds the frame itself, not only its memory, and the memory may
 * have to be replaced, which ends such a kernel (BUG). pktgen holds what it sends; the kernel copies such
 * a frame only where it receives it, after the programs.
 */
static __always_inline bool is_held(struct __sk_buff *skb)
{
#ifdef WITHOUT_OFFLOAD
	(void)skb;
	return false;
#else
	const struct sk_buff *packet = kernel_skb(skb);

	return READ_FIELD(packet, users.refs.counter) != 1 &&
	       (READ_FIELD(packet, data_len) || READ_BITFIELD(packet, cloned));
#endif
}

/*
 * Whether the linear part is this frame's alone, and is at least this long. A frame that was never cloned
 * shares nothing. bpf_skb_pull_data() finds that too, and its call was two thirds of the fast path.
 */
static __always_inline bool owns_linear(struct __sk_buff *skb, __u64 bytes)
{
#ifdef WITHOUT_OFFLOAD
	(void)skb;
	(void)bytes;
	return false;
#else
	return HAS_KERNEL_CTX && !READ_BITFIELD(kernel_skb(skb), cloned) &&
	       (const void *)(long)skb->data_end - (const void *)(long)skb->data >= (long)bytes;
#endif
}

/*
 * Copies the linear part of the frame if another one shares it, so that this is the only reference.
 * A pod can duplicate a frame (mirred, a bridge) and have its own kernel rewrite the other one in
 * place: SNPT of ip6tables, bonding and others do not copy first. TCP shares its payload only, so
 * its frames are not copied. Invalidates pointers to packet bytes. Returns false if the kernel has no
 * memory or holds the frame, or it is shorter than an Ethernet header.
 */
static __always_inline bool own_linear_part(struct __sk_buff *skb)
{
	return !is_held(skb) &&
	       (owns_linear(skb, ETH_HLEN) || bpf_skb_pull_data(skb, ETH_HLEN) == 0);
}

/*
 * Bytes from the start of the frame that are read. The packets of a GSO frame can be a list of buffers
 * (SCTP, GRO), of which the kernel takes one for each segment, and it ends (BUG) where a part of one was
 * moved into the linear part. So of a GSO frame only the linear part is read. It holds all headers
 * that the kernel writes into the segments.
 */
static __always_inline __u32 header_bytes(const struct __sk_buff *skb)
{
	__u32 bytes = skb->len;

	if (skb->gso_size)
		bytes = (const void *)(long)skb->data_end - (const void *)(long)skb->data;
	return bytes < MAX_HEADER_BYTES ? bytes : MAX_HEADER_BYTES;
}

/*
 * Moves the bytes that are read into the linear part of the frame, which is memory of the kernel, and
 * makes that the frame's own. The pages behind it may be the sender's (splice, sendfile, MSG_ZEROCOPY,
 * io_uring): a byte that is read there may not be the byte that arrives. Invalidates pointers to packet
 * bytes. Returns false if the kernel has no memory, or holds the frame.
 */
static __always_inline bool own_headers(struct __sk_buff *skb, struct packet *packet)
{
	packet->readable = header_bytes(skb);
	return !is_held(skb) && (owns_linear(skb, packet->readable) ||
				 bpf_skb_pull_data(skb, packet->readable) == 0);
}

#endif
