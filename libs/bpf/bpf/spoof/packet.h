/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * struct packet, and the parsers of Ethernet, ARP and transport headers.
 *
 * Every header is copied, so linear, paged and GSO packets are read alike. The parsers know nothing
 * about the interface. Violations of the packet format go into `violations`;
 * checks.h adds those that depend on the interface.
 * Invariants: no byte at or after `end` or `readable` is read, and `end` never exceeds the skb. No byte
 * that the sender can still change is read: see own_headers().
 */
#ifndef BAILIFF_PACKET_H
#define BAILIFF_PACKET_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "events.h"

#define MAX_VLAN_TAGS		2  /* in the frame; a third tag may be in the metadata */
#define MAX_EXTENSIONS		8  /* RFC 8200 defines six, each used once */
#define MAX_DESTINATION_OPTIONS 16 /* Linux accepts 8, padding not counted */
#define MAX_ND_OPTIONS		8  /* an NS or NA has one or two */
#define MAX_IP_BYTES		65535
#define MAX_HEADER_BYTES	512 /* of a frame; longer headers are malformed */

#define VECTOR_BIT(vector) (1U << (vector))

union address {
	__u8 bytes[16];
	__be32 words[4];
	__u64 halves[2];
};

enum fragment { FRAGMENT_NONE, FRAGMENT_FIRST, FRAGMENT_LATER };

struct packet {
	__u32 ifindex;	 /* of the host side */
	__u32 end;	 /* end of the IP packet; before IP is parsed, of the frame */
	__u32 readable;	 /* bytes from the start of the frame that may be read */
	__u32 network;	 /* offset of the ARP or IP header */
	__u32 transport; /* offset of the transport header; 0: none */
	__u32 extension; /* offset of the last IPv6 extension header that was read; 0: there is none */
	__u32 violations;	   /* VECTOR_BIT()s */
	union address source;	   /* ARP: sender */
	union address destination; /* ARP: target */
	union address target;	   /* target of NS and NA */
	__be16 ether_type;
	__be16 source_port;
	__be16 destination_port;
	__u8 source_mac[6];
	__u8 arp_mac[6];
	__u8 has_addresses;
	__u8 protocol;
	__u8 fragment; /* enum fragment */
	__u8 hop_limit;
	__u8 hop_by_hop;
	__u8 routed; /* has an IPv6 routing header of any type */
	__u8 tcp_flags;
	__u8 tcp_bytes; /* length of the header with options */
	__u8 icmp_type;
	__u8 icmp_code;
	__u8 dropped_as; /* vector of a drop */
	__u32 cursor;	 /* of a loop; see hide_bounds() */
};

/*
 * Returns the number without the bounds that the verifier derived for it. The verifier of Linux 6.1
 * treats states that differ in any bound as different, so a number that a loop carries doubles the
 * states in each iteration. `packet` is an argument of a global function, and the verifier does not
 * track the contents of its memory.
 */
static __always_inline __u32 hide_bounds(struct packet *packet, __u32 number)
{
	volatile __u32 *place = &packet->cursor;

	*place = number;
	return *place;
}

struct vlan_hdr {
	__be16 h_vlan_TCI;
	__be16 h_vlan_encapsulated_proto;
};

struct arphdr {
	__be16 ar_hrd;
	__be16 ar_pro;
	__u8 ar_hln;
	__u8 ar_pln;
	__be16 ar_op;
	__u8 ar_sha[ETH_ALEN];
	__u8 ar_sip[4];
	__u8 ar_tha[ETH_ALEN];
	__u8 ar_tip[4];
};

#define ARPHRD_ETHER  1
#define ARPOP_REQUEST 1
#define ARPOP_REPLY   2

#define TCP_HEAD_BYTES 20
#define TCPHDR_SYN     0x02
#define TCPHDR_RST     0x04
#define TCPHDR_ACK     0x10

static __always_inline void add_violation(struct packet *packet, enum vector vector)
{
	packet->violations |= VECTOR_BIT(vector);
}

static __always_inline bool load_bytes(struct __sk_buff *skb, const struct packet *packet,
				       __u32 offset, void *to, __u32 size)
{
	return offset + size <= packet->end && offset + size <= packet->readable &&
	       bpf_skb_load_bytes(skb, offset, to, size) == 0;
}

/*
 * As load_bytes(), without the call of the helper, which took 17 to 20 ns. `size` is a constant. Loops use
 * load_bytes(): the verifier would follow each place in the frame separately.
 */
static __always_inline bool read_header(struct __sk_buff *skb, const struct packet *packet,
					__u32 offset, void *to, __u32 size)
{
	const void *from;

	if (offset + size > packet->end || offset + size > packet->readable ||
	    offset > MAX_HEADER_BYTES)
		return false;
	from = (const void *)(long)skb->data + offset;
	if (from + size > (const void *)(long)skb->data_end)
		return false;
	/* x86 and arm64 read words at any address, and their verifier permits it. */
	__builtin_memcpy(to, __builtin_assume_aligned(from, 4), size);
	return true;
}

/*
 * Copies 1 to `room` bytes; `size` is known only at run time. The barrier keeps the two comparisons
 * apart. Merged into one comparison of `size - 1`, they give the verifier of Linux 6.12 no bounds
 * of `size`, and it rejects a read that may have length 0.
 */
static __always_inline bool copy_bytes(struct __sk_buff *skb, __u32 offset, void *to, __u32 size,
				       __u32 room)
{
	if (size > room)
		return false;
	barrier_var(size);
	return (__s32)size > 0 && bpf_skb_load_bytes(skb, offset, to, size) == 0;
}

static __always_inline void mapped_address(union address *to, __be32 ipv4)
{
	to->halves[0] = 0;
	to->words[2] = bpf_htonl(0xffff);
	to->words[3] = ipv4;
}

static __always_inline bool same_address(const union address *a, const union address *b)
{
	return a->halves[0] == b->halves[0] && a->halves[1] == b->halves[1];
}

static __always_inline bool is_unspecified(const union address *a)
{
	return (a->halves[0] | a->halves[1]) == 0;
}

static __always_inline bool is_link_local(const union address *a)
{
	return (a->words[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

/* 224/4, 240/4, ff00::/8 */
static __always_inline bool is_group(const union address *address, bool ipv4)
{
	return ipv4 ? bpf_ntohl(address->words[3]) >= 0xe0000000 : address->bytes[0] == 0xff;
}

/* Whether the frame is to a group of MACs, so that a bridge sends it to all. */
static __always_inline bool is_to_group_mac(struct __sk_buff *skb)
{
	__u8 first;

	return bpf_skb_load_bytes(skb, 0, &first, sizeof(first)) == 0 && first & 1;
}

static __always_inline bool same_mac(const __u8 *a, const __u8 *b)
{
	const __u16 *left = (const __u16 *)a, *right = (const __u16 *)b;

	return left[0] == right[0] && left[1] == right[1] && left[2] == right[2];
}

static __always_inline bool is_tag(__be16 type)
{
	return type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD);
}

__noinline int parse_tags(struct __sk_buff *skb, struct packet *packet)
{
	struct vlan_hdr tag;

	if (!packet)
		return false;
	for (int i = 0; i < MAX_VLAN_TAGS; i++) {
		packet->violations |= VECTOR_BIT(VECTOR_VLAN_TAG);
		if (!load_bytes(skb, packet, packet->network, &tag, sizeof(tag)))
			return false;
		packet->network += sizeof(tag);
		packet->ether_type = tag.h_vlan_encapsulated_proto;
		if (!is_tag(tag.h_vlan_encapsulated_proto))
			return true;
	}
	return false;
}

/* Below, the field is a length, and the kernel uses a protocol id below it. */
static __always_inline bool is_ether_type(__be16 type)
{
	return bpf_ntohs(type) >= ETH_P_802_3_MIN;
}

/*
 * Whether the kernel handles the frame as the protocol that its header names. veth derives the
 * protocol from the header. netkit keeps the one that the sender's packet socket chose, and the
 * receiver handles the frame by that one.
 */
static __always_inline bool has_own_protocol(const struct __sk_buff *skb, __be16 type)
{
	return skb->protocol == type || !(is_ether_type(skb->protocol) || is_ether_type(type));
}

/* Returns false if the frame is malformed. */
static __always_inline bool parse_ethernet(struct __sk_buff *skb, struct packet *packet)
{
	struct ethhdr header __attribute__((aligned(2)));

	if (!read_header(skb, packet, 0, &header, sizeof(header)))
		return false;
	__builtin_memcpy(packet->source_mac, header.h_source, sizeof(header.h_source));
	packet->ether_type = header.h_proto;
	packet->network = sizeof(header);
	if (skb->vlan_present)
		packet->violations |= VECTOR_BIT(VECTOR_VLAN_TAG);
	if (!has_own_protocol(skb, header.h_proto))
		packet->violations |= VECTOR_BIT(VECTOR_MALFORMED);
	if (is_tag(header.h_proto))
		return parse_tags(skb, packet);
	return true;
}

__noinline int parse_arp(struct __sk_buff *skb, struct packet *packet)
{
	struct arphdr header;

	if (!packet || !read_header(skb, packet, packet->network, &header, sizeof(header)))
		return false;
	if (header.ar_hrd != bpf_htons(ARPHRD_ETHER) || header.ar_pro != bpf_htons(ETH_P_IP) ||
	    header.ar_hln != ETH_ALEN || header.ar_pln != 4)
		return false;
	if (header.ar_op != bpf_htons(ARPOP_REQUEST) && header.ar_op != bpf_htons(ARPOP_REPLY))
		return false;
	__builtin_memcpy(packet->arp_mac, header.ar_sha, sizeof(header.ar_sha));
	packet->protocol = bpf_ntohs(header.ar_op);
	mapped_address(&packet->source, *(__be32 *)header.ar_sip);
	mapped_address(&packet->destination, *(__be32 *)header.ar_tip);
	packet->has_addresses = 1;
	return true;
}

/* The part of a TCP header that is read. */
struct tcp_head {
	__be16 source;
	__be16 destination;
	__be32 sequence;
	__be32 acknowledged;
	__u8 data_offset; /* upper four bits, in units of 4 bytes */
	__u8 flags;
};

static __always_inline bool parse_tcp(struct __sk_buff *skb, struct packet *packet)
{
	struct tcp_head header;
	__u32 bytes;

	if (!read_header(skb, packet, packet->transport, &header, sizeof(header)))
		return false;
	bytes = (header.data_offset >> 4) * 4;
	if (bytes < TCP_HEAD_BYTES || packet->transport + bytes > packet->end)
		return false;
	packet->source_port = header.source;
	packet->destination_port = header.destination;
	packet->tcp_flags = header.flags;
	packet->tcp_bytes = bytes;
	return true;
}

static __always_inline bool parse_ports(struct __sk_buff *skb, struct packet *packet)
{
	__be16 head[4];

	if (!read_header(skb, packet, packet->transport, head, sizeof(head)))
		return false;
	packet->source_port = head[0];
	packet->destination_port = head[1];
	return true;
}

static __always_inline bool parse_icmp(struct __sk_buff *skb, struct packet *packet)
{
	__u8 head[8];

	if (!read_header(skb, packet, packet->transport, head, sizeof(head)))
		return false;
	packet->icmp_type = head[0];
	packet->icmp_code = head[1];
	return true;
}

static __always_inline bool parse_protocol(struct __sk_buff *skb, struct packet *packet)
{
	switch (packet->protocol) {
	case IPPROTO_TCP:
		return parse_tcp(skb, packet);
	case IPPROTO_UDP:
		return parse_ports(skb, packet);
	case IPPROTO_ICMP:
	case IPPROTO_IGMP:
	case IPPROTO_ICMPV6:
		return parse_icmp(skb, packet);
	case IPPROTO_UDPLITE:
		return packet->transport + 8 <= packet->end;
	case IPPROTO_SCTP:
	case IPPROTO_DCCP:
		return packet->transport + 12 <= packet->end;
	default:
		return true;
	}
}

/*
 * Needs `transport` and `protocol`, and a packet that is not a later fragment. Returns false if the
 * header is malformed.
 */
static __always_inline bool parse_transport(struct __sk_buff *skb, struct packet *packet)
{
	if (parse_protocol(skb, packet))
		return true;
	packet->transport = 0;
	return false;
}

#endif
