/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Sends to an address: datagrams, TCP Fast Open, and the first send of an SCTP association.
 *
 * socket_sendmsg	decides, about each address that the message names
 * inet_sendmsg		(fentry) counts the messages that the kernel sends without asking the hook
 *
 * Place in the data path: system calls and io_uring → here → endpoint.h → decide.h. sendmmsg() asks
 * the hook once for messages in a row with one name. Of datagrams, the decision is the same for
 * each. Over SCTP a later one can name further addresses, so there such a call is unresolved.
 * Limits: SCTP_ADDRESSES and SCTP_CONTROL_MESSAGES per message; beyond them it is unresolved.
 */
#ifndef BAILIFF_RUNTIME_SEND_H
#define BAILIFF_RUNTIME_SEND_H

#include <stdbool.h>
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_tracing.h>

#include "decide.h"
#include "endpoint.h"
#include "identity.h"

#define MSG_FASTOPEN 0x20000000
#define MSG_BATCH    0x40000 /* of sendmmsg: another message follows */

/*
 * Operation for a destination in sendmsg. A stream socket uses the destination only for TCP Fast
 * Open. On SCTP it can start an association, for which sctp_bind_connect decides.
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

/* ---- SCTP: further addresses of a new peer, each in a control message of the first send ---- */

#define SCTP_DSTADDRV4	      7
#define SCTP_DSTADDRV6	      8
#define SCTP_CONTROL_MESSAGES 16 /* other control messages before the next address; likewise */

struct control_header {
	__u64 length; /* includes this header */
	__s32 level;
	__s32 type;
};

/*
 * The control messages that are left, and what determines an address beside them. Plain data, for a
 * global function: the verifier checks it once, and what it writes is unknown afterwards, so that all
 * iterations are alike.
 */
struct controls {
	struct endpoint endpoint; /* of the address that was read last */
	__u64 at;
	__u64 left;
	__be32 bound_ipv4; /* these: as in struct naming */
	__u16 bound_mapped;
	__be16 port; /* port in msg_name, which applies to all addresses */
};

struct seek {
	struct controls *controls;
	__u64 room; /* size of the control message that has an address; 0: none found */
	__u32 type;
};

static __always_inline bool read_controls(struct controls *controls, const struct msghdr *message,
					  struct sock *sk)
{
	struct inet_name name = {};

	if (sk->sk_protocol != IPPROTO_SCTP || !message->msg_name || !message->msg_controllen)
		return false;
	bpf_probe_read_kernel(&name, offsetof(struct inet_name, ipv4), message->msg_name);
	controls->at = (__u64)message->msg_control;
	controls->left = message->msg_controllen;
	controls->port = name.port;
	return true;
}

static __always_inline void skip_control(struct controls *controls, __u64 room)
{
	controls->at += room;
	controls->left = room < controls->left ? controls->left - room : 0;
}

static long seek_control(__u32 step, void *context)
{
	struct seek *seek = context;
	struct controls *controls = seek->controls;
	struct control_header header = {};
	__u64 room;

	if (controls->left < sizeof(header) ||
	    bpf_probe_read_kernel(&header, sizeof(header), (void *)controls->at) ||
	    header.length < sizeof(header) || header.length > controls->left) {
		controls->left = 0; /* end of the messages, or one that the kernel rejects */
		return 1;
	}
	room = (header.length + 7) & ~7ULL;
	if (header.level == IPPROTO_SCTP &&
	    (header.type == SCTP_DSTADDRV4 || header.type == SCTP_DSTADDRV6)) {
		seek->type = header.type;
		seek->room = room;
		return 1;
	}
	skip_control(controls, room);
	return 0;
}

/* Returns 0 if no control message within the limit has an address. */
__noinline int rt_next_control(struct controls *controls)
{
	struct naming naming = { .op = OP_CONNECT,
				 .protocol = IPPROTO_SCTP,
				 .length = sizeof(naming.inet) };
	struct seek seek = { .controls = controls };
	const void *data;

	if (!controls)
		return 0;
	bpf_loop(SCTP_CONTROL_MESSAGES, seek_control, &seek, 0);
	if (!seek.room)
		return 0;
	naming.bound_ipv4 = controls->bound_ipv4;
	naming.bound_mapped = controls->bound_mapped;
	naming.inet.port = controls->port;
	data = (void *)controls->at + sizeof(struct control_header);
	if (seek.type == SCTP_DSTADDRV4) {
		naming.inet.family = AF_INET;
		bpf_probe_read_kernel(&naming.inet.ipv4, sizeof(naming.inet.ipv4), data);
	} else {
		naming.inet.family = AF_INET6;
		bpf_probe_read_kernel(naming.inet.ipv6, sizeof(naming.inet.ipv6), data);
	}
	skip_control(controls, seek.room);
	return shape_endpoint(&controls->endpoint, &naming);
}

static __always_inline void describe_controls(struct controls *controls, struct sock *sk)
{
	struct naming naming = {};

	describe_socket(&controls->endpoint, &naming, sk);
	controls->bound_ipv4 = naming.bound_ipv4;
	controls->bound_mapped = naming.bound_mapped;
}

/*
 * sendmmsg() asks the hook once for messages in a row with one name. A later one can start an
 * association with addresses in its control messages, which no hook sees.
 */
static __always_inline bool hides_addresses(const struct msghdr *message, const struct sock *sk)
{
	return sk->sk_protocol == IPPROTO_SCTP && message->msg_name &&
	       message->msg_flags & MSG_BATCH;
}

SEC("lsm/socket_sendmsg")
int BPF_PROG(handle_socket_sendmsg, struct socket *socket, struct msghdr *message, int size)
{
	bool named, more, hides, found, unresolved = false, is_last = false;
	struct controls controls = {};
	struct sock *sk = socket->sk;
	struct policy_ctx policy;
	enum op op;

	if (!sk)
		return 0;
	named = names_destination(message, sk->sk_type, &op);
	more = read_controls(&controls, message, sk);
	hides = hides_addresses(message, sk);
	if (!named && !more && !hides)
		return 0;
	if (!identify_any(&policy,
			  (named ? OP_BIT(op) : 0) | (more || hides ? OP_BIT(OP_CONNECT) : 0)))
		return 0;
	if (named && op == OP_SEND && policy.task)
		policy.task->flags |= TASK_SEND_ASKED;
	if (more)
		describe_controls(&controls, sk);
#pragma clang loop unroll(disable)
	for (int i = 0; i <= SCTP_ADDRESSES + 1; i++) {
		if (!i && named) {
			found = read_endpoint(&controls.endpoint, op, sk, message->msg_name,
					      message->msg_namelen);
		} else if (i <= SCTP_ADDRESSES && controls.left) {
			op = OP_CONNECT;
			found = rt_next_control(&controls);
		} else {
			op = OP_CONNECT;
			unresolved =
				(hides || controls.left) && policy_covers_op(&policy, OP_CONNECT);
			found = unresolved;
			is_last = true;
		}
		if (found && decide_endpoints(&policy, op, &controls.endpoint, unresolved))
			return -EPERM;
		if (is_last)
			break;
	}
	return 0;
}

/*
 * Counts a message of sendmmsg() about which the hook was not asked, because the message before it
 * had the same name and passed. It has left already, so a denial that came into force meanwhile
 * acts as audit.
 */
static __always_inline int count_unasked(struct socket *socket, struct msghdr *message)
{
	struct endpoint endpoint = {};
	struct sock *sk = socket->sk;
	struct policy_ctx policy;
	enum op op;

	if (!sk || !names_destination(message, sk->sk_type, &op) || op != OP_SEND ||
	    !identify(&policy, OP_SEND))
		return 0;
	if (policy.task && policy.task->flags & TASK_SEND_ASKED) {
		policy.task->flags &= ~TASK_SEND_ASKED;
		return 0;
	}
	policy.subject.audit_until_ns = ~0ULL;
	if (read_endpoint(&endpoint, OP_SEND, sk, message->msg_name, message->msg_namelen))
		decide_endpoint(&policy, OP_SEND, &endpoint);
	return 0;
}

SEC("fentry/inet_sendmsg")
int BPF_PROG(count_inet_sendmsg, struct socket *socket, struct msghdr *message)
{
	return count_unasked(socket, message);
}

SEC("fentry/inet6_sendmsg")
int BPF_PROG(count_inet6_sendmsg, struct socket *socket, struct msghdr *message)
{
	return count_unasked(socket, message);
}

#endif
