/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Sockets: creation, connect, bind and listen. send.h has the sends.
 *
 * Place in the data path: system calls and io_uring → LSM hooks here → endpoint.h → peer-cache.h →
 * decide.h.
 * rt_sockets records the process that creates a raw or packet socket: the newest of each pod.
 * Limits: one address per call (SCTP: SCTP_ADDRESSES); without a policy a hook costs one look-up.
 * docs/runtime-hooks.md lists the gaps.
 */
#ifndef BAILIFF_RUNTIME_NET_H
#define BAILIFF_RUNTIME_NET_H

#include <stdbool.h>
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

#include "decide.h"
#include "endpoint.h"
#include "identity.h"
#include "peer-cache.h"
#include "sample.h"
#include "unix.h"

/* ---- creation ---- */

/* The protocol as in rules. For a packet socket it is an EtherType, passed in network order. */
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
	struct policy_ctx policy;

	if (kern || !identify(&policy, OP_SOCKET))
		return 0;
	if (decide_value(&policy, OP_SOCKET,
			 socket_value(family, kind, rule_protocol(family, protocol))))
		return -EPERM;
	return 0;
}

/*
 * The record is complete before it is in the map: another task of the pod may replace it at any
 * moment, and the map uses the element again for another pod.
 */
static __noinline void record_maker(__u64 cookie, __u64 value)
{
	struct task_struct *task = bpf_get_current_task_btf();
	const struct task_state *state = state_of_current();
	struct scratch *scratch;
	struct socket_maker *maker;
	bool is_recorded;

	if (!state)
		return;
	scratch = claim();
	if (!scratch)
		return;
	maker = &scratch->maker;
	maker->boottime_ns = bpf_ktime_get_boot_ns();
	maker->pod = state->pod;
	maker->container_cgroup_id = state->cgroup_id;
	maker->tgid = task->tgid;
	maker->uid = BPF_CORE_READ(task, cred, uid.val);
	maker->family = value >> 32;
	maker->type = value >> 16;
	maker->protocol = value;
	bpf_get_current_comm(maker->comm, sizeof(maker->comm));
	maker->program_length = executable_text(scratch, task, maker->program) & ~TEXT_CUT;
	is_recorded = !bpf_map_update_elem(&rt_sockets, &cookie, maker, BPF_ANY);
	release(scratch);
	if (is_recorded)
		rt_own_socket(&state->pod, cookie);
	else
		rt_count_loss(RT_LOSS_NO_RECORD);
}

/*
 * Records the process that creates a socket which can forge packets. The frames carry the socket's
 * cookie at tcx.
 */
SEC("lsm/socket_post_create")
int BPF_PROG(handle_socket_post_create, struct socket *socket, int family, int type, int protocol,
	     int kern)
{
	__u16 kind = type & SOCK_TYPE_MASK;
	struct sock *sk;

	if (kern || (kind != SOCK_RAW && family != AF_PACKET))
		return 0;
	sk = socket->sk;
	if (!sk)
		return 0;
	record_maker(bpf_get_socket_cookie(sk),
		     socket_value(family, kind, rule_protocol(family, protocol)));
	return 0;
}

/*
 * An IPv6 socket on :: accepts IPv4 as well, of a protocol with ports. One that listens without a bind
 * can be made to do so after the hook (IPV6_V6ONLY). SMC's is bound by a socket of the kernel, which
 * this one does not show.
 */
static __always_inline bool is_dual(const struct endpoint *endpoint, const struct sock *sk,
				    enum op op)
{
	const __u64 *halves = (const __u64 *)endpoint->address;

	if (endpoint->family != AF_INET6 && endpoint->family != AF_SMC)
		return false;
	return has_ports(endpoint) && !halves[0] && !halves[1] &&
	       (!sk->__sk_common.skc_ipv6only || (op == OP_LISTEN && !endpoint->port));
}

static __noinline int decide_local(struct policy_ctx *policy, enum op op, struct endpoint *endpoint,
				   const struct sock *sk)
{
	if (decide_endpoint(policy, op, endpoint))
		return 1;
	if (!is_dual(endpoint, sk, op))
		return 0;
	map_ipv4(endpoint, 0);
	return decide_endpoint(policy, op, endpoint);
}

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

/*
 * Whether an earlier call began this connection and was counted: a call that the kernel or the
 * program repeats (io_uring, a signal, O_NONBLOCK) asks the hook again. Of other protocols this does
 * not show that the address is not used.
 */
static __always_inline bool is_connecting(const struct socket *socket, const struct sock *sk)
{
	return sk->sk_type == SOCK_STREAM &&
	       (sk->sk_protocol == IPPROTO_TCP || sk->sk_protocol == IPPROTO_MPTCP) &&
	       (socket->state == SS_CONNECTING || socket->state == SS_CONNECTED);
}

SEC("lsm/socket_connect")
int BPF_PROG(handle_socket_connect, struct socket *socket, struct sockaddr *address, int length)
{
	struct endpoint endpoint = {};
	struct sock *sk = socket->sk;
	const struct subject *found;
	struct policy_ctx policy;
	__u64 epoch;

	if (!sk || !is_judged(&policy, &found) ||
	    !read_endpoint(&endpoint, OP_CONNECT, sk, address, length))
		return 0;
	epoch = policy_epoch();
	read_barrier();
	if (is_known_peer(&policy, epoch, &endpoint, OP_CONNECT))
		return 0;
	if (bind_policy(&policy, found, OP_BIT(OP_CONNECT))) {
		policy.quiet = is_connecting(socket, sk) ? QUIET_PROBE : 0;
		if (decide_endpoint(&policy, OP_CONNECT, &endpoint)) {
			if (!policy.quiet)
				return -EPERM;
			policy.quiet = 0;
			if (decide_endpoint(&policy, OP_CONNECT, &endpoint))
				return -EPERM;
		}
		if (policy.effects && !leaves_out(CHECK_EFFECTS))
			return 0;
	}
	remember_peer(&policy, epoch, &endpoint, OP_CONNECT);
	return 0;
}

SEC("lsm/socket_listen")
int BPF_PROG(handle_socket_listen, struct socket *socket, int backlog)
{
	struct endpoint endpoint = {};
	struct sock *sk = socket->sk;
	struct policy_ctx policy;

	if (!sk || !identify(&policy, OP_LISTEN))
		return 0;
	if (read_bound(&endpoint, OP_LISTEN, sk) && decide_local(&policy, OP_LISTEN, &endpoint, sk))
		return -EPERM;
	return 0;
}

SEC("lsm/socket_bind")
int BPF_PROG(handle_socket_bind, struct socket *socket, struct sockaddr *address, int length)
{
	struct endpoint endpoint = {};
	struct sock *sk = socket->sk;
	struct policy_ctx policy;

	if (!sk)
		return 0;
	if (sk->__sk_common.skc_family == AF_UNIX) {
		if (decide_unix_bind(address, length))
			return -EPERM;
		return 0;
	}
	if (!identify(&policy, OP_BIND))
		return 0;
	if (read_endpoint(&endpoint, OP_BIND, sk, address, length) &&
	    decide_local(&policy, OP_BIND, &endpoint, sk))
		return -EPERM;
	return 0;
}

/* ---- SCTP: several packed addresses, each with the length of its family ---- */

#define SCTP_SOCKOPT_BINDX_ADD	  100
#define SCTP_SOCKOPT_CONNECTX_OLD 107
#define SCTP_SOCKOPT_CONNECTX	  110
#define SCTP_SENDMSG_CONNECT	  126
#define SOCKADDR_IN_BYTES	  16
#define SOCKADDR_IN6_BYTES	  28

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
		return OP_COUNT; /* an option of the peer */
	}
}

/* The addresses that are left. Plain data, for global functions: the verifier checks each once. */
struct packed {
	struct endpoint endpoint; /* of the address that was read last */
	__u64 at;
	__s64 length;
	__u32 op;
	__be32 bound_ipv4; /* these: as in struct naming */
	__u32 bound_mapped;
	__u16 protocol;
	__u16 reserved;
};

/* Reads the next address. Returns 0 if there is none: the kernel rejects a list that is wrong. */
__noinline int rt_next_address(struct packed *packed)
{
	struct naming naming = {};
	__u32 length, used;

	if (!packed || packed->length <= 0)
		return 0;
	length = packed->length;
	barrier_var(length); /* the verifier follows this register alone */
	if (length > sizeof(naming.inet))
		length = sizeof(naming.inet);
	naming.length = length;
	naming.op = packed->op;
	naming.protocol = packed->protocol;
	naming.bound_ipv4 = packed->bound_ipv4;
	naming.bound_mapped = packed->bound_mapped;
	if (bpf_probe_read_kernel(&naming.inet, length, (void *)packed->at) ||
	    !shape_endpoint(&packed->endpoint, &naming))
		return 0;
	used = naming.inet.family == AF_INET ? SOCKADDR_IN_BYTES : SOCKADDR_IN6_BYTES;
	packed->at += used;
	packed->length -= used;
	return 1;
}

/* As decide_endpoints(). */
__noinline int rt_decide_packed(const struct identity *identity, const struct packed *packed,
				__u32 unresolved)
{
	struct matches matches = NO_MATCHES;
	struct event event = { .has_endpoint = 1 };

	if (!identity || !packed)
		return 1;
	event.endpoint = packed->endpoint;
	matches.unresolved = unresolved;
	if (!unresolved)
		rt_match_endpoint(identity, &matches, &event.endpoint, packed->op);
	return refused(rt_decide(identity, &matches, &event, packed->op));
}

static __always_inline void describe_list(struct packed *packed, struct sock *sk)
{
	struct naming naming = {};

	describe_socket(&packed->endpoint, &naming, sk);
	packed->protocol = naming.protocol;
	packed->bound_ipv4 = naming.bound_ipv4;
	packed->bound_mapped = naming.bound_mapped;
}

SEC("lsm/sctp_bind_connect")
int BPF_PROG(handle_sctp_bind_connect, struct sock *sk, int option, struct sockaddr *address,
	     int length)
{
	struct packed packed = { .at = (__u64)address,
				 .length = length,
				 .op = sctp_operation(option) };
	struct policy_ctx policy;

	if (packed.op == OP_COUNT || !identify(&policy, packed.op))
		return 0;
	describe_list(&packed, sk);
	for (int i = 0; i <= SCTP_ADDRESSES; i++) {
		if (!rt_next_address(&packed))
			return 0;
		if (!policy.head ||
		    refused(rt_decide_packed(&policy.identity, &packed, i == SCTP_ADDRESSES)))
			return -EPERM;
	}
	return 0;
}

#endif
