/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Frames that would not be judged at the host side, seen at the pod's end of a veth pair.
 *
 * A pod can send its frames through an ifb device of its own, which marks them with
 * skb->tc_skip_classify, and the veth keeps the mark. The host side then receives a marked frame
 * without traffic control: neither tcx nor clsact nor the ingress hook of netfilter runs. tcx egress
 * at the pod's end is the last hook that sees the mark. It is cleared when a frame is received and
 * by an action of traffic control.
 * Place in the data path: tcx egress of the pod's end → report.h. The program has no interface
 * index of the host side, so it takes that of the veth's peer, which the pod cannot change.
 */
#ifndef BAILIFF_POD_END_H
#define BAILIFF_POD_END_H

#include "maps.h"
#include "network.h"
#include "packet.h"
#include "quarantine.h"
#include "report.h"
#include "skb.h"

#define NETDEV_ALIGN 32

static __always_inline bool skips_host_side(struct __sk_buff *skb)
{
	const struct sk_buff *packet = 0;

	if (!bpf_ksym_exists(bpf_cast_to_kern_ctx) ||
	    !bpf_core_field_exists(packet->tc_skip_classify))
		return false;
	packet = bpf_cast_to_kern_ctx(skb);
	return BPF_CORE_READ_BITFIELD(packet, tc_skip_classify);
}

/* Where netdev_priv() of the kernel points, from the start of the device. */
static __always_inline __u32 private_offset(void)
{
	const struct net_device *device = 0;

	if (bpf_core_field_exists(device->priv))
		return bpf_core_field_offset(struct net_device, priv);
	return (bpf_core_type_size(struct net_device) + NETDEV_ALIGN - 1) & ~(NETDEV_ALIGN - 1);
}

/* Index of the host side; 0: it is gone, or lockdown mode confidentiality refuses to read it. */
static __always_inline __u32 host_ifindex(struct __sk_buff *skb)
{
	const struct sk_buff *packet = bpf_cast_to_kern_ctx(skb);
	const struct net_device *device = packet->dev, *peer = 0;

	/* struct veth_priv begins with its peer. */
	if (bpf_probe_read_kernel(&peer, sizeof(peer), (const void *)device + private_offset()) ||
	    !peer)
		return 0;
	return BPF_CORE_READ(peer, ifindex);
}

static __always_inline __u32 violations_of_bypass(const struct iface *iface)
{
	__u32 violations = VECTOR_BIT(VECTOR_GUARD_BYPASS);

	if (iface->state == STATE_UNKNOWN)
		violations |= VECTOR_BIT(VECTOR_UNKNOWN_INTERFACE);
	if (iface->flags & IFACE_ORPHANED)
		violations |= VECTOR_BIT(VECTOR_ORPHANED);
	if (is_quarantined(iface))
		violations |= VECTOR_BIT(VECTOR_QUARANTINE_INGRESS);
	return violations;
}

/*
 * The modes of the interface decide, and quarantine, an unknown and an orphaned interface as at the
 * host side. A frame whose host side cannot be found is dropped: nothing else will judge it.
 */
__noinline int judge_bypass(struct __sk_buff *skb)
{
	struct packet packet = { .ifindex = host_ifindex(skb), .end = skb->len };
	const struct iface *iface = bpf_map_lookup_elem(&ifaces, &packet.ifindex);

	if (!packet.ifindex) {
		count_loss(LOSS_NO_IFACE);
		return TCX_DROP;
	}
	if (!iface)
		return handle_missing_record();
	parse_from_pod(skb, &packet);
	packet.violations = violations_of_bypass(iface);
	return apply_modes(skb, iface, &packet, 0);
}

#endif
