/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Messages that only queriers and routers send (VECTOR_ROUTER_PROTOCOL). A bridge or a neighbour
 * that receives one takes the sender for a querier or a router: the bridge then forwards multicast,
 * and with it neighbour discovery, to that port alone or by its reports.
 *
 * Place in the data path: called by checks.h. Routing protocols over UDP and TCP are ordinary
 * packets of the pod.
 */
#ifndef BAILIFF_ROUTERS_H
#define BAILIFF_ROUTERS_H

#include "owner.h"
#include "packet.h"

#define IPPROTO_EIGRP	   88
#define IPPROTO_OSPF	   89
#define IPPROTO_VRRP	   112
#define VRRP_HEAD_BYTES	   8
#define MAX_VRRP_ADDRESSES 8 /* of one virtual router */

static __always_inline bool is_router_protocol(__u8 protocol)
{
	return protocol == IPPROTO_PIM || protocol == IPPROTO_OSPF || protocol == IPPROTO_EIGRP;
}

/* Reports and leaves of IGMP 1 to 3. The others are queries, DVMRP, PIM 1, mtrace and router discovery. */
static __always_inline bool is_host_igmp(__u8 type)
{
	return type == 0x12 || type == 0x16 || type == 0x17 || type == 0x22;
}

/* MLD query, router renumbering, multicast router discovery. */
static __always_inline bool is_router_icmpv6(__u8 type)
{
	return type == 130 || type == 138 || (type >= 151 && type <= 153);
}

/* Whether the pod may claim all addresses of a VRRP advertisement, as it announces them in ARP and ND. */
__noinline int is_own_vrrp(struct __sk_buff *skb, const struct iface *iface,
			   const struct packet *packet, int ipv4)
{
	__u8 head[4];
	__u32 at;

	if (!iface || !packet || packet->fragment != FRAGMENT_NONE || !packet->transport ||
	    !load_bytes(skb, packet, packet->transport, head, sizeof(head)))
		return false;
	if (head[3] == 0 || head[3] > MAX_VRRP_ADDRESSES)
		return false;
	at = packet->transport + VRRP_HEAD_BYTES;
	for (__u32 i = 0; i < MAX_VRRP_ADDRESSES; i++) {
		union address address;
		__be32 four;

		if (i >= head[3])
			break;
		if (ipv4) {
			if (!load_bytes(skb, packet, at + i * 4, &four, sizeof(four)))
				return false;
			mapped_address(&address, four);
			if (!may_claim_ipv4(iface, skb->ifindex, &address))
				return false;
		} else {
			if (!load_bytes(skb, packet, at + i * 16, &address, sizeof(address)) ||
			    !may_claim_ipv6(iface, skb->ifindex, &address))
				return false;
		}
	}
	return true;
}

#endif
