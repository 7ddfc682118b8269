/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * DHCP messages of a client. A server finds a lease by the addresses in the message, whatever the
 * source of the packet is, so they must be the pod's.
 *
 * Place in the data path: called by checks.h and fastpath.h. Options are not read: a client
 * identifier and a DUID are free text, and the threat model says so.
 */
#ifndef BAILIFF_DHCP_H
#define BAILIFF_DHCP_H

#include "owner.h"
#include "packet.h"

#define PORT_DHCP_SERVER   67
#define PORT_DHCP_CLIENT   68
#define PORT_DHCPV6_CLIENT 546
#define PORT_DHCPV6_SERVER 547
#define DHCP_MIN_BYTES	   240 /* fixed part and magic cookie */
#define DHCP_MAGIC	   0x63825363

static __always_inline bool is_udp(const struct packet *packet, __u16 source, __u16 destination)
{
	return packet->protocol == IPPROTO_UDP && packet->transport &&
	       packet->source_port == bpf_htons(source) &&
	       packet->destination_port == bpf_htons(destination);
}

/* To a server of either family. */
static __always_inline bool is_to_dhcp_server(const struct packet *packet)
{
	return packet->destination_port == bpf_htons(PORT_DHCP_SERVER) ||
	       packet->destination_port == bpf_htons(PORT_DHCPV6_SERVER);
}

struct bootp {
	__u8 operation;
	__u8 hardware;
	__u8 hardware_length;
	__u8 hops;
	__be32 transaction;
	__be32 flags;
	__be32 client; /* address that the client has */
	__be32 offered;
	__be32 next_server;
	__be32 relay;
	__u8 mac[6];
};

static __always_inline bool is_own_bootp(struct __sk_buff *skb, const struct iface *iface,
					 const struct packet *packet)
{
	union address client;
	struct bootp head;

	if (!load_bytes(skb, packet, packet->transport + 8, &head, sizeof(head)))
		return false;
	if (head.operation != 1 || head.hardware != 1 || head.hardware_length != 6 || head.relay)
		return false;
	mapped_address(&client, head.client);
	if (head.client && !is_inline_ipv4(iface, &client) &&
	    !is_granted(iface, skb->ifindex, &client, true, ADDRESS_SOURCE))
		return false;
	return may_use_mac(iface, skb->ifindex, head.mac);
}

static __always_inline bool is_client_dhcpv6(struct __sk_buff *skb, const struct packet *packet)
{
	__u8 head[4];

	if (!load_bytes(skb, packet, packet->transport + 8, head, sizeof(head)))
		return false;
	switch (head[0]) {
	case 1:
	case 3:
	case 4:
	case 5:
	case 6:
	case 8:
	case 9:
	case 11:
		return true;
	}
	return false;
}

/* Whether UDP to a server's port is a message of this client: not of another one, and not of a relay. */
__noinline int is_own_dhcp(struct __sk_buff *skb, const struct iface *iface,
			   const struct packet *packet, int ipv4)
{
	/* Of a GSO packet, only the first segment could be checked here. */
	if (!iface || !packet || packet->fragment != FRAGMENT_NONE || skb->gso_size)
		return false;
	return ipv4 ? is_own_bootp(skb, iface, packet) : is_client_dhcpv6(skb, packet);
}

/* A request of a client that has no address yet. */
static __always_inline bool is_dhcp_request(struct __sk_buff *skb, const struct iface *iface,
					    const struct packet *packet)
{
	__be32 magic;

	if (!is_udp(packet, PORT_DHCP_CLIENT, PORT_DHCP_SERVER) ||
	    packet->destination.words[3] != 0xffffffff)
		return false;
	if (!load_bytes(skb, packet, packet->transport + 8 + DHCP_MIN_BYTES - sizeof(magic), &magic,
			sizeof(magic)))
		return false;
	return magic == bpf_htonl(DHCP_MAGIC) && is_own_dhcp(skb, iface, packet, true);
}

static __always_inline bool is_dhcpv6_request(struct __sk_buff *skb, const struct iface *iface,
					      const struct packet *packet)
{
	const __be32 *to = packet->destination.words;

	if (!is_udp(packet, PORT_DHCPV6_CLIENT, PORT_DHCPV6_SERVER))
		return false;
	/* ff02::1:2 and ff05::1:3 */
	if (to[1] || to[2] ||
	    !((to[0] == bpf_htonl(0xff020000) && to[3] == bpf_htonl(0x00010002)) ||
	      (to[0] == bpf_htonl(0xff050000) && to[3] == bpf_htonl(0x00010003))))
		return false;
	return is_own_dhcp(skb, iface, packet, false);
}

#endif
