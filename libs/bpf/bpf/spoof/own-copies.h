/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Copies of what the node itself sends. Of a packet to a group that a program of the node has joined at the
 * host side (mDNS), and of a broadcast, the kernel gives the node a copy at the ingress of the link by which it
 * sends the packet. The copy has no Ethernet header, and the pod has not sent it.
 *
 * Place in the data path: spoof_ingress, before a frame counts as judged: the link has not received the copy.
 * Invariant: no frame of a pod passes as one. A veth clears its type. A program of a pod can redirect a copy of
 * its own kernel to the host side with its type (bpf_redirect_peer, Linux below 6.14), but its route is of another
 * device: one of the pod, or, once that is deleted, the kernel's blackhole device, which is in the initial network
 * namespace. So it does not suffice that the route is of the network namespace of the host side.
 */
#ifndef BAILIFF_OWN_COPIES_H
#define BAILIFF_OWN_COPIES_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <bpf/bpf_helpers.h>

#include "skb.h"

#define ROUTE_POINTER (~1UL) /* the lowest bit is a flag */

#ifndef WITHOUT_OFFLOAD
/* The kernel gives a copy of IPv6 the route of the packet, and one of IPv4 that route at the loopback device. */
static __always_inline bool is_own_route(const struct net_device *target,
					 const struct net_device *host)
{
	const struct net *network;

	if (target == host)
		return true;
	network = READ_FIELD(host, nd_net.net);
	return target == READ_FIELD(network, loopback_dev);
}
#endif

static __always_inline bool is_own_copy(struct __sk_buff *skb)
{
#ifdef WITHOUT_OFFLOAD
	(void)skb;
	return false;
#else
	const struct dst_entry *route = 0;
	const struct sk_buff *packet = 0;

	if (skb->pkt_type != PACKET_LOOPBACK || !bpf_core_field_exists(packet->_skb_refdst) ||
	    !bpf_core_field_exists(route->dev))
		return false;
	packet = kernel_skb(skb);
	route = (const void *)(READ_FIELD(packet, _skb_refdst) & ROUTE_POINTER);
	if (!route)
		return false;
	if (HAS_KERNEL_CTX)
		route = bpf_rdonly_cast(route, bpf_core_type_id_kernel(struct dst_entry));
	return is_own_route(READ_FIELD(route, dev), READ_FIELD(packet, dev));
#endif
}

#endif
