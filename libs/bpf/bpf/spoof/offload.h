/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Places in the frame where the kernel writes after the programs ran:
 * - a checksum that the sender left to the kernel (CHECKSUM_PARTIAL). The kernel sums up the frame from
 *   one offset and writes the sum at another. The sender chooses both (PACKET_VNET_HDR, AF_XDP).
 * - lengths and ids of the packet in a tunnel, in each segment of a large frame (GSO). The tunnel device
 *   chooses where that packet begins, and a tun device lets its program choose it (Linux 6.17).
 *
 * Place in the data path: after parsing, before quarantine.h; fastpath.h uses it too. rules.md
 * lists the allowed places.
 * Two objects are built from this file. WITHOUT_OFFLOAD omits the check, for kernels without BTF
 * and for kernels before 6.2 in lockdown mode confidentiality. The fuzz tests build a third one,
 * OFFLOAD_FROM_CB, because a test run cannot set these fields.
 */
#ifndef BAILIFF_OFFLOAD_H
#define BAILIFF_OFFLOAD_H

#include "dhcp.h"
#include "network.h"
#include "packet.h"
#include "skb.h"

#define UDP_HEAD_BYTES	 8
#define INNER_MIN_OFFSET 4 /* GRE, L2TP and MPLS have no shorter header */
#define NO_CHECKSUM	 0xffff

/* A checksum that is left to the kernel. */
struct offload {
	__s32 start; /* first byte of the frame that is summed up */
	__u32 place; /* of the sum, relative to start */
};

/*
 * Where the packet in a tunnel begins, relative to the frame: its Ethernet header, if it has one, and its
 * IP header.
 */
struct inner {
	__s32 mac, network;
};

#if defined(WITHOUT_OFFLOAD)

static __always_inline bool is_encapsulated(struct __sk_buff *skb)
{
	(void)skb;
	return false;
}

static __always_inline struct inner read_inner(struct __sk_buff *skb)
{
	(void)skb;
	return (struct inner){};
}

static __always_inline bool is_partial(struct __sk_buff *skb)
{
	(void)skb;
	return false;
}

static __always_inline struct offload read_offload(struct __sk_buff *skb)
{
	(void)skb;
	return (struct offload){};
}

#elif defined(OFFLOAD_FROM_CB)

static __always_inline bool is_encapsulated(struct __sk_buff *skb)
{
	return skb->cb[4];
}

static __always_inline struct inner read_inner(struct __sk_buff *skb)
{
	return (struct inner){ .mac = skb->cb[4], .network = skb->cb[4] };
}

static __always_inline bool is_partial(struct __sk_buff *skb)
{
	return skb->cb[0];
}

static __always_inline struct offload read_offload(struct __sk_buff *skb)
{
	return (struct offload){ .start = skb->cb[1], .place = skb->cb[2] };
}

#else

#define CHECKSUM_PARTIAL    3
#define SCTP_CHECKSUM_PLACE 8

static __always_inline bool is_encapsulated(struct __sk_buff *skb)
{
	const struct sk_buff *packet = kernel_skb(skb);

	return READ_BITFIELD(packet, encapsulation);
}

static __always_inline struct inner read_inner(struct __sk_buff *skb)
{
	const struct sk_buff *packet = kernel_skb(skb);
	__s32 headroom = (__u64)READ_FIELD(packet, data) - (__u64)READ_FIELD(packet, head);

	return (struct inner){
		.mac = READ_FIELD(packet, inner_mac_header) - headroom,
		.network = READ_FIELD(packet, inner_network_header) - headroom,
	};
}

static __always_inline bool is_partial(struct __sk_buff *skb)
{
	const struct sk_buff *packet = kernel_skb(skb);

	return READ_BITFIELD(packet, ip_summed) == CHECKSUM_PARTIAL;
}

/* The kernel ignores csum_offset if the sum is SCTP's CRC. */
static __always_inline struct offload read_offload(struct __sk_buff *skb)
{
	const struct sk_buff *packet = kernel_skb(skb);
	bool is_crc = bpf_core_field_exists(packet->csum_not_inet) &&
		      READ_BITFIELD(packet, csum_not_inet);
	__s32 headroom = (__u64)READ_FIELD(packet, data) - (__u64)READ_FIELD(packet, head);

	return (struct offload){
		.start = READ_FIELD(packet, csum_start) - headroom,
		.place = is_crc ? SCTP_CHECKSUM_PLACE : READ_FIELD(packet, csum_offset),
	};
}

#endif

/* Offset of the checksum in the transport header of a protocol. */
static __always_inline __u32 checksum_place(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return 2;
	case IPPROTO_GRE:
		return 4;
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_DCCP:
		return 6;
	case IPPROTO_SCTP:
		return 8;
	case IPPROTO_TCP:
		return 16;
	}
	return NO_CHECKSUM;
}

/*
 * First offset, relative to the outer transport header, where an encapsulated packet may begin; 0:
 * nothing is encapsulated.
 */
static __always_inline __u32 inner_offset(const struct packet *packet)
{
	if (is_tunnel_protocol(packet->protocol))
		return INNER_MIN_OFFSET;
	/* Any port may be a tunnel port. A DHCP message is checked by its payload. */
	return packet->protocol == IPPROTO_UDP && !has_no_source(packet) &&
			       !is_to_dhcp_server(packet)
		       ? UDP_HEAD_BYTES
		       : 0;
}

static __always_inline bool may_be_filled_in(const struct packet *packet,
					     const struct offload *offload)
{
	__s32 from_transport = offload->start - packet->transport;
	__u32 inner;

	/* Nothing after the type of such a frame is checked. */
	if (packet->violations & VECTOR_BIT(VECTOR_ETHERTYPE))
		return offload->start >= (__s32)packet->network;
	if (!packet->transport || from_transport < 0)
		return false;
	if (from_transport == 0)
		return offload->place == checksum_place(packet->protocol);
	inner = inner_offset(packet);
	return inner && from_transport >= (__s32)inner;
}

/*
 * Whether the encapsulated packet begins behind all that was checked. The kernel writes nothing before
 * its begin. It cuts a packet in UDP without an Ethernet header at `mac`, others at `network`; GRO and
 * segment routing leave no `mac` of a packet in IP.
 */
static __always_inline bool is_inside(const struct packet *packet, const struct inner *inner)
{
	__s32 transport = packet->transport;

	/* Nothing after the type of such a frame is checked. */
	if (packet->violations & VECTOR_BIT(VECTOR_ETHERTYPE))
		return true;
	if (!transport)
		return false;
	if (is_tunnel_protocol(packet->protocol))
		return inner->network >= transport;
	return inner->mac >= transport + UDP_HEAD_BYTES && inner->network >= inner->mac;
}

/* Checks a parsed frame of either direction. */
__noinline int check_offload(struct __sk_buff *skb, struct packet *packet)
{
	struct offload offload;
	struct inner inner;

	if (!packet)
		return 0;
	if (is_encapsulated(skb) && (skb->gso_size || is_partial(skb))) {
		inner = read_inner(skb);
		if (!is_inside(packet, &inner))
			packet->violations |= VECTOR_BIT(VECTOR_MALFORMED);
	}
	if (!is_partial(skb))
		return 0;
	offload = read_offload(skb);
	if (!may_be_filled_in(packet, &offload))
		packet->violations |= VECTOR_BIT(VECTOR_CHECKSUM_OFFLOAD);
	return 0;
}

#endif
