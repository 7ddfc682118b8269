/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A frame taken apart: struct packet, the wire headers, and the Ethernet, ARP and transport parsing.
 *
 * Every header is copied out by bpf_skb_load_bytes, so where the bytes lie (linear, paged, GSO) makes no difference.
 * Parsing knows nothing of the interface: what it finds wrong by itself goes into `broken`, the rest is for judge.h.
 * Invariant: nothing at or beyond `end` is read; `end` never exceeds the skb.
 */
#ifndef BAILIFF_PACKET_H
#define BAILIFF_PACKET_H

#define MAX_VLAN_TAGS	2	/* in the frame; with the one in the metadata already more than any stack strips */
#define MAX_EXTENSIONS	8	/* RFC 8200 names six, each once */
#define MAX_DESTINATION_OPTIONS	16	/* Linux receives 8, padding aside */
#define MAX_ND_OPTIONS	8	/* an NS or NA carries one or two */
#define MAX_IP_BYTES	65535

/*
 * A global function: the verifier checks it once and by itself, instead of once for each path that leads to it, and
 * knows nothing of its arguments; hence the checks for NULL, which cannot be, and int where bool is meant.
 */
#define __separate __attribute__((noinline))

#define BROKEN(vector)	(1U << (vector))

union address {
	__u8 bytes[16];
	__be32 words[4];
	__u64 halves[2];
};

enum fragment { FRAGMENT_NONE, FRAGMENT_FIRST, FRAGMENT_LATER };

struct packet {
	__u32 end;		/* first byte after the IP packet; until IP is parsed, after the frame */
	__u32 network;		/* offset of the ARP or IP header */
	__u32 transport;	/* offset of the transport header; 0: there is none here */
	__u32 broken;		/* bit per vector */
	union address source;	/* ARP: sender */
	union address destination;	/* ARP: target */
	union address target;	/* of NS and NA */
	__be16 ether_type;
	__be16 source_port;
	__be16 destination_port;
	__u8 source_mac[6];
	__u8 arp_mac[6];
	__u8 has_addresses;
	__u8 protocol;
	__u8 fragment;		/* enum fragment */
	__u8 hop_limit;
	__u8 hop_by_hop;
	__u8 routed;		/* has an IPv6 routing header, of whatever type */
	__u8 tcp_flags;
	__u8 tcp_bytes;		/* of the header, options included */
	__u8 icmp_type;
	__u8 icmp_code;
	__u32 cursor;		/* of a loop, see forget() */
};

/*
 * A number without what the verifier knows of it. In Linux 6.1 it keeps apart all states that differ in any number, so that what a
 * loop carries from turn to turn doubles them with each. `packet` is the argument of a global function: what lies there is not tracked.
 */
static __always_inline __u32 forget(struct packet *packet, __u32 number)
{
	volatile __u32 *place = &packet->cursor;

	*place = number;
	return *place;
}

struct ethernet {
	__u8 destination[6];
	__u8 source[6];
	__be16 type;
};

struct vlan {
	__be16 tci;
	__be16 type;
};

struct arp {
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_length;
	__u8 protocol_length;
	__be16 operation;
	__u8 sender_mac[6];
	__u8 sender[4];
	__u8 target_mac[6];
	__u8 target[4];
};

#define ETHERTYPE_IPV4	0x0800
#define ETHERTYPE_ARP	0x0806
#define ETHERTYPE_VLAN	0x8100
#define ETHERTYPE_QINQ	0x88a8
#define ETHERTYPE_IPV6	0x86dd

#define ARP_REQUEST	1
#define ARP_REPLY	2

#define TCP_HEAD_BYTES	20
#define TCP_SYN		0x02
#define TCP_RST		0x04
#define TCP_ACK		0x10

static __always_inline bool load(struct __sk_buff *skb, const struct packet *packet, __u32 offset, void *to, __u32 size)
{
	return offset + size <= packet->end && bpf_skb_load_bytes(skb, offset, to, size) == 0;
}

/*
 * Copies 1 to `room` bytes, a number that is known only at run time. The barrier keeps the two comparisons apart: folded
 * into one of `size - 1`, they tell Linux 6.12 nothing of `size`, and it refuses a read that may be of no bytes.
 */
static __always_inline bool copy(struct __sk_buff *skb, __u32 offset, void *to, __u32 size, __u32 room)
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

static __always_inline bool same_mac(const __u8 *a, const __u8 *b)
{
	const __u16 *left = (const __u16 *)a, *right = (const __u16 *)b;

	return left[0] == right[0] && left[1] == right[1] && left[2] == right[2];
}

static __always_inline bool is_tag(__be16 type)
{
	return type == bpf_htons(ETHERTYPE_VLAN) || type == bpf_htons(ETHERTYPE_QINQ);
}

__separate int parse_tags(struct __sk_buff *skb, struct packet *packet)
{
	struct vlan tag;

	if (!packet)
		return false;
	for (int i = 0; i < MAX_VLAN_TAGS; i++) {
		packet->broken |= BROKEN(VECTOR_VLAN_TAG);
		if (!load(skb, packet, packet->network, &tag, sizeof(tag)))
			return false;
		packet->network += sizeof(tag);
		packet->ether_type = tag.type;
		if (!is_tag(tag.type))
			return true;
	}
	return false;
}

/* False: malformed. */
static __always_inline bool parse_ethernet(struct __sk_buff *skb, struct packet *packet)
{
	struct ethernet header;

	if (!load(skb, packet, 0, &header, sizeof(header)))
		return false;
	__builtin_memcpy(packet->source_mac, header.source, sizeof(header.source));
	packet->ether_type = header.type;
	packet->network = sizeof(header);
	if (skb->vlan_present)
		packet->broken |= BROKEN(VECTOR_VLAN_TAG);
	if (is_tag(header.type))
		return parse_tags(skb, packet);
	return true;
}

__separate int parse_arp(struct __sk_buff *skb, struct packet *packet)
{
	struct arp header;

	if (!packet || !load(skb, packet, packet->network, &header, sizeof(header)))
		return false;
	if (header.hardware != bpf_htons(1) || header.protocol != bpf_htons(ETHERTYPE_IPV4) ||
	    header.hardware_length != 6 || header.protocol_length != 4)
		return false;
	if (header.operation != bpf_htons(ARP_REQUEST) && header.operation != bpf_htons(ARP_REPLY))
		return false;
	__builtin_memcpy(packet->arp_mac, header.sender_mac, sizeof(header.sender_mac));
	packet->protocol = bpf_ntohs(header.operation);
	mapped_address(&packet->source, *(__be32 *)header.sender);
	mapped_address(&packet->destination, *(__be32 *)header.target);
	packet->has_addresses = 1;
	return true;
}

/* What a TCP header says of itself, as far as it is looked at. */
struct tcp_head {
	__be16 source;
	__be16 destination;
	__be32 sequence;
	__be32 acknowledged;
	__u8 data_offset;	/* upper four bits, in words */
	__u8 flags;
};

static __always_inline bool parse_tcp(struct __sk_buff *skb, struct packet *packet)
{
	struct tcp_head header;
	__u32 bytes;

	if (!load(skb, packet, packet->transport, &header, sizeof(header)))
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

	if (!load(skb, packet, packet->transport, head, sizeof(head)))
		return false;
	packet->source_port = head[0];
	packet->destination_port = head[1];
	return true;
}

static __always_inline bool parse_icmp(struct __sk_buff *skb, struct packet *packet)
{
	__u8 head[8];

	if (!load(skb, packet, packet->transport, head, sizeof(head)))
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

/* `transport` and `protocol` are set and this is not a later fragment. False: malformed. */
static __always_inline bool parse_transport(struct __sk_buff *skb, struct packet *packet)
{
	if (parse_protocol(skb, packet))
		return true;
	packet->transport = 0;
	return false;
}

#endif
