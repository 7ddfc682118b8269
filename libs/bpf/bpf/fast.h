/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The short way for what almost every packet is: TCP, UDP or ICMP from the pod's own MAC and first address, with no
 * option, extension header or fragment, its headers in the linear part.
 *
 * Place in the path: first thing after the look-up in spoof_ingress. True: judge_frame() would find nothing broken. False
 * says nothing: the packet takes the whole way. So this may be too strict, never too lenient; the fuzz tests hold both
 * ways against one model.
 * Reads the packet directly, each time after a comparison with data_end.
 */
#ifndef BAILIFF_FAST_H
#define BAILIFF_FAST_H

#define IPV4_DONT_FRAGMENT	0x4000

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
	if (ports[0] == bpf_htons(ipv4 ? PORT_DHCP_SERVER : PORT_DHCPV6_SERVER) ||
	    ports[1] == bpf_htons(ipv4 ? PORT_DHCP_CLIENT : PORT_DHCPV6_CLIENT))
		return false;
	return !is_tunnel_port(ports[1]);
}

/* Echo and what else says nothing of routes and of other packets. */
static __always_inline bool is_plain_icmp(__u8 type)
{
	return type < ICMP_UNREACHABLE || type == 8 || type > ICMP_PARAMETER;
}

static __always_inline bool is_plain_ipv4(const struct iface *iface, const void *network, const void *data_end,
					  __u32 available)
{
	const struct ipv4 *header = network;
	const __u8 *transport = (const void *)(header + 1);
	__u32 bytes;

	if ((const void *)(transport + 8) > data_end || !(iface->flags & IFACE_HAS_IPV4))
		return false;
	if (header->version_ihl != 0x45 || header->fragment & ~bpf_htons(IPV4_DONT_FRAGMENT) ||
	    header->source != iface->ipv4)
		return false;
	bytes = bpf_ntohs(header->total_length);
	if (bytes < IPV4_MIN_BYTES + 8 || bytes > available)
		return false;
	bytes -= IPV4_MIN_BYTES;
	if (header->protocol == IPPROTO_TCP)
		return is_plain_tcp(transport, data_end, bytes);
	if (header->protocol == IPPROTO_UDP)
		return is_plain_udp((const __be16 *)transport, true);
	return header->protocol == IPPROTO_ICMP && is_plain_icmp(transport[0]);
}

static __always_inline bool is_plain_ipv6(const struct iface *iface, const void *network, const void *data_end,
					  __u32 available)
{
	const struct ipv6 *header = network;
	const __u8 *transport = (const void *)(header + 1);
	__u32 bytes;

	if ((const void *)(transport + 8) > data_end)
		return false;
	if ((header->version_flow & bpf_htonl(0xf0000000)) != bpf_htonl(0x60000000) ||
	    !is_inline_ipv6(iface, &header->source))
		return false;
	bytes = bpf_ntohs(header->payload_length);
	if (bytes < 8 || IPV6_BYTES + bytes > available)
		return false;
	if (header->next == IPPROTO_TCP)
		return is_plain_tcp(transport, data_end, bytes);
	if (header->next == IPPROTO_UDP)
		return is_plain_udp((const __be16 *)transport, false);
	return header->next == IPPROTO_ICMPV6 && transport[0] > ICMPV6_PARAMETER &&
	       (transport[0] < ND_ROUTER_SOLICIT || transport[0] > ND_REDIRECT);
}

static __always_inline bool is_plainly_own(struct __sk_buff *skb, const struct iface *iface)
{
	const void *data = (const void *)(long)skb->data, *data_end = (const void *)(long)skb->data_end;
	const struct ethernet *ethernet = data;

	if (iface->state == STATE_UNKNOWN || iface->quarantine_until_ns || !(iface->flags & IFACE_HAS_MAC))
		return false;
	if (skb->vlan_present || (const void *)(ethernet + 1) > data_end || !same_mac(ethernet->source, iface->mac))
		return false;
	if (ethernet->type == bpf_htons(ETHERTYPE_IPV4))
		return is_plain_ipv4(iface, ethernet + 1, data_end, skb->len - sizeof(*ethernet));
	if (ethernet->type == bpf_htons(ETHERTYPE_IPV6))
		return is_plain_ipv6(iface, ethernet + 1, data_end, skb->len - sizeof(*ethernet));
	return false;
}

#endif
