/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Sockets: making them, where they connect, send, bind and listen, and unix peers by path or abstract name.
 *
 * Place in the path: syscalls and io_uring alike → LSM hooks here → decide.h. An address is judged as the kernel will use it,
 * not as it was written: AF_UNSPEC where the protocol takes it for its own family, 0.0.0.0 and :: as the own host, IPv4 in
 * IPv6 as IPv4, MPTCP and SMC as TCP. A unix peer is judged by what it is bound to, so no name that led there matters.
 * Bounds: one address a call (SCTP: SCTP_ADDRESSES); a hook without policy costs one look-up. What slips by: docs/runtime-hooks.md.
 */
#ifndef BAILIFF_RUNTIME_NET_H
#define BAILIFF_RUNTIME_NET_H

#include <linux/in.h>

#define AF_UNSPEC		0
#define AF_UNIX			1
#define AF_INET			2
#define AF_INET6		10
#define AF_PACKET		17
#define AF_SMC			43

#define SOCK_STREAM		1
#define SOCK_DGRAM		2
#define SOCK_RAW		3
#define SOCK_SEQPACKET		5
#define SOCK_DCCP		6
#define SOCK_TYPE_MASK		0xf	/* without SOCK_NONBLOCK and SOCK_CLOEXEC */

#define MSG_FASTOPEN		0x20000000
#define PROTOCOL_MPTCP		262

#define SCTP_SOCKOPT_BINDX_ADD	100
#define SCTP_SOCKOPT_CONNECTX_OLD 107
#define SCTP_SOCKOPT_CONNECTX	110
#define SCTP_SENDMSG_CONNECT	126
#define SCTP_ADDRESSES		4	/* of one sctp_connectx or sctp_bindx; more are refused where addresses are judged */

#ifndef IPPROTO_ICMPV6
#define IPPROTO_ICMPV6		58
#endif
#define SOCKADDR_IN_BYTES	16
#define SOCKADDR_IN6_BYTES	28

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

struct socket {
	struct sock *sk;
};

struct msghdr {
	void *msg_name;
	int msg_namelen;
	unsigned int msg_flags;
};

struct sockaddr_un {
	unsigned short sun_family;
};

struct unix_address {
	int len;
	struct sockaddr_un name[0];
};

struct unix_sock {
	struct unix_address *addr;
	struct path path;
};

#pragma clang attribute pop

/* ---- making ---- */

/* As rules have it: of a packet socket the protocol is an EtherType, given in network order. */
static __always_inline __u16 rule_protocol(__u16 family, int protocol)
{
	return family == AF_PACKET ? bpf_ntohs((__u16)protocol) : protocol;
}

static __always_inline __u64 socket_value(__u16 family, __u16 type, __u16 protocol)
{
	return (__u64)family << 32 | (__u32)type << 16 | protocol;
}

SEC("lsm/socket_create")
int BPF_PROG(handle_socket_create, int family, int type, int protocol, int kern)
{
	__u16 kind = type & SOCK_TYPE_MASK;
	struct who who;

	if (kern || !identify(&who, OP_SOCKET))
		return 0;
	if (decide_value(&who, OP_SOCKET, socket_value(family, kind, rule_protocol(family, protocol))))
		return -EPERM;
	return 0;
}

static __noinline void note_maker(const struct task_state *state, __u64 cookie, __u64 value)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct socket_maker maker = {
		.boottime_ns = bpf_ktime_get_boot_ns(), .pod = state->pod, .container_cgroup_id = state->cgroup_id,
		.tgid = task->tgid, .uid = BPF_CORE_READ(task, cred, uid.val),
		.family = value >> 32, .type = value >> 16, .protocol = value,
	};

	bpf_get_current_comm(maker.comm, sizeof(maker.comm));
	bpf_map_update_elem(&rt_sockets, &cookie, &maker, BPF_ANY);
}

/* In two steps, because the record and the walk do not fit the stack together: its program is missing for a moment. */
static __noinline void remember_maker(__u64 cookie, __u64 value)
{
	const struct task_state *state = state_of_current();
	struct socket_maker *maker;
	struct scratch *scratch;

	if (!state)
		return;
	note_maker(state, cookie, value);
	maker = bpf_map_lookup_elem(&rt_sockets, &cookie);
	if (!maker)
		return;
	scratch = claim();
	if (!scratch)
		return;
	maker->program_length = executable_text(scratch, bpf_get_current_task_btf(), maker->program) & ~TEXT_CUT;
	release(scratch);
}

/* Whoever makes a socket that can forge is remembered by its cookie, which the frames it sends show at tcx. */
SEC("lsm/socket_post_create")
int BPF_PROG(handle_socket_post_create, struct socket *socket, int family, int type, int protocol, int kern)
{
	__u16 kind = type & SOCK_TYPE_MASK;
	struct sock *sk;

	if (kern || (kind != SOCK_RAW && family != AF_PACKET))
		return 0;
	sk = socket->sk;
	if (!sk)
		return 0;
	remember_maker(bpf_get_socket_cookie(sk), socket_value(family, kind, rule_protocol(family, protocol)));
	return 0;
}

/* ---- addresses ---- */

/* The start of sockaddr_in and sockaddr_in6: both have the port at the same place. */
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

/* All that says which address a call is about. */
struct naming {
	struct inet_name inet;
	__u32 length;		/* of `inet` */
	__u32 op;
	__u16 protocol;
	__u16 reserved;
	__be32 bound_ipv4;	/* 0: to none */
	__u32 bound_mapped;	/* an IPv6 socket that is bound to an IPv4 address */
};

static __always_inline void map_ipv4(struct endpoint *endpoint, __be32 ipv4)
{
	__be32 words[4] = { 0, 0, bpf_htonl(0xffff), ipv4 };

	__builtin_memcpy(endpoint->address, words, sizeof(words));
}

static __always_inline bool has_ports(const struct endpoint *endpoint)
{
	return endpoint->type != SOCK_RAW && endpoint->protocol != IPPROTO_ICMP && endpoint->protocol != IPPROTO_ICMPV6;
}

/* A destination of all zeroes is the own host: loopback, or with IPv4 the address the socket is bound to. */
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

/* Where the kernel takes a name of no family for one of the socket's own: on sending, raw sockets and UDP over IPv4. */
static __always_inline __u16 implied_family(const struct endpoint *endpoint, __u32 op)
{
	if (op == OP_CONNECT)
		return AF_UNSPEC;	/* dissolves the association */
	if (endpoint->family == AF_INET6 && endpoint->type != SOCK_RAW)
		return AF_UNSPEC;
	return endpoint->family;
}

/* 0: no internet address, or one that the kernel will refuse by itself. Not static, so that it is verified once. */
__noinline int shape_endpoint(struct endpoint *endpoint, const struct naming *naming)
{
	__u16 family;

	if (!endpoint || !naming)
		return 0;
	endpoint->protocol = naming->protocol;
	if (naming->protocol == PROTOCOL_MPTCP || endpoint->family == AF_SMC)
		endpoint->protocol = IPPROTO_TCP;
	family = naming->inet.family == AF_UNSPEC ? implied_family(endpoint, naming->op) : naming->inet.family;
	if (family == AF_INET && naming->length >= offsetof(struct inet_name, ipv4) + sizeof(naming->inet.ipv4))
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

static __always_inline void describe_socket(struct endpoint *endpoint, struct naming *naming, struct sock *sk)
{
	endpoint->cookie = bpf_get_socket_cookie(sk);
	endpoint->family = sk->__sk_common.skc_family;
	endpoint->type = sk->sk_type;
	naming->protocol = sk->sk_protocol;
	naming->bound_ipv4 = sk->__sk_common.skc_rcv_saddr;
	naming->bound_mapped = sk->__sk_common.skc_v6_rcv_saddr.words[2] == bpf_htonl(0xffff);
}

static __noinline bool read_endpoint(struct endpoint *endpoint, enum op op, struct sock *sk, const void *name, __u32 length)
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

/* The address that a socket is bound to. */
static __noinline bool read_bound(struct endpoint *endpoint, enum op op, struct sock *sk)
{
	struct naming naming = { .op = op, .length = sizeof(naming.inet) };

	naming.inet.family = sk->__sk_common.skc_family;
	naming.inet.port = bpf_htons(sk->__sk_common.skc_num);	/* 0: the kernel will choose one */
	describe_socket(endpoint, &naming, sk);
	if (naming.inet.family == AF_INET)
		naming.inet.ipv4 = naming.bound_ipv4;
	else
		bpf_probe_read_kernel(naming.inet.ipv6, sizeof(naming.inet.ipv6), &sk->__sk_common.skc_v6_rcv_saddr);
	return shape_endpoint(endpoint, &naming);
}

/* An IPv6 socket on :: takes IPv4 as well. */
static __always_inline bool is_dual(const struct endpoint *endpoint, const struct sock *sk)
{
	const __u64 *halves = (const __u64 *)endpoint->address;

	return endpoint->family == AF_INET6 && !halves[0] && !halves[1] && !sk->__sk_common.skc_ipv6only;
}

static __noinline int decide_local(struct who *who, enum op op, struct endpoint *endpoint, const struct sock *sk)
{
	if (decide_endpoint(who, op, endpoint))
		return 1;
	if (!is_dual(endpoint, sk))
		return 0;
	map_ipv4(endpoint, 0);
	return decide_endpoint(who, op, endpoint);
}

SEC("lsm/socket_connect")
int BPF_PROG(handle_socket_connect, struct socket *socket, struct sockaddr *address, int length)
{
	struct endpoint endpoint = {};
	struct sock *sk = socket->sk;
	struct who who;

	if (!sk || !identify(&who, OP_CONNECT))
		return 0;
	if (read_endpoint(&endpoint, OP_CONNECT, sk, address, length) && decide_endpoint(&who, OP_CONNECT, &endpoint))
		return -EPERM;
	return 0;
}

/*
 * Which operation a destination in sendmsg is. A stream looks at it only to connect with the first data; an SCTP
 * association comes into being by it, which sctp_bind_connect below judges as a connection.
 */
static __always_inline bool names_destination(const struct msghdr *message, __u16 type, enum op *op)
{
	*op = OP_SEND;
	if (!message->msg_name || !message->msg_namelen)
		return false;
	if (type != SOCK_STREAM)
		return true;
	*op = OP_CONNECT;
	return message->msg_flags & MSG_FASTOPEN;
}

SEC("lsm/socket_sendmsg")
int BPF_PROG(handle_socket_sendmsg, struct socket *socket, struct msghdr *message, int size)
{
	struct endpoint endpoint = {};
	struct sock *sk = socket->sk;
	struct who who;
	enum op op;

	if (!sk || !names_destination(message, sk->sk_type, &op) || !identify(&who, op))
		return 0;
	if (read_endpoint(&endpoint, op, sk, message->msg_name, message->msg_namelen) && decide_endpoint(&who, op, &endpoint))
		return -EPERM;
	return 0;
}

SEC("lsm/socket_listen")
int BPF_PROG(handle_socket_listen, struct socket *socket, int backlog)
{
	struct endpoint endpoint = {};
	struct sock *sk = socket->sk;
	struct who who;

	if (!sk || !identify(&who, OP_LISTEN))
		return 0;
	if (read_bound(&endpoint, OP_LISTEN, sk) && decide_local(&who, OP_LISTEN, &endpoint, sk))
		return -EPERM;
	return 0;
}

/* ---- unix ---- */

#define UNIX_NAME_OFFSET	2	/* of sun_path */
#define UNIX_NAME_BYTES		108

/* An abstract name: what follows the first zero, which is not part of it. */
static __noinline int decide_unix_name(struct who *who, enum op op, const void *name, __u32 length)
{
	if (length <= UNIX_NAME_OFFSET + 1 || length > UNIX_NAME_OFFSET + UNIX_NAME_BYTES)
		return 0;
	return decide_name(who, op, name + UNIX_NAME_OFFSET + 1, length - UNIX_NAME_OFFSET - 1);
}

/* An unnamed peer is the other end of a pair: whoever made the pair had both. */
static __always_inline int decide_unix_peer(struct who *who, enum op op, const struct sock *other)
{
	const struct unix_sock *peer = (const void *)other;
	const struct unix_address *address;

	if (BPF_CORE_READ(peer, path.dentry))
		return decide_path(who, op, __builtin_preserve_access_index(&peer->path));
	address = BPF_CORE_READ(peer, addr);
	return address ? decide_unix_name(who, op, __builtin_preserve_access_index(&address->name), BPF_CORE_READ(address, len)) : 0;
}

/* Stream and seqpacket. */
SEC("lsm/unix_stream_connect")
int BPF_PROG(handle_unix_stream_connect, struct sock *sk, struct sock *other, struct sock *made)
{
	struct who who;

	if (!identify(&who, OP_UNIX_CONNECT))
		return 0;
	if (decide_unix_peer(&who, OP_UNIX_CONNECT, other))
		return -EPERM;
	return 0;
}

/* Datagrams: at connect and at every send. */
SEC("lsm/unix_may_send")
int BPF_PROG(handle_unix_may_send, struct socket *socket, struct socket *other)
{
	struct sock *peer = other->sk;
	struct who who;

	if (!peer || !identify(&who, OP_UNIX_SEND))
		return 0;
	if (decide_unix_peer(&who, OP_UNIX_SEND, peer))
		return -EPERM;
	return 0;
}

/* Abstract names; a path comes to path_mknod with the kind of a socket. */
static __always_inline int decide_unix_bind(const void *name, __u32 length)
{
	struct who who;
	char first = 1;

	if (length <= UNIX_NAME_OFFSET + 1 || !identify(&who, OP_UNIX_BIND))
		return 0;
	if (bpf_probe_read_kernel(&first, sizeof(first), name + UNIX_NAME_OFFSET) || first)
		return 0;
	return decide_unix_name(&who, OP_UNIX_BIND, name, length);
}

SEC("lsm/socket_bind")
int BPF_PROG(handle_socket_bind, struct socket *socket, struct sockaddr *address, int length)
{
	struct endpoint endpoint = {};
	struct sock *sk = socket->sk;
	struct who who;

	if (!sk)
		return 0;
	if (sk->__sk_common.skc_family == AF_UNIX) {
		if (decide_unix_bind(address, length))
			return -EPERM;
		return 0;
	}
	if (!identify(&who, OP_BIND))
		return 0;
	if (read_endpoint(&endpoint, OP_BIND, sk, address, length) && decide_local(&who, OP_BIND, &endpoint, sk))
		return -EPERM;
	return 0;
}

/* ---- SCTP: several addresses packed behind each other, each by the length of its family ---- */

static __always_inline enum op sctp_operation(int option)
{
	switch (option) {
	case SCTP_SOCKOPT_CONNECTX:
	case SCTP_SOCKOPT_CONNECTX_OLD:
	case SCTP_SENDMSG_CONNECT:
		return OP_CONNECT;
	case SCTP_SOCKOPT_BINDX_ADD:
		return OP_BIND;
	default:
		return OP_COUNT;	/* what a peer asked for */
	}
}

struct packed {
	struct who *who;
	struct sock *sk;
	const void *at;
	__s64 length;
	__u32 op;
	__u32 refused;
};

static long decide_packed(__u32 step, void *context)
{
	struct packed *packed = context;
	struct endpoint endpoint = {};
	__u16 family = AF_UNSPEC;

	if (packed->length <= 0)
		return 1;
	if (!read_endpoint(&endpoint, packed->op, packed->sk, packed->at, packed->length) ||
	    bpf_probe_read_kernel(&family, sizeof(family), packed->at)) {
		packed->length = 0;	/* the kernel refuses the whole list */
		return 1;
	}
	packed->at += family == AF_INET ? SOCKADDR_IN_BYTES : SOCKADDR_IN6_BYTES;
	packed->length -= family == AF_INET ? SOCKADDR_IN_BYTES : SOCKADDR_IN6_BYTES;
	if (!decide_endpoint(packed->who, packed->op, &endpoint))
		return 0;
	packed->refused = 1;
	return 1;
}

static __noinline int decide_list(struct packed *packed)
{
	bpf_loop(SCTP_ADDRESSES, decide_packed, packed, 0);
	return packed->refused || packed->length > 0;
}

SEC("lsm/sctp_bind_connect")
int BPF_PROG(handle_sctp_bind_connect, struct sock *sk, int option, struct sockaddr *address, int length)
{
	struct who who;
	struct packed packed = { .who = &who, .sk = sk, .at = address, .length = length, .op = sctp_operation(option) };

	if (packed.op == OP_COUNT || !identify(&who, packed.op))
		return 0;
	if (decide_list(&packed)) {
		barrier();	/* keeps it a branch: the verifier wants constants */
		return -EPERM;
	}
	return 0;
}

#endif
