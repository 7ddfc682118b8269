/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Which addresses and MACs an interface may send from, and which it may claim in ARP and ND.
 *
 * The inline addresses and MAC of the record match almost every packet. The `addresses` trie is
 * read only if they do not match and the record has IFACE_HAS_MORE.
 */
#ifndef BAILIFF_OWNER_H
#define BAILIFF_OWNER_H

#include "maps.h"
#include "packet.h"

#define ADDRESS_KEY_BITS 64 /* ifindex and generation precede the address */

/* Addresses that are never a valid source or claim, even inside a granted prefix. */
static __always_inline bool is_never_granted(const union address *address, bool ipv4)
{
	__u32 first = bpf_ntohl(address->words[ipv4 ? 3 : 0]);

	if (ipv4)
		return first == 0 || first >> 24 == 127 || first >= 0xe0000000;
	if (first >> 24 == 0xff)
		return true;
	/* ::, ::1, and the mapped form of IPv4 addresses in the maps */
	return address->halves[0] == 0 &&
	       ((address->words[2] == 0 && bpf_ntohl(address->words[3]) <= 1) ||
		address->words[2] == bpf_htonl(0xffff));
}

/*
 * Value of a node address; NULL if the address is not a node's. The key is a copy because the
 * verifier of Linux 6.1 rejects a key in an argument of a global function.
 */
static __always_inline const __u32 *find_node_address(const union address *address)
{
	union address key = *address;

	return bpf_map_lookup_elem(&node_addresses, &key);
}

/* ADDRESS_* bits of the longest match if it has `kind`; 0: nothing is granted. */
static __always_inline __u32 find_grant(const struct iface *iface, __u32 ifindex,
					const union address *address, __u32 kind)
{
	struct address_key key = {
		.prefixlen = ADDRESS_KEY_BITS + 128,
		.ifindex = ifindex,
		.generation = iface->generation,
	};
	__u32 *flags;

	__builtin_memcpy(key.address, address->bytes, sizeof(key.address));
	flags = bpf_map_lookup_elem(&addresses, &key);
	return flags && *flags & kind ? *flags : 0;
}

/* Returns the ADDRESS_* bits of the longest match in the family; 0: nothing is granted. */
__noinline int granted_rights(const struct iface *iface, __u32 ifindex,
			      const union address *address, int ipv4)
{
	if (!iface || !address || is_never_granted(address, ipv4))
		return 0;
	return find_grant(iface, ifindex, address, ipv4 ? ADDRESS_IPV4 : ADDRESS_IPV6);
}

struct mac {
	__u8 bytes[6];
};

__noinline int is_granted_mac(const struct iface *iface, __u32 ifindex, const struct mac *mac)
{
	union address address;

	if (!iface || !mac)
		return 0;
	/* Two words: clang turns an initializer of 16 bytes into a map of constants. */
	address.halves[0] = bpf_cpu_to_be64(0xffULL << 56);
	address.halves[1] = 0;
	__builtin_memcpy(address.bytes + 10, mac->bytes, sizeof(mac->bytes));
	return find_grant(iface, ifindex, &address, ADDRESS_MAC);
}

/*
 * Whether the MAC is one of the pod's. Every MAC is if the record has none. A group address is never one, also if
 * the record has it: user space writes it where the MAC is another one's.
 */
static __always_inline bool may_use_mac(const struct iface *iface, __u32 ifindex, const __u8 *mac)
{
	if (!(iface->flags & IFACE_HAS_MAC))
		return true;
	if (mac[0] & 1)
		return false;
	if (same_mac(mac, iface->mac))
		return true;
	return iface->flags & IFACE_HAS_MORE &&
	       is_granted_mac(iface, ifindex, (const struct mac *)mac);
}

static __always_inline bool is_inline_ipv4(const struct iface *iface, const union address *address)
{
	return iface->flags & IFACE_HAS_IPV4 && address->words[3] == iface->ipv4;
}

static __always_inline bool is_inline_ipv6(const struct iface *iface, const union address *address)
{
	const __u64 *own = (const __u64 *)iface->ipv6;

	return iface->flags & IFACE_HAS_IPV6 && address->halves[0] == own[0] &&
	       address->halves[1] == own[1];
}

/* The EUI-64 of the MAC of the record, in network order; 0: it has none. */
static __always_inline __u64 interface_id(const struct iface *iface)
{
	const __u8 *mac = iface->mac;
	union {
		__u8 bytes[8];
		__u64 whole;
	} id = { .bytes = { mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5] } };

	return iface->flags & IFACE_HAS_MAC ? id.whole : 0;
}

/* fe80::/64 with the EUI-64 of a MAC of the pod (RFC 4291, appendix A). */
static __always_inline bool is_mac_link_local(const struct iface *iface, __u32 ifindex,
					      const union address *address)
{
	const __u8 *id = address->bytes + 8;
	struct mac mac __attribute__((aligned(2)));

	if (!(iface->flags & IFACE_HAS_MAC) ||
	    address->halves[0] != bpf_cpu_to_be64(0xfe80000000000000ULL) || id[3] != 0xff ||
	    id[4] != 0xfe)
		return false;
	mac = (struct mac){ { id[0] ^ 2, id[1], id[2], id[5], id[6], id[7] } };
	return may_use_mac(iface, ifindex, mac.bytes);
}

static __always_inline bool is_granted(const struct iface *iface, __u32 ifindex,
				       const union address *address, bool ipv4, __u32 right)
{
	return iface->flags & IFACE_HAS_MORE &&
	       granted_rights(iface, ifindex, address, ipv4) & right;
}

/*
 * Adds the vector unless an address that is not inline has the right. What another interface of the
 * pod has violates VECTOR_OTHER_INTERFACE instead: the pod answers from there by itself.
 */
static __always_inline void require_right(const struct iface *iface, __u32 ifindex,
					  struct packet *packet, const union address *address,
					  bool ipv4, __u32 right, __u32 vector)
{
	__u32 rights = 0;

	if (iface->flags & IFACE_HAS_MORE)
		rights = granted_rights(iface, ifindex, address, ipv4);
	if (!(rights & right))
		add_violation(packet, rights & ADDRESS_OTHER ? VECTOR_OTHER_INTERFACE : vector);
}

static __always_inline bool may_claim_ipv4(const struct iface *iface, __u32 ifindex,
					   const union address *address)
{
	return is_inline_ipv4(iface, address) ||
	       is_granted(iface, ifindex, address, true, ADDRESS_NEIGHBOUR);
}

static __always_inline bool may_claim_ipv6(const struct iface *iface, __u32 ifindex,
					   const union address *address)
{
	return is_inline_ipv6(iface, address) || is_mac_link_local(iface, ifindex, address) ||
	       is_granted(iface, ifindex, address, false, ADDRESS_NEIGHBOUR);
}

#endif
