/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Checks a frame from a pod against the pod's record, as rules.md specifies. The checks only set
 * bits in packet->violations.
 *
 * Place in the data path: parse_frame() → here → apply_modes() in report.h.
 */
#ifndef BAILIFF_CHECKS_H
#define BAILIFF_CHECKS_H

#include "dhcp.h"
#include "icmp-error.h"
#include "maps.h"
#include "network.h"
#include "owner.h"
#include "packet.h"
#include "routers.h"
#include "tunnels.h"

#define ICMP_DEST_UNREACH	      3
#define ICMP_SOURCE_QUENCH	      4
#define ICMP_REDIRECT		      5
#define ICMP_ROUTER_ADVERT	      9
#define ICMP_TIME_EXCEEDED	      11
#define ICMP_PARAMETERPROB	      12
#define NDISC_ROUTER_SOLICITATION     133
#define NDISC_ROUTER_ADVERTISEMENT    134
#define NDISC_NEIGHBOUR_SOLICITATION  135
#define NDISC_NEIGHBOUR_ADVERTISEMENT 136
#define NDISC_REDIRECT		      137
#define NDISC_INVERSE_SOLICITATION    141
#define NDISC_INVERSE_ADVERTISEMENT   142

#define ND_OPT_SOURCE_LL_ADDR 1
#define ND_OPT_TARGET_LL_ADDR 2

static __always_inline bool is_icmpv6(const struct packet *packet, __u8 type)
{
	return packet->protocol == IPPROTO_ICMPV6 && packet->transport && packet->icmp_type == type;
}

/* RFC 3376, 4.2.13: an interface without an IPv4 address sends reports from 0.0.0.0. */
static __always_inline bool is_igmp_report(const struct packet *packet)
{
	return packet->protocol == IPPROTO_IGMP && packet->transport &&
	       is_host_igmp(packet->icmp_type) && packet->hop_limit == 1 &&
	       packet->destination.bytes[12] >> 4 == 14;
}

static __always_inline void check_ipv4_source(struct __sk_buff *skb, const struct iface *iface,
					      struct packet *packet)
{
	if (is_inline_ipv4(iface, &packet->source))
		return;
	if (packet->source.words[3] == 0 && is_igmp_report(packet))
		return;
	if (packet->source.words[3] == 0)
		add_violation(packet, is_dhcp_request(skb, iface, packet) ? VECTOR_DHCP_CLIENT
									  : VECTOR_IPV4_SOURCE);
	else
		require_right(iface, skb->ifindex, packet, &packet->source, true, ADDRESS_SOURCE,
			      VECTOR_IPV4_SOURCE);
}

/* RFC 3590: a host without an address sends reports from ::, among them the one that DAD needs. */
static __always_inline bool is_mld_report(const struct packet *packet)
{
	return (is_icmpv6(packet, ICMPV6_MGM_REPORT) || is_icmpv6(packet, ICMPV6_MGM_REDUCTION) ||
		is_icmpv6(packet, ICMPV6_MLD2_REPORT)) &&
	       packet->hop_limit == 1 && packet->hop_by_hop && packet->destination.bytes[0] == 0xff;
}

/* Checks a packet from ::. */
__noinline int check_unspecified(struct __sk_buff *skb, const struct iface *iface,
				 struct packet *packet)
{
	if (!iface || !packet || is_icmpv6(packet, NDISC_NEIGHBOUR_SOLICITATION) ||
	    is_icmpv6(packet, NDISC_ROUTER_SOLICITATION) || is_mld_report(packet))
		return 0;
	add_violation(packet, is_dhcpv6_request(skb, iface, packet) ? VECTOR_DHCP_CLIENT
								    : VECTOR_IPV6_SOURCE);
	return 0;
}

static __always_inline void check_ipv6_source(struct __sk_buff *skb, const struct iface *iface,
					      struct packet *packet)
{
	if (is_inline_ipv6(iface, &packet->source))
		return;
	if (is_unspecified(&packet->source)) {
		check_unspecified(skb, iface, packet);
		return;
	}
	if (is_link_local(&packet->source)) {
		if (!may_claim_ipv6(iface, skb->ifindex, &packet->source))
			add_violation(packet, VECTOR_LINK_LOCAL);
	} else {
		require_right(iface, skb->ifindex, packet, &packet->source, false, ADDRESS_SOURCE,
			      VECTOR_IPV6_SOURCE);
	}
}

static __always_inline void check_arp(struct __sk_buff *skb, const struct iface *iface,
				      struct packet *packet)
{
	bool probe = packet->source.words[3] == 0 && packet->protocol == ARPOP_REQUEST;
	/* A host that probes the same address gives it up. */
	const union address *claim = probe ? &packet->destination : &packet->source;

	if (!may_use_mac(iface, skb->ifindex, packet->arp_mac))
		add_violation(packet, VECTOR_ARP_SENDER);
	if (!is_inline_ipv4(iface, claim))
		require_right(iface, skb->ifindex, packet, claim, true, ADDRESS_NEIGHBOUR,
			      VECTOR_ARP_SENDER);
}

struct nd_option {
	__u8 type;
	__u8 length; /* in units of 8 bytes */
	__u8 mac[6];
};

enum options { OPTIONS_GOOD, OPTIONS_FORGED, OPTIONS_MALFORMED };

__noinline int check_nd_options(struct __sk_buff *skb, const struct iface *iface,
				const struct packet *packet, __u32 at)
{
	bool unspecified, forged = false;
	struct nd_option option;

	if (!iface || !packet)
		return OPTIONS_MALFORMED;
	unspecified = is_unspecified(&packet->source);
	for (int i = 0; i < MAX_ND_OPTIONS && at < packet->end; i++) {
		if (!load_bytes(skb, packet, at, &option, sizeof(option)) || option.length == 0)
			return OPTIONS_MALFORMED;
		at += option.length * 8;
		if (option.type != ND_OPT_SOURCE_LL_ADDR && option.type != ND_OPT_TARGET_LL_ADDR)
			continue;
		/* A longer option is one of another kind of link. */
		if (unspecified || option.length != 1 ||
		    !may_use_mac(iface, skb->ifindex, option.mac))
			forged = true;
	}
	if (at != packet->end)
		return OPTIONS_MALFORMED;
	return forged ? OPTIONS_FORGED : OPTIONS_GOOD;
}

/* ff02::1:ff00:0/104 with the last 24 bits of the target (RFC 4291, 2.7.1). */
static __always_inline bool is_solicited_node(const union address *group,
					      const union address *target)
{
	return group->words[0] == bpf_htonl(0xff020000) && group->words[1] == 0 &&
	       group->words[2] == bpf_htonl(1) &&
	       group->words[3] == (target->words[3] | bpf_htonl(0xff000000));
}

/*
 * Whether the pod may not claim the address. A link-local address counts only if it has the EUI-64
 * form of another MAC. Any other may be a stable one that no record has (RFC 7217);
 * VECTOR_LINK_LOCAL covers it and may be in mode audit.
 */
static __always_inline bool is_foreign_claim(const struct iface *iface, __u32 ifindex,
					     const union address *address)
{
	bool by_mac = address->bytes[11] == 0xff && address->bytes[12] == 0xfe;

	if (may_claim_ipv6(iface, ifindex, address))
		return false;
	return !is_link_local(address) || (by_mac && iface->flags & IFACE_HAS_MAC);
}

/* Checks an NS, NA or RS. Returns false if it is malformed. */
__noinline int check_neighbour(struct __sk_buff *skb, const struct iface *iface,
			       struct packet *packet)
{
	bool claims;
	__u32 body;
	int options;

	if (!iface || !packet || packet->fragment != FRAGMENT_NONE || packet->hop_limit != 255 ||
	    packet->icmp_code != 0)
		return false;
	claims = packet->icmp_type == NDISC_NEIGHBOUR_ADVERTISEMENT;
	body = packet->transport + 8;
	if (packet->icmp_type != NDISC_ROUTER_SOLICITATION) {
		if (!load_bytes(skb, packet, body, &packet->target, sizeof(packet->target)) ||
		    packet->target.bytes[0] == 0xff)
			return false;
		body += sizeof(packet->target);
	}
	options = check_nd_options(skb, iface, packet, body);
	if (options == OPTIONS_MALFORMED)
		return false;
	if (options == OPTIONS_FORGED)
		add_violation(packet, VECTOR_ND_TARGET);
	/*
	 * A receiver of an NS or RS takes its source for a neighbour at the MAC of the option. That
	 * is a claim, as in ARP.
	 */
	if (packet->icmp_type != NDISC_NEIGHBOUR_ADVERTISEMENT &&
	    !is_unspecified(&packet->source) &&
	    is_foreign_claim(iface, skb->ifindex, &packet->source))
		add_violation(packet, VECTOR_ND_TARGET);
	if (packet->icmp_type == NDISC_NEIGHBOUR_SOLICITATION && is_unspecified(&packet->source)) {
		claims = true;
		if (!is_solicited_node(&packet->destination, &packet->target))
			add_violation(packet, VECTOR_ND_TARGET);
	}
	if (claims && !may_claim_ipv6(iface, skb->ifindex, &packet->target))
		add_violation(packet, packet->icmp_type == NDISC_NEIGHBOUR_SOLICITATION &&
						      !is_foreign_claim(iface, skb->ifindex,
									&packet->target)
					      ? VECTOR_LINK_LOCAL
					      : VECTOR_ND_TARGET);
	return true;
}

static __always_inline void check_icmp(struct __sk_buff *skb, const struct iface *iface,
				       struct packet *packet)
{
	switch (packet->icmp_type) {
	case ICMP_REDIRECT:
		add_violation(packet, VECTOR_REDIRECT);
		return;
	case ICMP_ROUTER_ADVERT:
		add_violation(packet, VECTOR_ROUTER_ADVERT);
		return;
	case ICMP_DEST_UNREACH:
	case ICMP_SOURCE_QUENCH:
	case ICMP_TIME_EXCEEDED:
	case ICMP_PARAMETERPROB:
		check_icmp_error(skb, iface, packet, true);
		return;
	}
}

static __always_inline void check_icmpv6(struct __sk_buff *skb, const struct iface *iface,
					 struct packet *packet)
{
	/* Linux gives errors of types that it does not know to the socket too. */
	if (packet->icmp_type < ICMPV6_ECHO_REQUEST) {
		check_icmp_error(skb, iface, packet, false);
		return;
	}
	switch (packet->icmp_type) {
	case NDISC_ROUTER_ADVERTISEMENT:
		add_violation(packet, VECTOR_ROUTER_ADVERT);
		break;
	case NDISC_REDIRECT:
		add_violation(packet, VECTOR_REDIRECT);
		break;
	case NDISC_ROUTER_SOLICITATION:
	case NDISC_NEIGHBOUR_SOLICITATION:
	case NDISC_NEIGHBOUR_ADVERTISEMENT:
		if (!check_neighbour(skb, iface, packet))
			add_violation(packet, VECTOR_MALFORMED);
		return;
	case NDISC_INVERSE_SOLICITATION:
	case NDISC_INVERSE_ADVERTISEMENT:
		add_violation(packet, VECTOR_ND_TARGET);
		return;
	default:
		if (is_router_icmpv6(packet->icmp_type))
			add_violation(packet, VECTOR_ROUTER_PROTOCOL);
		return;
	}
	if (packet->fragment != FRAGMENT_NONE)
		add_violation(packet, VECTOR_MALFORMED);
}

static __always_inline void check_udp(struct __sk_buff *skb, const struct iface *iface,
				      struct packet *packet, bool ipv4)
{
	__be16 server = ipv4 ? bpf_htons(PORT_DHCP_SERVER) : bpf_htons(PORT_DHCPV6_SERVER);
	__be16 client = ipv4 ? bpf_htons(PORT_DHCP_CLIENT) : bpf_htons(PORT_DHCPV6_CLIENT);

	if (packet->source_port == server || packet->destination_port == client)
		add_violation(packet, VECTOR_DHCP_SERVER);
	else if (packet->destination_port == server && !is_own_dhcp(skb, iface, packet, ipv4))
		add_violation(packet, VECTOR_DHCP_SERVER);
	if (is_tunnel_port(packet->destination_port))
		check_tunnel_port(skb, iface, packet, ipv4);
}

static __always_inline void check_protocol(struct __sk_buff *skb, const struct iface *iface,
					   struct packet *packet, bool ipv4)
{
	if (is_tunnel_protocol(packet->protocol)) {
		check_tunnel(iface, skb->ifindex, packet, ipv4);
		return;
	}
	if (is_router_protocol(packet->protocol)) {
		add_violation(packet, VECTOR_ROUTER_PROTOCOL);
		return;
	}
	switch (packet->protocol) {
	case IPPROTO_UDP:
		if (packet->transport)
			check_udp(skb, iface, packet, ipv4);
		return;
	case IPPROTO_IGMP:
		/* A bridge reads a type in every fragment, also where nothing is read here. */
		if (ipv4 && (packet->fragment == FRAGMENT_LATER ||
			     (packet->transport && !is_host_igmp(packet->icmp_type))))
			add_violation(packet, VECTOR_ROUTER_PROTOCOL);
		return;
	case IPPROTO_VRRP:
		if (!is_own_vrrp(skb, iface, packet, ipv4))
			add_violation(packet, VECTOR_ROUTER_PROTOCOL);
		return;
	case IPPROTO_ICMP:
		if (ipv4 && packet->transport)
			check_icmp(skb, iface, packet);
		return;
	case IPPROTO_ICMPV6:
		if (!ipv4 && packet->transport)
			check_icmpv6(skb, iface, packet);
		return;
	}
}

__noinline int check_frame(struct __sk_buff *skb, const struct iface *iface, struct packet *packet)
{
	if (!iface || !packet)
		return 0;
	if (packet->network && !may_use_mac(iface, skb->ifindex, packet->source_mac))
		add_violation(packet, VECTOR_SOURCE_MAC);
	if (!packet->has_addresses)
		return 0;
	switch (packet->ether_type) {
	case bpf_htons(ETH_P_IP):
		check_ipv4_source(skb, iface, packet);
		check_protocol(skb, iface, packet, true);
		break;
	case bpf_htons(ETH_P_IPV6):
		check_ipv6_source(skb, iface, packet);
		check_protocol(skb, iface, packet, false);
		break;
	case bpf_htons(ETH_P_ARP):
		check_arp(skb, iface, packet);
		break;
	}
	return 0;
}

#endif
