/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * ICMP errors, and the packet that they quote. A host gives an error to the socket that the quoted
 * packet names, whatever the source of the error is.
 *
 * Place in the data path: called by checks.h.
 */
#ifndef BAILIFF_ICMP_ERROR_H
#define BAILIFF_ICMP_ERROR_H

#include <linux/icmpv6.h>

#include "network.h"
#include "owner.h"
#include "packet.h"

/* Whether the quote ends before `at`, and does not go on in another fragment of the error. */
static __always_inline bool ends_before(const struct packet *packet, __u32 at)
{
	return packet->fragment == FRAGMENT_NONE && at > packet->end;
}

/*
 * Loads the destination of the IPv6 packet that an error quotes. Linux takes the last segment of its
 * routing header for it (RFC 8754), if it has one. Returns false if the quote is malformed. One that
 * ends early is not: its receiver reads no more of it than is there.
 */
__noinline int load_quoted_destination(struct __sk_buff *skb, struct packet *packet, __u32 quote,
				       union address *to)
{
	struct extension header;
	__u8 next;
	__u32 at;

	if (!packet || !to || !load_bytes(skb, packet, quote + 6, &next, sizeof(next)) ||
	    !load_bytes(skb, packet, quote + 24, to, sizeof(*to)))
		return false;
	at = quote + IPV6_BYTES;
	/* Once more than there are headers, for the protocol behind the last one. */
	for (int i = 0; i <= MAX_EXTENSIONS; i++) {
		__u32 bytes;

		if (!is_extension(next))
			return true;
		if (!load_bytes(skb, packet, at, &header, sizeof(header)))
			return ends_before(packet, at + sizeof(header));
		if (next == IPPROTO_ROUTING && header.routing_type == ROUTING_SEGMENTS &&
		    !load_bytes(skb, packet, at + sizeof(header), to, sizeof(*to)))
			return ends_before(packet, at + sizeof(header) + sizeof(*to));
		if (next == IPPROTO_ROUTING ||
		    (next == IPPROTO_FRAGMENT && header.fragment & bpf_htons(IP6_OFFSET)))
			return true;
		bytes = (header.length + 1) * 8;
		if (next == IPPROTO_AH)
			bytes = (header.length + 2) * 4;
		if (next == IPPROTO_FRAGMENT)
			bytes = sizeof(header);
		next = header.next;
		at = hide_bounds(packet, at + bytes);
	}
	return false;
}

/*
 * An option that a host does not know, and whose type asks it to say so even about a packet to a group
 * (RFC 8200, 4.2). So every host on the link answers one packet to all of them.
 */
static __always_inline bool is_answer_to_group(const struct packet *packet, const union address *to)
{
	return packet->icmp_type == ICMPV6_PARAMPROB && packet->icmp_code == ICMPV6_UNK_OPTION &&
	       to->bytes[0] == 0xff;
}

/*
 * Checks an ICMP error. Hosts accept it from any source, so it must quote a packet that was sent to
 * the pod. An error about another flow could close that flow or reduce its path MTU. `ipv4` holds
 * for the error and the packet that it quotes.
 */
__noinline int check_icmp_error(struct __sk_buff *skb, const struct iface *iface,
				struct packet *packet, int ipv4)
{
	__u32 quote;
	union address to;
	__be32 to_ipv4;
	bool own;

	if (!iface || !packet)
		return 0;
	quote = packet->transport + 8;
	if (ipv4) {
		if (!load_bytes(skb, packet, quote + 16, &to_ipv4, sizeof(to_ipv4)))
			goto malformed;
		mapped_address(&to, to_ipv4);
		own = is_inline_ipv4(iface, &to);
	} else {
		if (!load_quoted_destination(skb, packet, quote, &to))
			goto malformed;
		own = is_inline_ipv6(iface, &to) || is_mac_link_local(iface, skb->ifindex, &to) ||
		      is_answer_to_group(packet, &to);
	}
	if (!own)
		require_right(iface, skb->ifindex, packet, &to, ipv4,
			      ADDRESS_SOURCE | ADDRESS_NEIGHBOUR, VECTOR_REDIRECT);
	return 0;
malformed:
	add_violation(packet, VECTOR_MALFORMED);
	return 0;
}

#endif
