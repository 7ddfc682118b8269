/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Parsers of IPv4 and IPv6 headers, options, extension headers and fragments.
 *
 * Place in the data path: after parse_ethernet(), before checks.h. Sets end, addresses, protocol,
 * fragment and transport of the packet.
 * Limits: 40 bytes of IPv4 options, MAX_EXTENSIONS extension headers, MAX_DESTINATION_OPTIONS
 * options in one of them.
 */
#ifndef BAILIFF_NETWORK_H
#define BAILIFF_NETWORK_H

#include <linux/ip.h>
#include <linux/ipv6.h>

#include "joined.h"
#include "linear-part.h"
#include "packet.h"

/* Version, traffic class and flow label of an IPv6 header, in one load. */
static __always_inline __be32 first_word(const struct ipv6hdr *header)
{
	return *(const __be32 *)header;
}

/* The first eight bytes of any extension header. */
struct extension {
	__u8 next;
	__u8 length; /* reserved in a fragment header */
	union {
		__be16 fragment;
		struct {
			__u8 routing_type;
			__u8 segments_left;
		};
	};
	__be32 rest;
};

#define IPPROTO_ETHERIP	     97
#define IPV4_MIN_BYTES	     20
#define IPV4_OPTION_BYTES    40
#define IP_MF		     0x2000
#define IP_OFFSET	     0x1fff
#define IPV6_BYTES	     40
#define IP6_OFFSET	     0xfff8
#define EXTENSION_HEAD_BYTES 2
#define ROUTING_SEGMENTS     4 /* segment routing, RFC 8754 */

/*
 * The loop visits every byte and evaluates only those where an option begins. All indexes are
 * constants for the verifier, and every packet with options costs the same. Returns false if the
 * options are malformed.
 */
__noinline int parse_ipv4_options(struct __sk_buff *skb, struct packet *packet, __u32 length)
{
	__u8 options[IPV4_OPTION_BYTES] = {};
	__u32 next = 0;

	if (!packet || packet->network + IPV4_MIN_BYTES + length > packet->readable ||
	    !copy_bytes(skb, packet->network + IPV4_MIN_BYTES, options, length, sizeof(options)))
		return false;
	for (__u32 i = 0; i < sizeof(options); i++) {
		if (i >= length || options[i] == IPOPT_END) {
			if (i >= length || i == next)
				break;
			continue;
		}
		if (i != next)
			continue;
		if (options[i] == IPOPT_NOOP) {
			next = hide_bounds(packet, next + 1);
			continue;
		}
		if (i + 1 >= length || options[i + 1] < 2 || i + options[i + 1] > length)
			return false;
		if (options[i] == IPOPT_LSRR || options[i] == IPOPT_SSRR)
			packet->violations |= VECTOR_BIT(VECTOR_SOURCE_ROUTE);
		next = hide_bounds(packet, i + options[i + 1]);
	}
	return true;
}

/* Skips an authentication header, as in IPv6. Returns false if it is malformed, or another one follows. */
static __always_inline bool skip_authentication(struct __sk_buff *skb, struct packet *packet)
{
	struct extension header;

	if (!load_bytes(skb, packet, packet->transport, &header, sizeof(header)))
		return false;
	packet->protocol = header.next;
	packet->transport += (header.length + 2) * 4;
	return packet->transport <= packet->end && header.next != IPPROTO_AH;
}

/* Returns false if the header is malformed; nothing after it may be read then. */
static __always_inline bool parse_ipv4(struct __sk_buff *skb, struct packet *packet)
{
	__u32 available = packet->end - packet->network, header_bytes, total, fragment, offset;
	struct iphdr header;

	if (!read_header(skb, packet, packet->network, &header, sizeof(header)))
		return false;
	header_bytes = header.ihl * 4;
	if (header.version != 4 || header_bytes < IPV4_MIN_BYTES)
		return false;
	total = bpf_ntohs(header.tot_len);
	if (total == 0 && skb->gso_size)
		total = available;
	if (total < header_bytes || total > available)
		return false;
	packet->end = packet->network + total;
	mapped_address(&packet->source, header.saddr);
	mapped_address(&packet->destination, header.daddr);
	packet->has_addresses = 1;
	packet->protocol = header.protocol;
	packet->hop_limit = header.ttl;
	packet->transport = packet->network + header_bytes;

	if (header_bytes > IPV4_MIN_BYTES &&
	    !parse_ipv4_options(skb, packet, header_bytes - IPV4_MIN_BYTES))
		packet->violations |= VECTOR_BIT(VECTOR_MALFORMED);

	fragment = bpf_ntohs(header.frag_off);
	offset = (fragment & IP_OFFSET) * 8;
	if (offset) {
		packet->fragment = FRAGMENT_LATER;
		packet->transport = 0;
		return offset + total - header_bytes <= MAX_IP_BYTES;
	}
	if (fragment & IP_MF)
		packet->fragment = FRAGMENT_FIRST;
	if (packet->protocol == IPPROTO_AH && !skip_authentication(skb, packet)) {
		packet->transport = 0;
		return false;
	}
	return parse_transport(skb, packet);
}

/*
 * Reads destination options up to `end`. A receiver that supports Home Address takes the address in
 * that option for the source of the packet. Returns false if the options are malformed.
 */
__noinline int parse_destination_options(struct __sk_buff *skb, struct packet *packet, __u32 at,
					 __u32 end)
{
	struct {
		__u8 type, length;
	} option;

	if (!packet)
		return false;
	for (int i = 0; i < MAX_DESTINATION_OPTIONS && at < end; i++) {
		if (!load_bytes(skb, packet, at, &option.type, sizeof(option.type)))
			return false;
		if (option.type == IPV6_TLV_PAD1) {
			at = hide_bounds(packet, at + 1);
			continue;
		}
		if (!load_bytes(skb, packet, at, &option, sizeof(option)) ||
		    at + sizeof(option) + option.length > end)
			return false;
		if (option.type == IPV6_TLV_HAO)
			packet->violations |= VECTOR_BIT(VECTOR_SOURCE_ROUTE);
		at = hide_bounds(packet, at + sizeof(option) + option.length);
	}
	return at == end;
}

/*
 * Whether a packet that has passed all segments is at the last one. Linux takes that one for its
 * destination where it reads an error about it.
 */
static __always_inline bool is_at_last_segment(struct __sk_buff *skb, const struct packet *packet,
					       __u32 at)
{
	union address last;

	return load_bytes(skb, packet, at, &last, sizeof(last)) &&
	       same_address(&last, &packet->destination);
}

/*
 * Reads one extension header and returns its length in bytes; 0: malformed. After a later fragment
 * the caller stops, because the following bytes are from the middle of a packet.
 */
static __always_inline __u32 parse_extension(struct __sk_buff *skb, struct packet *packet, __u32 at,
					     bool first)
{
	struct extension header;
	__u32 offset, bytes;

	if (!load_bytes(skb, packet, at, &header, sizeof(header)))
		return 0;
	bytes = (header.length + 1) * 8;
	switch (packet->protocol) {
	case IPPROTO_HOPOPTS:
		if (!first)
			return 0;
		packet->hop_by_hop = 1;
		break;
	case IPPROTO_ROUTING:
		packet->routed = 1;
		if (header.routing_type == 0 || header.segments_left ||
		    (header.routing_type == ROUTING_SEGMENTS &&
		     !is_at_last_segment(skb, packet, at + sizeof(header))))
			packet->violations |= VECTOR_BIT(VECTOR_SOURCE_ROUTE);
		break;
	case IPPROTO_AH:
		bytes = (header.length + 2) * 4;
		break;
	case IPPROTO_FRAGMENT:
		bytes = sizeof(header);
		if (packet->fragment != FRAGMENT_NONE)
			return 0;
		offset = bpf_ntohs(header.fragment) & IP6_OFFSET;
		packet->fragment = offset ? FRAGMENT_LATER : FRAGMENT_FIRST;
		if (offset && offset + packet->end - at - bytes > MAX_IP_BYTES)
			return 0;
		break;
	}
	if (at + bytes > packet->end)
		return 0;
	if (packet->protocol == IPPROTO_DSTOPTS &&
	    !parse_destination_options(skb, packet, at + EXTENSION_HEAD_BYTES, at + bytes))
		return 0;
	packet->protocol = header.next;
	return bytes;
}

/* Protocols that carry whole packets or frames. No field of their own headers is checked. */
static __always_inline bool is_tunnel_protocol(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_IPIP:
	case IPPROTO_IPV6:
	case IPPROTO_GRE:
	case IPPROTO_ETHERIP:
	case IPPROTO_L2TP:
	case IPPROTO_MPLS:
	case IPPROTO_ETHERNET:
		return true;
	}
	return false;
}

/* Whether the source of an IP packet is 0.0.0.0 or ::. */
static __always_inline bool has_no_source(const struct packet *packet)
{
	return packet->ether_type == bpf_htons(ETH_P_IP) ? packet->source.words[3] == 0
							 : is_unspecified(&packet->source);
}

static __always_inline bool is_extension(__u8 protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING ||
	       protocol == IPPROTO_FRAGMENT || protocol == IPPROTO_AH ||
	       protocol == IPPROTO_DSTOPTS;
}

__noinline int parse_extensions(struct __sk_buff *skb, struct packet *packet)
{
	__u32 at;

	if (!packet)
		return false;
	at = packet->network + IPV6_BYTES;
	for (int i = 0; i < MAX_EXTENSIONS; i++) {
		__u32 bytes = parse_extension(skb, packet, at, i == 0);

		packet->extension = at;
		if (!bytes)
			return false;
		at = hide_bounds(packet, at + bytes);
		if (packet->fragment == FRAGMENT_LATER) {
			packet->transport = 0;
			return true;
		}
		if (!is_extension(packet->protocol)) {
			packet->transport = at;
			return true;
		}
	}
	return false;
}

/* Returns false if the header is malformed; nothing after it may be read then. */
static __always_inline bool parse_ipv6(struct __sk_buff *skb, struct packet *packet)
{
	__u32 available = packet->end - packet->network, payload;
	struct ipv6hdr header __attribute__((aligned(8)));

	if (!read_header(skb, packet, packet->network, &header, sizeof(header)))
		return false;
	if (bpf_ntohl(first_word(&header)) >> 28 != 6)
		return false;
	payload = bpf_ntohs(header.payload_len);
	if (payload == 0 && skb->gso_size)
		payload = available - IPV6_BYTES;
	if (IPV6_BYTES + payload > available)
		return false;
	packet->end = packet->network + IPV6_BYTES + payload;
	__builtin_memcpy(&packet->source, &header.saddr, sizeof(packet->source));
	__builtin_memcpy(&packet->destination, &header.daddr, sizeof(packet->destination));
	packet->has_addresses = 1;
	packet->protocol = header.nexthdr;
	packet->hop_limit = header.hop_limit;
	packet->transport = packet->network + IPV6_BYTES;
	if (is_extension(header.nexthdr) && !parse_extensions(skb, packet)) {
		packet->transport = 0;
		return false;
	}
	return packet->fragment == FRAGMENT_LATER || parse_transport(skb, packet);
}

/*
 * Parses the first headers of the frame and adds violations of its format. Fields that were read before a violation are
 * valid: has_addresses covers the network header, transport the header after it.
 */
__noinline int parse_frame(struct __sk_buff *skb, struct packet *packet)
{
	bool well_formed;

	if (!packet)
		return 0;
	if (!own_headers(skb, packet) || !parse_ethernet(skb, packet)) {
		packet->violations |= VECTOR_BIT(VECTOR_MALFORMED);
		return 0;
	}
	switch (packet->ether_type) {
	case bpf_htons(ETH_P_IP):
		well_formed = parse_ipv4(skb, packet);
		break;
	case bpf_htons(ETH_P_IPV6):
		well_formed = parse_ipv6(skb, packet);
		break;
	case bpf_htons(ETH_P_ARP):
		well_formed = parse_arp(skb, packet);
		break;
	default:
		packet->violations |= VECTOR_BIT(VECTOR_ETHERTYPE);
		return 0;
	}
	if (!well_formed)
		packet->violations |= VECTOR_BIT(VECTOR_MALFORMED);
	return 0;
}

/* As parse_frame(), of a frame from a pod, of which all headers have to be checked. */
static __always_inline void parse_from_pod(struct __sk_buff *skb, struct packet *packet)
{
	if (has_more_headers(skb))
		packet->violations |= VECTOR_BIT(VECTOR_MALFORMED);
	else
		parse_frame(skb, packet);
}

/*
 * As parse_frame(), of a frame to a pod. The node's devices join packets of one flow, so each of them
 * would be answered as the first one.
 */
static __always_inline void parse_to_pod(struct __sk_buff *skb, struct packet *packet)
{
	parse_frame(skb, packet);
	if (has_more_headers(skb))
		packet->violations |= VECTOR_BIT(VECTOR_MALFORMED);
}

#endif
