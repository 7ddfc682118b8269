/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Packets to a pod that would make its own software violate a rule: its answer would be dropped, and
 * counted as a violation of the pod. A neighbour needs no right of the pod for that. UDP from a tunnel
 * port is answered to it; a kernel that forwards, which pods inherit from their node, sends a
 * neighbour's packet on; and a pod answers for addresses of its other interfaces too, of loopback
 * among them where route_localnet is set, which pods inherit as well.
 *
 * Place in the data path: egress of the host side, for packets to the pod. is_plain_to_pod() first,
 * which parses nothing. The answer is the packet with both ends exchanged, judged as from the pod.
 */
#ifndef BAILIFF_PROVOCATION_H
#define BAILIFF_PROVOCATION_H

#include "checks.h"
#include "fastpath.h"
#include "maps.h"
#include "packet.h"

/* Before the packet that an ICMPv6 error quotes. */
#define ERROR_HEAD_BYTES (ETH_HLEN + IPV6_BYTES + 8)
#define LOOPBACK_NETWORK 127 /* first byte of 127/8 */
/* Of an extension header in the quote, at most. */
#define QUOTED_BYTES	  (sizeof(struct extension) + sizeof(union address))
#define RA_BYTES	  16 /* of an RA, before its options */
#define MAX_RA_OPTIONS	  16 /* that are read; a router sends about ten */
#define ND_OPT_PREFIX	  3
#define PREFIX_UNITS	  4  /* minimal length of that option */
#define PREFIX_AT	  16 /* in it; its first half counts */
#define PREFIX_BYTES	  8
#define PREFIX_AUTONOMOUS 0x40

/* Whether UDP may be answered to its source port, which is the first of the two. */
static __always_inline bool is_plain_answer(const __be16 *ports, const void *data_end, bool ipv4)
{
	if ((const void *)(ports + 2) > data_end)
		return false;
	return ports[0] != bpf_htons(ipv4 ? PORT_DHCP_CLIENT : PORT_DHCPV6_CLIENT) &&
	       ports[0] != bpf_htons(ipv4 ? PORT_DHCP_SERVER : PORT_DHCPV6_SERVER) &&
	       !is_tunnel_port(ports[0]);
}

static __always_inline bool is_plain_ipv4_to_pod(const struct iface *iface,
						 const struct iphdr *header, const void *data_end)
{
	if ((const void *)(header + 1) > data_end || !(iface->flags & IFACE_HAS_IPV4) ||
	    header->daddr != iface->ipv4)
		return false;
	if (*(const __u8 *)header != 0x45)
		return false;
	if (header->protocol != IPPROTO_UDP || header->frag_off & bpf_htons(IP_OFFSET))
		return header->protocol != IPPROTO_AH;
	return is_plain_answer((const __be16 *)(header + 1), data_end, true);
}

static __always_inline bool is_plain_icmpv6_to_pod(const __u8 *type, const void *data_end)
{
	return (const void *)(type + 1) <= data_end && *type != NDISC_NEIGHBOUR_SOLICITATION &&
	       *type != NDISC_ROUTER_ADVERTISEMENT;
}

static __always_inline bool is_plain_ipv6_to_pod(const struct iface *iface,
						 const struct ipv6hdr *header, const void *data_end)
{
	if ((const void *)(header + 1) > data_end ||
	    !is_inline_ipv6(iface, (const union address *)&header->daddr))
		return false;
	/* ::/64 contains the mapped addresses. */
	if (!((const union address *)&header->saddr)->halves[0])
		return false;
	if (header->nexthdr == IPPROTO_ICMPV6)
		return is_plain_icmpv6_to_pod((const __u8 *)(header + 1), data_end);
	if (header->nexthdr != IPPROTO_UDP)
		return !is_extension(header->nexthdr);
	return is_plain_answer((const __be16 *)(header + 1), data_end, false);
}

static __always_inline bool is_plain_arp_to_pod(const struct arphdr *header, const void *data_end)
{
	return (const void *)(header + 1) <= data_end && header->ar_tip[0] != LOOPBACK_NETWORK;
}

/* Whose answers are judged by other vectors alone. */
static __always_inline bool is_without_identity(const struct iface *iface)
{
	return iface->state == STATE_UNKNOWN || iface->flags & IFACE_ORPHANED;
}

/* Whether the packet provokes nothing, as its first headers show. */
static __always_inline bool is_plain_to_pod(struct __sk_buff *skb, const struct iface *iface)
{
	const void *data = (const void *)(long)skb->data,
		   *data_end = (const void *)(long)skb->data_end;
	__be16 type;

	if (iface->modes[VECTOR_PROVOCATION] == MODE_OFF || is_without_identity(iface) ||
	    data + ETH_HLEN > data_end)
		return true;
	type = *(const __be16 *)(data + offsetof(struct ethhdr, h_proto));
	if (type == bpf_htons(ETH_P_IP))
		return is_plain_ipv4_to_pod(iface, data + ETH_HLEN, data_end);
	if (type == bpf_htons(ETH_P_IPV6))
		return is_plain_ipv6_to_pod(iface, data + ETH_HLEN, data_end);
	if (type == bpf_htons(ETH_P_ARP))
		return is_plain_arp_to_pod(data + ETH_HLEN, data_end);
	return !is_tag(type);
}

static __always_inline void exchange_ends(struct packet *packet)
{
	union address address = packet->source;
	__be16 port = packet->source_port;

	packet->source = packet->destination;
	packet->destination = address;
	packet->source_port = packet->destination_port;
	packet->destination_port = port;
}

/*
 * Whether the address may be a subnet's broadcast address, whose host part is all ones. The program does
 * not know the subnet.
 */
static __always_inline bool may_be_broadcast(const union address *address)
{
	return address->bytes[12] != LOOPBACK_NETWORK && (address->bytes[15] & 3) == 3;
}

/*
 * Whether the kernel of the pod takes the frame for its own. A copy of other traffic is not. One to a
 * group of MACs is, whatever single address is in it.
 */
static __always_inline bool is_taken(struct __sk_buff *skb, const struct iface *iface)
{
	__u8 mac[6] __attribute__((aligned(2)));

	return bpf_skb_load_bytes(skb, 0, mac, sizeof(mac)) == 0 &&
	       (mac[0] & 1 || may_use_mac(iface, skb->ifindex, mac));
}

/* 240/4 except the broadcast address. It is no group: a host that reports an error about such a packet names this address. */
static __always_inline bool is_reserved(const union address *address)
{
	return address->bytes[12] >= 240 && address->words[3] != 0xffffffff;
}

/*
 * Whether the pod answers from the address that the packet was sent to, which is the source of the answer
 * already. It answers a group, or a broadcast, from an address of its own; but Linux resets TCP to a group of IPv6
 * from the group. A DHCP server sends to the address that it offers, which is not the pod's yet: only a pod without an
 * address waits for one, and another one's kernel would forward the offer.
 */
static __always_inline bool is_answered_from(struct __sk_buff *skb, const struct iface *iface,
					     const struct packet *packet, bool ipv4, bool udp)
{
	if (!is_taken(skb, iface))
		return false;
	if (is_group(&packet->source, ipv4))
		return (packet->protocol == IPPROTO_TCP && packet->transport) ||
		       (ipv4 && is_reserved(&packet->source));
	if (!ipv4 || !udp)
		return true;
	if (!(iface->flags & IFACE_HAS_IPV4) &&
	    packet->source_port == bpf_htons(PORT_DHCP_CLIENT) &&
	    packet->destination_port == bpf_htons(PORT_DHCP_SERVER) &&
	    packet->source.bytes[12] != LOOPBACK_NETWORK)
		return false;
	return !(is_to_group_mac(skb) && may_be_broadcast(&packet->source));
}

/* ::ffff:0:0/96. A dual-stack socket answers such a packet over IPv4. */
static __always_inline bool is_mapped(const union address *address)
{
	return address->halves[0] == 0 && address->words[2] == bpf_htonl(0xffff);
}

/*
 * Whether it is a ping of a group of IPv6 from an address that is not of the link. Linux answers it from the address
 * that it pings from, if that is one of another interface of the pod (RFC 6724, rule 1). The program does not know
 * those. Addresses of the pod's own /64 are taken for ones of the link.
 */
static __always_inline bool is_ping_of_group(struct __sk_buff *skb, const struct iface *iface,
					     const struct packet *packet)
{
	const union address *pinging = &packet->destination;

	if (!is_icmpv6(packet, ICMPV6_ECHO_REQUEST) || !is_group(&packet->source, false) ||
	    is_link_local(pinging))
		return false;
	if (iface->flags & IFACE_HAS_IPV6 && pinging->halves[0] == *(const __u64 *)iface->ipv6)
		return false;
	return is_taken(skb, iface);
}

static __always_inline void check_answering_address(struct __sk_buff *skb,
						    const struct iface *iface,
						    struct packet *packet, bool ipv4)
{
	if (ipv4 ? is_inline_ipv4(iface, &packet->source) : is_inline_ipv6(iface, &packet->source))
		return;
	if (!ipv4 && is_link_local(&packet->source)) {
		if (!may_claim_ipv6(iface, skb->ifindex, &packet->source))
			add_violation(packet, VECTOR_LINK_LOCAL);
	} else {
		require_right(iface, skb->ifindex, packet, &packet->source, ipv4, ADDRESS_SOURCE,
			      ipv4 ? VECTOR_IPV4_SOURCE : VECTOR_IPV6_SOURCE);
	}
}

/*
 * A server's message to a client is not answered to it, nor a client's to a server: only a server would,
 * and its pod has dhcp-server off.
 */
static __always_inline void check_dhcp_answer(struct packet *packet, bool ipv4)
{
	__be16 client = bpf_htons(ipv4 ? PORT_DHCP_CLIENT : PORT_DHCPV6_CLIENT);
	__be16 server = bpf_htons(ipv4 ? PORT_DHCP_SERVER : PORT_DHCPV6_SERVER);

	if ((packet->destination_port == client && packet->source_port != server) ||
	    (packet->destination_port == server && packet->source_port != client))
		add_violation(packet, VECTOR_DHCP_SERVER);
}

/*
 * Adds the violations of the answer, whose ends are exchanged already. `of_packet` are those of the
 * packet's format.
 */
__noinline int check_answer(struct __sk_buff *skb, const struct iface *iface, struct packet *packet,
			    __u32 of_packet)
{
	bool ipv4, udp;

	if (!iface || !packet)
		return 0;
	ipv4 = packet->ether_type == bpf_htons(ETH_P_IP);
	/* An error quotes these headers, and each of them is read. */
	if (packet->extension &&
	    (of_packet & VECTOR_BIT(VECTOR_MALFORMED) ||
	     packet->extension - packet->network + QUOTED_BYTES + ERROR_HEAD_BYTES >
		     MAX_HEADER_BYTES))
		add_violation(packet, VECTOR_MALFORMED);
	/*
	 * An answer repeats a source route of IPv4. An error about a routing header names its last segment,
	 * which may be another's address.
	 */
	if (of_packet & VECTOR_BIT(VECTOR_SOURCE_ROUTE) && (ipv4 || packet->routed) &&
	    iface->modes[VECTOR_SOURCE_ROUTE] == MODE_ENFORCE)
		add_violation(packet, ipv4 ? VECTOR_SOURCE_ROUTE : VECTOR_REDIRECT);
	udp = packet->protocol == IPPROTO_UDP && packet->transport;
	if (is_answered_from(skb, iface, packet, ipv4, udp))
		check_answering_address(skb, iface, packet, ipv4);
	if (!ipv4 && (is_mapped(&packet->destination) || is_ping_of_group(skb, iface, packet)))
		add_violation(packet, VECTOR_IPV6_SOURCE);
	if (!udp)
		return 0;
	check_dhcp_answer(packet, ipv4);
	if (is_tunnel_port(packet->destination_port))
		check_tunnel_port(skb, iface, packet, ipv4);
	return 0;
}

/*
 * Whether it is ARP for a loopback address. All pods answer it where route_localnet is set, also for a type
 * of hardware that makes it malformed here.
 */
static __always_inline bool is_arp_for_loopback(struct __sk_buff *skb, const struct packet *packet)
{
	__u8 first;

	return load_bytes(skb, packet, packet->network + offsetof(struct arphdr, ar_tip), &first,
			  sizeof(first)) &&
	       first == LOOPBACK_NETWORK;
}

/*
 * Whether it is an NS for the anycast address of the routers of a subnet (RFC 4291, 2.6.1), which a kernel that
 * forwards IPv6 answers. The program does not know the subnet: its host part is at least 8 bits.
 */
static __always_inline bool is_ns_for_routers(struct __sk_buff *skb, const struct iface *iface,
					      struct packet *packet)
{
	if (packet->ether_type != bpf_htons(ETH_P_IPV6) ||
	    !is_icmpv6(packet, NDISC_NEIGHBOUR_SOLICITATION))
		return false;
	return load_bytes(skb, packet, packet->transport + 8, &packet->target,
			  sizeof(packet->target)) &&
	       packet->target.bytes[15] == 0 &&
	       !may_claim_ipv6(iface, skb->ifindex, &packet->target);
}

/* Start of an option of ND. */
struct prefix_option {
	__u8 type, length; /* length in units of 8 bytes */
	__u8 prefix_length, flags;
};

/*
 * Whether an RA offers a prefix in which the pod may not claim the address that its kernel makes of the prefix
 * and the MAC (RFC 4862). The kernel asks for that address by an NS, and sends from it.
 */
__noinline int offers_foreign_prefix(struct __sk_buff *skb, const struct iface *iface,
				     struct packet *packet)
{
	struct prefix_option option;
	union address address;
	__u32 at;

	if (!iface || !packet)
		return false;
	address.halves[1] = interface_id(iface);
	at = packet->transport + RA_BYTES;
	for (int i = 0; i < MAX_RA_OPTIONS && at < packet->end; i++) {
		if (!load_bytes(skb, packet, at, &option, sizeof(option)))
			return true;
		/* The receiver discards the message. */
		if (option.length == 0)
			return false;
		if (option.type == ND_OPT_PREFIX && option.flags & PREFIX_AUTONOMOUS &&
		    option.length >= PREFIX_UNITS &&
		    (!load_bytes(skb, packet, at + PREFIX_AT, &address, PREFIX_BYTES) ||
		     (!is_inline_ipv6(iface, &address) &&
		      !is_granted(iface, skb->ifindex, &address, false, ADDRESS_NEIGHBOUR))))
			return true;
		at = hide_bounds(packet, at + option.length * 8);
	}
	return at < packet->end;
}

/*
 * Whether tags hide what is in the frame. The kernel of the pod removes any number of tags without an id and
 * takes the packet behind them for its own; parse_tags() reads two.
 */
static __always_inline bool is_hidden_by_tags(const struct packet *packet)
{
	__u32 both = VECTOR_BIT(VECTOR_VLAN_TAG) | VECTOR_BIT(VECTOR_MALFORMED);

	return (packet->violations & both) == both;
}

/* Whether the answer to a parsed packet to the pod would be dropped. */
__noinline int is_provocation(struct __sk_buff *skb, const struct iface *iface,
			      struct packet *packet)
{
	__u32 of_packet, of_answer;

	if (!iface || !packet || is_without_identity(iface))
		return false;
	if (packet->ether_type == bpf_htons(ETH_P_ARP))
		return iface->modes[VECTOR_ARP_SENDER] == MODE_ENFORCE &&
		       is_arp_for_loopback(skb, packet);
	if (!packet->has_addresses)
		return is_hidden_by_tags(packet);
	if (iface->modes[VECTOR_ND_TARGET] == MODE_ENFORCE && is_ns_for_routers(skb, iface, packet))
		return true;
	if (packet->ether_type == bpf_htons(ETH_P_IPV6) &&
	    is_icmpv6(packet, NDISC_ROUTER_ADVERTISEMENT) &&
	    (iface->modes[VECTOR_ND_TARGET] == MODE_ENFORCE ||
	     iface->modes[VECTOR_IPV6_SOURCE] == MODE_ENFORCE) &&
	    offers_foreign_prefix(skb, iface, packet))
		return true;
	of_packet = packet->violations;
	packet->violations = 0;
	exchange_ends(packet);
	check_answer(skb, iface, packet, of_packet);
	exchange_ends(packet);
	of_answer = packet->violations;
	packet->violations = of_packet;
	for (__u32 vector = 0; vector < VECTOR_COUNT; vector++)
		if (of_answer & VECTOR_BIT(vector) && iface->modes[vector] == MODE_ENFORCE)
			return true;
	return false;
}

#endif
