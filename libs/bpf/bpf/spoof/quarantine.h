/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Packets that still pass from and to a quarantined pod (rules.md). The end of a quarantine is in
 * the record and is checked here, so it ends without a collector.
 */
#ifndef BAILIFF_QUARANTINE_H
#define BAILIFF_QUARANTINE_H

#include <stddef.h>

#include <linux/if_packet.h>

#include "checks.h"
#include "maps.h"
#include "node-socket.h"
#include "owner.h"
#include "packet.h"
#include "report.h"

#define NODE_ADDRESS_OTHER 1 /* values of node_addresses */
#define NODE_ADDRESS_THIS  2

/* Minimum of Ethernet, with the frame check sequence that some NICs leave in place. */
#define MINIMAL_FRAME_BYTES 64
/* NS or NA with two options: link-layer address and nonce. */
#define MINIMAL_ND_BYTES 40

#define MAX_TC_INDEX 0xffff

#define NEVER_EXEMPT \
	(VECTOR_BIT(VECTOR_MALFORMED) | VECTOR_BIT(VECTOR_SOURCE_ROUTE) | \
	 VECTOR_BIT(VECTOR_VLAN_TAG) | VECTOR_BIT(VECTOR_ETHERTYPE) | \
	 VECTOR_BIT(VECTOR_CHECKSUM_OFFLOAD))

static __always_inline bool is_quarantined(const struct iface *iface)
{
	return iface->quarantine_until_ns && (iface->quarantine_until_ns == ~0ULL ||
					      bpf_ktime_get_boot_ns() < iface->quarantine_until_ns);
}

static __always_inline bool is_allowed(const union address *peer, bool ipv4)
{
	struct cidr_key key = { .prefixlen = 128 };
	__u32 *family;

	__builtin_memcpy(key.address, peer->bytes, sizeof(key.address));
	family = bpf_map_lookup_elem(&allowed_cidrs, &key);
	return family && *family & (ipv4 ? ADDRESS_IPV4 : ADDRESS_IPV6);
}

/* Whether quarantine allows the first addresses of the interface's pod. */
static __always_inline bool is_allowed_pod(const struct iface *iface)
{
	union address own;

	if (iface->flags & IFACE_HAS_IPV4) {
		mapped_address(&own, iface->ipv4);
		if (is_allowed(&own, true))
			return true;
	}
	if (!(iface->flags & IFACE_HAS_IPV6))
		return false;
	__builtin_memcpy(&own, iface->ipv6, sizeof(own));
	return is_allowed(&own, false);
}

/* Whether it is an IPv6 fragment that a bridge may forward. */
static __always_inline bool is_bridged_fragment(const struct __sk_buff *skb,
						const struct packet *packet)
{
	return packet->fragment != FRAGMENT_NONE && packet->ether_type == bpf_htons(ETH_P_IPV6) &&
	       skb->pkt_type != PACKET_HOST;
}

/*
 * Keeps the interface of an IPv6 fragment that a bridge may forward. Where netfilter joins fragments and the
 * kernel cuts the packet again, the new frames have skb->tc_index of the first one, and not skb_iif. A pod
 * can write another interface there, so it is cleared in every other frame, which takes the slow path if it has
 * one: a frame that a program redirects from netkit has no skb_iif either.
 */
static __always_inline void keep_interface(struct __sk_buff *skb, const struct packet *packet)
{
	skb->tc_index = is_bridged_fragment(skb, packet) && packet->ifindex <= MAX_TC_INDEX
				? packet->ifindex
				: 0;
}

/* The record of the other guarded interface that a frame to the pod came from; NULL: of none. */
static __always_inline const struct iface *find_sender(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ingress_ifindex;

	if (!ifindex && skb->protocol == bpf_htons(ETH_P_IPV6))
		ifindex = skb->tc_index;
	return ifindex && ifindex != skb->ifindex ? bpf_map_lookup_elem(&ifaces, &ifindex) : NULL;
}

/*
 * Whether a frame to the pod is sent to its MAC and to an address of it, and is no neighbour discovery. That
 * address was checked where the frame was sent. Another one may have been allowed there, and still the frame
 * is for who reads it here.
 */
static __always_inline bool is_plain_unicast(struct __sk_buff *skb, const struct iface *iface)
{
	const void *data = (const void *)(long)skb->data,
		   *data_end = (const void *)(long)skb->data_end;
	const struct ipv6hdr *header6 = data + ETH_HLEN;
	const struct iphdr *header4 = data + ETH_HLEN;
	union address to;
	__be16 type;

	if (data + ETH_HLEN > data_end)
		return false;
	if (iface->flags & IFACE_HAS_MAC ? !same_mac(data, iface->mac) : *(const __u8 *)data & 1)
		return false;
	type = *(const __be16 *)(data + offsetof(struct ethhdr, h_proto));
	if (type == bpf_htons(ETH_P_IP)) {
		if ((const void *)(header4 + 1) > data_end)
			return false;
		mapped_address(&to, header4->daddr);
		return is_inline_ipv4(iface, &to) ||
		       is_granted(iface, skb->ifindex, &to, true, ADDRESS_SOURCE);
	}
	if (type != bpf_htons(ETH_P_IPV6) || (const void *)(header6 + 1) > data_end ||
	    header6->nexthdr == IPPROTO_ICMPV6)
		return false;
	__builtin_memcpy(&to, &header6->daddr, sizeof(to));
	return is_inline_ipv6(iface, &to) ||
	       is_granted(iface, skb->ifindex, &to, false, ADDRESS_SOURCE);
}

/*
 * Judges a frame from a pod in quarantine on the way to another one. A bridge sends it to all pods if no
 * port has its MAC, and ARP and ND to find the node carry data as well. So of such frames none passes,
 * unless quarantine allows the other pod, or the group that the frame is to.
 * User space adds what the guard of a netkit pair dropped to what its link received. This drop is among it,
 * but the link received the frame, and the guard judged it: so it counts as judged once more.
 */
__noinline int judge_from_quarantine(struct __sk_buff *skb, const struct iface *sender)
{
	struct packet packet = { .ifindex = skb->ingress_ifindex ? skb->ingress_ifindex
								 : skb->tc_index,
				 .end = skb->len };
	int verdict;
	bool ipv4;

	if (!sender)
		return TCX_NEXT;
	parse_from_pod(skb, &packet);
	ipv4 = packet.ether_type == bpf_htons(ETH_P_IP);
	if (packet.has_addresses && packet.ether_type != bpf_htons(ETH_P_ARP) &&
	    is_group(&packet.destination, ipv4) && is_allowed(&packet.destination, ipv4))
		return TCX_NEXT;
	packet.violations = VECTOR_BIT(VECTOR_QUARANTINE_INGRESS);
	verdict = apply_modes(skb, sender, &packet, 0);
	if (verdict == TCX_DROP && sender->flags & IFACE_NETKIT)
		count_seen(sender->slot);
	return verdict;
}

static __always_inline bool is_probe(struct __sk_buff *skb, const struct iface *iface,
				     const struct packet *packet, const struct flow *flow,
				     bool ipv4)
{
	struct probe_key key = {
		.ifindex = skb->ifindex,
		.generation = iface->generation,
		.port = flow->pod_port,
		.protocol = packet->protocol,
	};
	const __u32 *node;

	if (!packet->transport ||
	    (packet->protocol != IPPROTO_TCP && packet->protocol != IPPROTO_UDP))
		return false;
	node = find_node_address(flow->node);
	if (!node || *node != NODE_ADDRESS_THIS || !bpf_map_lookup_elem(&probe_ports, &key))
		return false;
	/* The kernel removes the socket before it sends the reset that the kubelet asked for. */
	if (flow->node == &packet->source && packet->protocol == IPPROTO_TCP &&
	    packet->tcp_flags & TCPHDR_RST && packet->end - packet->transport == packet->tcp_bytes)
		return true;
	return has_node_socket(skb, flow, packet->protocol, ipv4);
}

static __always_inline bool is_opening_syn(const struct packet *packet)
{
	return packet->protocol == IPPROTO_TCP &&
	       (packet->tcp_flags & (TCPHDR_SYN | TCPHDR_ACK)) == TCPHDR_SYN;
}

/* ff02::1, the destination of unsolicited NAs */
static __always_inline bool is_all_nodes(const union address *address)
{
	return address->halves[0] == bpf_cpu_to_be64(0xff02000000000000ULL) &&
	       address->halves[1] == bpf_cpu_to_be64(1);
}

/* Only padding of a NIC or a switch fits: a longer trailer could carry data. */
static __always_inline bool is_minimal_arp(const struct __sk_buff *skb)
{
	return skb->len <= MINIMAL_FRAME_BYTES;
}

/*
 * A whole NS or NA on this link, without extension headers or trailer, with room for the kernel's
 * own options only.
 */
static __always_inline bool is_minimal_nd(const struct __sk_buff *skb, const struct packet *packet)
{
	if (packet->fragment != FRAGMENT_NONE || packet->hop_limit != 255 ||
	    packet->end != skb->len)
		return false;
	return packet->transport == packet->network + IPV6_BYTES &&
	       packet->end - packet->transport <= MINIMAL_ND_BYTES &&
	       (is_icmpv6(packet, NDISC_NEIGHBOUR_SOLICITATION) ||
		is_icmpv6(packet, NDISC_NEIGHBOUR_ADVERTISEMENT));
}

/*
 * An address that the pod still needs as a neighbour. Hop limit 255 does not keep a packet to
 * another address from being routed.
 */
static __always_inline bool is_link_neighbour(const union address *address)
{
	const __u32 *node;

	if (is_link_local(address))
		return true;
	node = find_node_address(address);
	return node && *node == NODE_ADDRESS_THIS;
}

/*
 * An NS or NA without violations, to a destination that the node and the pod need to find each
 * other.
 */
static __always_inline bool is_nd_from_pod(const struct __sk_buff *skb, const struct packet *packet)
{
	if (packet->violations || !is_minimal_nd(skb, packet))
		return false;
	if (packet->icmp_type == NDISC_NEIGHBOUR_SOLICITATION &&
	    is_solicited_node(&packet->destination, &packet->target))
		return true;
	if (packet->icmp_type == NDISC_NEIGHBOUR_ADVERTISEMENT &&
	    is_all_nodes(&packet->destination))
		return true;
	return is_link_neighbour(&packet->destination);
}

/* Needs a packet from the pod that was checked. */
__noinline int is_exempt_from_pod(struct __sk_buff *skb, const struct iface *iface,
				  const struct packet *packet)
{
	struct flow flow;
	bool ipv4;

	if (!iface || !packet || packet->violations & NEVER_EXEMPT || packet->routed)
		return false;
	/* tc_index has no room for the interface: at another pod nothing would say where it is from. */
	if (packet->ifindex > MAX_TC_INDEX && is_bridged_fragment(skb, packet))
		return false;
	ipv4 = packet->ether_type == bpf_htons(ETH_P_IP);
	if (packet->ether_type == bpf_htons(ETH_P_ARP))
		return packet->violations == 0 && is_minimal_arp(skb);
	if (!ipv4 && is_nd_from_pod(skb, packet))
		return true;
	/* A bridge would send it to all pods, one of which may be an accomplice. */
	if (is_to_group_mac(skb) && !is_group(&packet->destination, ipv4))
		return false;
	if (is_allowed(&packet->destination, ipv4))
		return true;
	flow = (struct flow){ &packet->source, &packet->destination, packet->source_port,
			      packet->destination_port };
	return !is_opening_syn(packet) && is_probe(skb, iface, packet, &flow, ipv4);
}

static __always_inline bool is_nd_for_pod(struct __sk_buff *skb, const struct iface *iface,
					  struct packet *packet)
{
	if (!is_minimal_nd(skb, packet))
		return false;
	if (packet->icmp_type == NDISC_NEIGHBOUR_SOLICITATION)
		return load_bytes(skb, packet, packet->transport + 8, &packet->target,
				  sizeof(packet->target)) &&
		       may_claim_ipv6(iface, skb->ifindex, &packet->target);
	return is_all_nodes(&packet->destination) ||
	       may_claim_ipv6(iface, skb->ifindex, &packet->destination);
}

/*
 * Needs a packet to the pod that was parsed. Its sender is not this pod, so it is not checked. ARP and ND of
 * `sender`, another pod of the node, pass only if quarantine allows it: they carry data as well.
 */
__noinline int is_exempt_to_pod(struct __sk_buff *skb, const struct iface *iface,
				const struct iface *sender, struct packet *packet)
{
	bool ipv4, is_stranger;
	struct flow flow;

	if (!iface || !packet || packet->violations & NEVER_EXEMPT || packet->routed)
		return false;
	ipv4 = packet->ether_type == bpf_htons(ETH_P_IP);
	is_stranger = sender && !is_allowed_pod(sender);
	if (packet->ether_type == bpf_htons(ETH_P_ARP))
		return !is_stranger && is_minimal_arp(skb) &&
		       may_claim_ipv4(iface, skb->ifindex, &packet->destination);
	if (!ipv4 && !is_stranger && is_nd_for_pod(skb, iface, packet))
		return true;
	if (is_allowed(&packet->source, ipv4))
		return true;
	flow = (struct flow){ &packet->destination, &packet->source, packet->destination_port,
			      packet->source_port };
	return is_probe(skb, iface, packet, &flow, ipv4);
}

#endif
