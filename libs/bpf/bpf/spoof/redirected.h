/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Frames that a program of a pod sends to the host side of a netkit pair past the programs of the
 * pair (bpf_redirect_peer), and so past the guard.
 *
 * At tcx ingress of the host side such a frame looks like one that the guard has passed. But the
 * kernel calls netkit_peer_dev() for the first kind alone, and hands the frame to tcx ingress of the
 * device that this function returned, on the same processor and before any other frame. So a program
 * at the end of that function notes the device, and the one at tcx ingress compares.
 * Place in the data path: netkit_peer_dev() → tcx ingress of the host side → report.h.
 * Invariant: a frame does not carry the note, so nothing in a pod can forge or remove it.
 * Limit: a frame that the kernel drops in between leaves its note; it counts for NOTE_NS at most, for
 * the next frame of the same interface on the same processor.
 */
#ifndef BAILIFF_REDIRECTED_H
#define BAILIFF_REDIRECTED_H

#include "maps.h"
#include "packet.h"
#include "pod-end.h"
#include "quarantine.h"
#include "report.h"
#include "skb.h"

#define NOTE_NS NSEC_PER_SEC
/* The low bits of a note's time are those of the index: another device may get the same address. */
#define NOTE_INDEX 0xffffULL

static __always_inline bool is_host_side(const struct net_device *device)
{
	const struct netkit *pair;

	pair = bpf_rdonly_cast((const void *)device + private_offset(),
			       bpf_core_type_id_kernel(struct netkit));
	return pair->primary;
}

static __always_inline void note_redirection(const struct net_device *target)
{
	__u32 zero = 0;
	struct redirection *last;

	if (!target || !is_host_side(target))
		return;
	last = bpf_map_lookup_elem(&redirections, &zero);
	if (!last)
		return;
	last->device = (__u64)target;
	/* Never in the future, also for an older reader. */
	last->at_ns = ((bpf_ktime_get_ns() - NOTE_INDEX - 1) & ~NOTE_INDEX) |
		      (READ_FIELD(target, ifindex) & NOTE_INDEX);
}

static __always_inline bool is_redirected(struct __sk_buff *skb)
{
	const struct net_device *device = READ_FIELD(kernel_skb(skb), dev);
	__u32 zero = 0;
	struct redirection *last = bpf_map_lookup_elem(&redirections, &zero);

	if (!last || last->device != (__u64)device)
		return false;
	last->device = 0;
	if ((last->at_ns ^ skb->ifindex) & NOTE_INDEX)
		return false;
	return bpf_ktime_get_ns() - last->at_ns < NOTE_NS;
}

/*
 * As judge_bypass(). The link has received the frame, so it counts as judged. User space adds the
 * frames that the guard dropped to those that the link received, by their vectors: one that is dropped
 * under another vector than guard-bypass is among them, and so counts twice.
 */
__noinline int judge_redirected(struct __sk_buff *skb)
{
	struct packet packet = { .ifindex = skb->ifindex, .end = skb->len };
	const struct iface *iface = bpf_map_lookup_elem(&ifaces, &packet.ifindex);
	int verdict;

	if (!iface)
		return handle_missing_record();
	count_seen(iface->slot);
	parse_from_pod(skb, &packet);
	packet.violations = violations_of_bypass(iface);
	verdict = apply_modes(skb, iface, &packet, 0);
	if (verdict == TCX_DROP && packet.dropped_as != VECTOR_GUARD_BYPASS)
		count_seen(iface->slot);
	return verdict;
}

#endif
