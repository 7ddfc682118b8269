/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Frames that consist of several packets with headers of their own. A device in the pod that joins
 * packets by list (rx-gro-list) keeps the headers of each; the kernel compares them before it copies
 * them out of the sender's pages. Only the first could be checked, and each leaves as it is when the
 * frame is cut into packets again. Packets that are joined otherwise all get the first header.
 *
 * Place in the data path: parse_from_pod() and parse_to_pod(). Such a frame is malformed, and its linear
 * part is never extended: older kernels cannot cut it any more after that.
 * Reads metadata as offload.h does, with the same three objects.
 */
#ifndef BAILIFF_JOINED_H
#define BAILIFF_JOINED_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#include "skb.h"

#if defined(WITHOUT_OFFLOAD)

static __always_inline bool has_more_headers(struct __sk_buff *skb)
{
	(void)skb;
	return false;
}

#elif defined(OFFLOAD_FROM_CB)

static __always_inline bool has_more_headers(struct __sk_buff *skb)
{
	return skb->gso_size && skb->cb[3];
}

#else

#define SKB_GSO_FRAGLIST (1U << 18)

static __always_inline bool has_more_headers(struct __sk_buff *skb)
{
	const struct skb_shared_info *shared;
	const struct sk_buff *packet;

	if (!skb->gso_size)
		return false;
	packet = kernel_skb(skb);
	shared = (void *)(READ_FIELD(packet, head) + READ_FIELD(packet, end));
	if (HAS_KERNEL_CTX)
		shared = bpf_rdonly_cast(shared, bpf_core_type_id_kernel(struct skb_shared_info));
	return READ_FIELD(shared, gso_type) & SKB_GSO_FRAGLIST;
}

#endif

#endif
