/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Tunnels: where an encapsulated packet can end. A node or another pod that decapsulates it accepts
 * the inner packet, which no program checks.
 *
 * Place in the data path: called by checks.h and fastpath.h. A packet to an address that may be
 * inside the cluster violates `tunnel`. The destination is not compared with a list of nodes alone,
 * because no list has every address of a node.
 */
#ifndef BAILIFF_TUNNELS_H
#define BAILIFF_TUNNELS_H

#include "maps.h"
#include "owner.h"
#include "packet.h"

/*
 * Whether a packet to the address never leaves the cluster, whatever the maps say: this network,
 * loopback, link-local, multicast, broadcast and the reserved ranges.
 */
static __always_inline bool is_never_outside(const union address *address, bool ipv4)
{
	__u32 first = bpf_ntohl(address->words[ipv4 ? 3 : 0]);

	if (ipv4)
		return first >> 24 == 0 || first >> 24 == 127 || first >> 16 == 0xa9fe ||
		       first >= 0xe0000000;
	/* fe80::/9 is link-local and the former site-local space */
	return first >> 24 == 0xff || first >> 23 == 0xfe80 >> 7 || address->halves[0] == 0;
}

/* 64:ff9b::/96, whose last 32 bits are the IPv4 address that a NAT64 translates it to */
static __always_inline bool is_nat64(const union address *address)
{
	return address->words[0] == bpf_htonl(0x0064ff9b) && address->words[1] == 0 &&
	       address->words[2] == 0;
}

/* Where the packet can end. */
static __always_inline enum network find_network(const struct packet *packet, bool ipv4)
{
	struct cidr_key key = { .prefixlen = 128 };
	union address to = packet->destination;
	const __u32 *place;

	if (!ipv4 && is_nat64(&to)) {
		mapped_address(&to, to.words[3]);
		ipv4 = true;
	}
	if (find_node_address(&to))
		return NETWORK_NODE;
	if (is_never_outside(&to, ipv4))
		return NETWORK_INSIDE;
	__builtin_memcpy(key.address, &to, sizeof(key.address));
	place = bpf_map_lookup_elem(&networks, &key);
	return place ? *place : NETWORK_OUTSIDE;
}

static __always_inline bool is_tunnel_granted(const struct iface *iface, __u32 ifindex,
					      const struct packet *packet, enum network place,
					      bool ipv4)
{
	return place != NETWORK_NODE &&
	       is_granted(iface, ifindex, &packet->destination, ipv4, ADDRESS_TUNNEL);
}

static __always_inline void add_tunnel(struct packet *packet, enum network place)
{
	add_violation(packet, place == NETWORK_OUTSIDE ? VECTOR_TUNNEL_OTHER : VECTOR_TUNNEL);
}

/* Checks a protocol that carries packets or frames. */
static __always_inline void check_tunnel(const struct iface *iface, __u32 ifindex,
					 struct packet *packet, bool ipv4)
{
	enum network place = find_network(packet, ipv4);

	if (!is_tunnel_granted(iface, ifindex, packet, place, ipv4))
		add_tunnel(packet, place);
}

static __always_inline bool is_tunnel_port(__be16 port)
{
	__u32 index = bpf_ntohs(port) / 64;
	struct tunnel_ports *ports = bpf_map_lookup_elem(&tunnel_ports, &index);

	return ports && (ports->vxlan | ports->geneve) >> (bpf_ntohs(port) % 64) & 1;
}

/*
 * SERVICE_* of a destination of UDP; 0: none. The key is built here because the verifier of Linux
 * 6.1 rejects one in an argument of a global function.
 */
static __always_inline __u32 find_service(const union address *address, __be16 port)
{
	struct service_key key = { .port = port };
	const __u32 *flags;

	if (address)
		__builtin_memcpy(key.address, address->bytes, sizeof(key.address));
	flags = bpf_map_lookup_elem(&tunnel_services, &key);
	return flags ? *flags : 0;
}

/* Checks UDP to a port of `tunnel_ports`. Nodes translate the addresses of Services after this program. */
__noinline int check_tunnel_port(struct __sk_buff *skb, const struct iface *iface,
				 struct packet *packet, int ipv4)
{
	enum network place;
	__u32 of_port;

	if (!iface || !packet)
		return 0;
	place = find_network(packet, ipv4);
	if (is_tunnel_granted(iface, skb->ifindex, packet, place, ipv4))
		return 0;
	of_port = find_service(NULL, packet->destination_port);
	if (find_service(&packet->destination, packet->destination_port) ||
	    (of_port & SERVICE_NODE_PORT && place == NETWORK_NODE))
		add_violation(packet, VECTOR_TUNNEL);
	else if (!(of_port & SERVICE_ONLY))
		add_tunnel(packet, place);
	return 0;
}

#endif
