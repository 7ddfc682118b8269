/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The internet address of a call, as the kernel will use it.
 *
 * Place in the data path: net.h → here → decide_endpoint(). AF_UNSPEC means the socket's own family
 * where the protocol accepts it. On connect and send, 0.0.0.0 and :: mean the own host. IPv4 in
 * IPv6 counts as IPv4. Every stream except SCTP counts as TCP. A protocol without ports has port 0.
 * Limit: reads 24 bytes of an address that the kernel has copied already, so it cannot change.
 */
#ifndef BAILIFF_RUNTIME_ENDPOINT_H
#define BAILIFF_RUNTIME_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>

#include <linux/in.h>
#include <bpf/bpf_endian.h>

#include "kernel.h"
#include "layout.h"
#include "sample.h"

#define AF_UNSPEC 0
#define AF_UNIX	  1
#define AF_INET	  2
#define AF_INET6  10
#define AF_PACKET 17
#define AF_SMC	  43

#define SOCK_STREAM    1
#define SOCK_DGRAM     2
#define SOCK_RAW       3
#define SOCK_SEQPACKET 5
#define SOCK_TYPE_MASK 0xf /* without SOCK_NONBLOCK and SOCK_CLOEXEC */

#define SCTP_ADDRESSES 4 /* per call; a call with more is unresolved */

#ifndef IPPROTO_ICMPV6
#define IPPROTO_ICMPV6 58
#endif
#ifndef IPPROTO_L2TP
#define IPPROTO_L2TP 115
#endif

struct in6_addr {
	__be32 words[4];
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct sock_common {
	__be32 skc_rcv_saddr;
	__u16 skc_num;
	unsigned short skc_family;
	unsigned char skc_ipv6only : 1;
	struct in6_addr skc_v6_rcv_saddr;
};

struct sock {
	struct sock_common __sk_common;
	__u16 sk_type;
	__u16 sk_protocol;
};

typedef enum {
	SS_FREE,
	SS_UNCONNECTED,
	SS_CONNECTING,
	SS_CONNECTED,
} socket_state;

struct socket {
	socket_state state;
	struct sock *sk;
};

struct msghdr {
	void *msg_name;
	int msg_namelen;
	void *msg_control; /* the kernel's copy, when a hook runs */
	unsigned int msg_flags;
	unsigned long msg_controllen;
};

#pragma clang attribute pop

/* Start of sockaddr_in and sockaddr_in6, which have the port at the same offset. */
struct inet_name {
	__u16 family;
	__be16 port;
	union {
		__be32 ipv4;
		struct {
			__be32 flow;
			__u8 ipv6[16];
		};
	};
};

/* Everything that determines the address of a call. */
struct naming {
	struct inet_name inet;
	__u32 length; /* of `inet` */
	__u32 op;
	__u16 protocol;
	__u16 reserved;
	__be32 bound_ipv4;  /* 0: not bound */
	__u32 bound_mapped; /* an IPv6 socket bound to an IPv4 address */
};

static __always_inline void map_ipv4(struct endpoint *endpoint, __be32 ipv4)
{
	__be32 words[4] = { 0, 0, bpf_htonl(0xffff), ipv4 };

	__builtin_memcpy(endpoint->address, words, sizeof(words));
}

static __always_inline bool has_ports(const struct endpoint *endpoint)
{
	/* L2TP's address has bytes without a meaning where others have the port */
	return endpoint->type != SOCK_RAW && endpoint->protocol != IPPROTO_ICMP &&
	       endpoint->protocol != IPPROTO_ICMPV6 && endpoint->protocol != IPPROTO_L2TP;
}

/*
 * A destination of zeros is the own host: loopback, or with IPv4 the address that the socket is
 * bound to.
 */
static __always_inline void fill_any(struct endpoint *endpoint, const struct naming *naming)
{
	__u64 *halves = (__u64 *)endpoint->address;
	__be32 *words = (__be32 *)endpoint->address;

	if (halves[0])
		return;
	if (words[2] == bpf_htonl(0xffff) && !words[3])
		words[3] = naming->bound_ipv4 ? naming->bound_ipv4 : bpf_htonl(0x7f000001);
	else if (!halves[1] && naming->bound_mapped)
		map_ipv4(endpoint, bpf_htonl(0x7f000001));
	else if (!halves[1])
		words[3] = bpf_htonl(1);
}

/*
 * The family of a bind's address, by the protocol. raw_bind() of IPv4 reads no family. AF_UNSPEC with
 * 0.0.0.0 is IPv4, also to SMC. IPv6 rejects it, unless another thread makes the socket one of IPv4
 * before the kernel reads it (IPV6_ADDRFORM).
 */
static __always_inline __u16 bound_family(const struct endpoint *endpoint, __u16 named)
{
	if (endpoint->family == AF_INET && endpoint->type == SOCK_RAW)
		return AF_INET;
	if (named != AF_UNSPEC || endpoint->protocol == IPPROTO_SCTP)
		return named;
	return endpoint->family == AF_INET || endpoint->family == AF_INET6 ||
			       endpoint->family == AF_SMC
		       ? AF_INET
		       : AF_UNSPEC;
}

/*
 * The family of an address. On send, AF_UNSPEC is the socket's own. UDP over IPv6 ignores such an
 * address, unless another thread makes the socket one of IPv4 before the kernel reads it
 * (IPV6_ADDRFORM).
 */
static __always_inline __u16 family_of(const struct endpoint *endpoint, const struct naming *naming)
{
	__u16 named = naming->inet.family;

	if (naming->op == OP_BIND)
		return bound_family(endpoint, named);
	if (named != AF_UNSPEC || naming->op == OP_CONNECT)
		return named; /* connect with AF_UNSPEC dissolves the association */
	if (endpoint->type == SOCK_DGRAM &&
	    (endpoint->protocol == IPPROTO_UDP || endpoint->protocol == IPPROTO_UDPLITE))
		return AF_INET;
	return endpoint->family;
}

/*
 * Returns 0 if there is no internet address, or one that the kernel rejects. Global, so that the
 * verifier checks it once.
 */
__noinline int shape_endpoint(struct endpoint *endpoint, const struct naming *naming)
{
	__u16 family;

	if (!endpoint || !naming)
		return 0;
	endpoint->protocol = naming->protocol;
	if (endpoint->type == SOCK_STREAM && naming->protocol != IPPROTO_SCTP)
		endpoint->protocol = IPPROTO_TCP; /* TCP, or a layer above it: MPTCP, SMC */
	family = family_of(endpoint, naming);
	if (family == AF_INET &&
	    naming->length >= offsetof(struct inet_name, ipv4) + sizeof(naming->inet.ipv4))
		map_ipv4(endpoint, naming->inet.ipv4);
	else if (family == AF_INET6 && naming->length == sizeof(naming->inet))
		__builtin_memcpy(endpoint->address, naming->inet.ipv6, sizeof(endpoint->address));
	else
		return 0;
	endpoint->port = has_ports(endpoint) ? bpf_ntohs(naming->inet.port) : 0;
	if (naming->op == OP_CONNECT || naming->op == OP_SEND)
		fill_any(endpoint, naming);
	return 1;
}

static __always_inline void describe_socket(struct endpoint *endpoint, struct naming *naming,
					    struct sock *sk)
{
	endpoint->cookie = bpf_get_socket_cookie(sk);
	endpoint->family = sk->__sk_common.skc_family;
	endpoint->type = sk->sk_type;
	naming->protocol = sk->sk_protocol;
	naming->bound_ipv4 = sk->__sk_common.skc_rcv_saddr;
	naming->bound_mapped = sk->__sk_common.skc_v6_rcv_saddr.words[2] == bpf_htonl(0xffff);
}

static __noinline bool read_endpoint(struct endpoint *endpoint, enum op op, struct sock *sk,
				     const void *name, __u32 length)
{
	struct naming naming = { .op = op };

	if (length > sizeof(naming.inet))
		length = sizeof(naming.inet);
	naming.length = length;
	if (bpf_probe_read_kernel(&naming.inet, length, name))
		return false;
	describe_socket(endpoint, &naming, sk);
	return shape_endpoint(endpoint, &naming);
}

/*
 * Reads the address that a socket is bound to. SMC's is bound by a TCP socket of the kernel, which this
 * socket does not show: it counts as not bound, for both families.
 */
static __noinline bool read_bound(struct endpoint *endpoint, enum op op, struct sock *sk)
{
	struct naming naming = { .op = op, .length = sizeof(naming.inet) };

	naming.inet.family = sk->__sk_common.skc_family;
	naming.inet.port = bpf_htons(sk->__sk_common.skc_num); /* 0: not chosen yet */
	describe_socket(endpoint, &naming, sk);
	if (naming.inet.family == AF_SMC)
		naming.inet.family = endpoint->family = AF_INET6;
	else if (naming.inet.family == AF_INET)
		naming.inet.ipv4 = naming.bound_ipv4;
	else
		bpf_probe_read_kernel(naming.inet.ipv6, sizeof(naming.inet.ipv6),
				      &sk->__sk_common.skc_v6_rcv_saddr);
	return shape_endpoint(endpoint, &naming);
}

#endif
