/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Fast path for plain packets: TCP, UDP or ICMP from the pod's own MAC and first address, without
 * options, extension headers or fragments, with all headers in the linear part.
 *
 * Place in the data path: first step of spoof_ingress. A plain packet is compared with the
 * interface's entry in the fast-path cache (events.h), which an array index finds. The look-up of
 * the record in a hash map costs several times as much as the rest of the program.
 * A match means that the record lets the packet pass. Otherwise the packet takes the slow path. The
 * fast path may be too strict, never too lenient; the fuzz tests compare both paths with one model.
 * The is_plain_*() functions return checksum_place() of the transport header, or 0 if the packet is
 * not plain. Packet bytes are read directly, after a comparison with data_end. Each word of the
 * entry is read once, because user space may write it at any time.
 */
#ifndef BAILIFF_FASTPATH_H
#define BAILIFF_FASTPATH_H

#include <stddef.h>

#include "checks.h"
#include "maps.h"
#include "network.h"
#include "offload.h"

#define IP_DF	0x4000
#define NO_SLOT (~0U)

static __always_inline bool is_plain_tcp(const void *header, const void *data_end, __u32 bytes)
{
	const struct tcp_head *tcp = header;
	__u32 own;

	if ((const void *)(tcp + 1) > data_end)
		return false;
	own = (tcp->data_offset >> 4) * 4;
	return own >= 20 && own <= bytes;
}

static __always_inline bool is_plain_udp(const __be16 *ports, bool ipv4)
{
	__be16 server = bpf_htons(ipv4 ? PORT_DHCP_SERVER : PORT_DHCPV6_SERVER);

	if (ports[0] == server || ports[1] == server ||
	    ports[1] == bpf_htons(ipv4 ? PORT_DHCP_CLIENT : PORT_DHCPV6_CLIENT))
		return false;
	return !is_tunnel_port(ports[1]);
}

/* Echo request and reply. */
static __always_inline bool is_plain_icmp(__u8 type)
{
	return (type & ~8) == 0;
}

static __always_inline bool is_plain_icmpv6(__u8 type)
{
	return (type & ~1) == ICMPV6_ECHO_REQUEST;
}

#define FASTPATH_HAS   (1ULL << FASTPATH_HAS_SHIFT)
#define FASTPATH_TAG   (~0ULL << FASTPATH_TAG_SHIFT)
#define FASTPATH_BYTES (~FASTPATH_TAG)

/* Whether a word of the entry holds the bytes, under the tag that all words of one write share. */
static __always_inline bool has_word(const __u64 *word, __u64 bytes, __u64 tag)
{
	return *(const volatile __u64 *)word == (bytes | tag);
}

static __always_inline bool has_mac(const struct fastpath_entry *entry, const __u8 *mac, __u64 tag)
{
	return has_word(&entry->mac, *(const __u32 *)mac | (__u64) * (const __u16 *)(mac + 4) << 32,
			tag);
}

static __always_inline bool has_ipv6(const struct fastpath_entry *entry,
				     const union address *address, __u64 tag)
{
	__u64 low = address->halves[0], high = address->halves[1];

	return has_word(&entry->ipv6[0], low & FASTPATH_BYTES, tag) &&
	       has_word(&entry->ipv6[1], low >> 48 | (high & 0xffffffff) << 16, tag) &&
	       has_word(&entry->ipv6[2], high >> 32 | FASTPATH_HAS, tag);
}

static __always_inline __u32 is_plain_ipv4(const struct fastpath_entry *entry, __u64 tag,
					   const void *network, const void *data_end,
					   __u32 available)
{
	const struct iphdr *header = network;
	const __u8 *transport = (const void *)(header + 1);
	__u32 bytes;

	if ((const void *)(transport + 8) > data_end)
		return 0;
	if (*(const __u8 *)header != 0x45 || header->frag_off & ~bpf_htons(IP_DF) ||
	    !has_word(&entry->ipv4, header->saddr | FASTPATH_HAS, tag))
		return 0;
	bytes = bpf_ntohs(header->tot_len);
	if (bytes < IPV4_MIN_BYTES + 8 || bytes > available)
		return 0;
	bytes -= IPV4_MIN_BYTES;
	if (header->protocol == IPPROTO_TCP)
		return is_plain_tcp(transport, data_end, bytes) ? checksum_place(IPPROTO_TCP) : 0;
	if (header->protocol == IPPROTO_UDP)
		return is_plain_udp((const __be16 *)transport, true) ? checksum_place(IPPROTO_UDP)
								     : 0;
	if (header->protocol != IPPROTO_ICMP || !is_plain_icmp(transport[0]))
		return 0;
	return checksum_place(IPPROTO_ICMP);
}

static __always_inline __u32 is_plain_ipv6(const struct fastpath_entry *entry, __u64 tag,
					   const void *network, const void *data_end,
					   __u32 available)
{
	const struct ipv6hdr *header = network;
	const __u8 *transport = (const void *)(header + 1);
	__u32 bytes;

	if ((const void *)(transport + 8) > data_end)
		return 0;
	if ((first_word(header) & bpf_htonl(0xf0000000)) != bpf_htonl(0x60000000) ||
	    !has_ipv6(entry, (const union address *)&header->saddr, tag))
		return 0;
	bytes = bpf_ntohs(header->payload_len);
	if (bytes < 8 || IPV6_BYTES + bytes > available)
		return 0;
	if (header->nexthdr == IPPROTO_TCP)
		return is_plain_tcp(transport, data_end, bytes) ? checksum_place(IPPROTO_TCP) : 0;
	if (header->nexthdr == IPPROTO_UDP)
		return is_plain_udp((const __be16 *)transport, false) ? checksum_place(IPPROTO_UDP)
								      : 0;
	if (header->nexthdr != IPPROTO_ICMPV6 || !is_plain_icmpv6(transport[0]))
		return 0;
	return checksum_place(IPPROTO_ICMPV6);
}

/*
 * Whether the kernel writes nothing into the frame later but the checksum at `place` of the transport
 * header at `start`, if that is left to it, and the headers of its segments. Those of a tunnel take the
 * slow path.
 */
static __always_inline bool is_plain_offload(struct __sk_buff *skb, __s32 start, __u32 place)
{
	struct offload offload;

	if (!is_partial(skb))
		return !skb->gso_size || !is_encapsulated(skb);
	offload = read_offload(skb);
	return offload.start == start && offload.place == place && !is_encapsulated(skb);
}

/*
 * Returns the slot in `seen` if the packet is plain and the interface's cache entry matches it;
 * NO_SLOT otherwise.
 */
static __always_inline __u32 plain_slot(struct __sk_buff *skb, __u32 ifindex)
{
	const void *data = (const void *)(long)skb->data,
		   *data_end = (const void *)(long)skb->data_end;
	const struct ethhdr *ethernet = data;
	__u32 index = ifindex % FASTPATH_COUNT;
	const struct fastpath_entry *entry = bpf_map_lookup_elem(&cards, &index);
	__u32 start = sizeof(*ethernet), place = 0;
	__u64 interface, tag;
	__be16 type;

	if (!entry)
		return NO_SLOT;
	interface = *(const volatile __u64 *)&entry->interface;
	tag = interface & FASTPATH_TAG;
	/* The slow path clears tc_index, see keep_interface(). */
	if ((__u32)interface != ifindex || skb->vlan_present || skb->tc_index ||
	    (const void *)(ethernet + 1) > data_end || !has_mac(entry, ethernet->h_source, tag))
		return NO_SLOT;
	/* struct ethhdr is packed: the compiler would read its field byte by byte */
	type = *(const __be16 *)(data + offsetof(struct ethhdr, h_proto));
	if (type != skb->protocol)
		return NO_SLOT;
	if (type == bpf_htons(ETH_P_IP)) {
		place = is_plain_ipv4(entry, tag, ethernet + 1, data_end,
				      skb->len - sizeof(*ethernet));
		start += IPV4_MIN_BYTES;
	} else if (type == bpf_htons(ETH_P_IPV6)) {
		place = is_plain_ipv6(entry, tag, ethernet + 1, data_end,
				      skb->len - sizeof(*ethernet));
		start += IPV6_BYTES;
	}
	if (!place || !is_plain_offload(skb, start, place) || has_more_headers(skb))
		return NO_SLOT;
	return (interface & FASTPATH_BYTES) >> FASTPATH_SLOT_SHIFT;
}

#endif
