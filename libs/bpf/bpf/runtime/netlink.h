/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Requests of rtnetlink that reach into another network namespace by its id. The pod's end of a veth
 * pair gives the node's namespace an id in the pod's own. Without a user namespace, CAP_NET_ADMIN
 * holds in every namespace that has an id: a pod creates a macvlan over an interface of the node,
 * which no guard sees, or deletes the interfaces of other pods.
 *
 * Place in the data path: kernel → netlink_send → decide_value (OP_KERNEL). The hook gets the message
 * as the kernel will parse it, already copied. The steps follow netlink_rcv_skb() and
 * nla_for_each_attr(). A message with more parts than REQUEST_STEPS counts as one that names an id.
 */
#ifndef BAILIFF_RUNTIME_NETLINK_H
#define BAILIFF_RUNTIME_NETLINK_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_tracing.h>

#include "decide.h"
#include "endpoint.h"
#include "identity.h"
#include "kernel.h"

#define REQUEST_STEPS		1024	/* messages and attributes; ip(8) sends some twenty */
#define NETLINK_ROUTE		0
#define RTM_NEWLINK		16
#define RTM_SETLINK		19
#define IFLA_LINK_NETNSID	37
#define IFLA_TARGET_NETNSID	46
#define NLA_TYPE_MASK		0x3fff
#define IFINFO_BYTES		16

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct sk_buff {
	unsigned char *data;
	unsigned int len;
};

#pragma clang attribute pop

struct nlmsghdr {
	__u32 nlmsg_len;
	__u16 nlmsg_type;
	__u16 nlmsg_flags;
	__u32 nlmsg_seq;
	__u32 nlmsg_pid;
};

struct nlattr {
	__u16 nla_len;
	__u16 nla_type;
};

struct request {
	const unsigned char *data;
	__u32 at, end;		/* of what was read, and of all messages */
	__u32 attributes;	/* end of the message whose attributes are read; 0: a header follows */
	__u32 found;
};

static __always_inline __u32 aligned(__u32 length)
{
	return (length + 3) & ~3U;
}

/* Reads one header. Returns 1 if the kernel stops there. */
static __always_inline long read_message(struct request *request)
{
	struct nlmsghdr header;
	__u32 left = request->end - request->at;

	if (left < sizeof(header) || bpf_probe_read_kernel(&header, sizeof(header), request->data + request->at) ||
	    header.nlmsg_len < sizeof(header) || header.nlmsg_len > left)
		return 1;
	/* RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK */
	if (header.nlmsg_type >= RTM_NEWLINK && header.nlmsg_type <= RTM_SETLINK && header.nlmsg_len > sizeof(header) + IFINFO_BYTES) {
		request->attributes = request->at + header.nlmsg_len;
		request->at += sizeof(header) + IFINFO_BYTES;
		return 0;
	}
	request->at += aligned(header.nlmsg_len);
	return request->at >= request->end;
}

/* Reads one message header or one attribute. */
static long request_step(__u32 index, void *context)
{
	struct request *request = context;
	struct nlattr attribute = {};
	__u32 left;

	(void)index;
	if (!request->attributes)
		return read_message(request);
	left = request->attributes - request->at;
	if ((__s32)left < (__s32)sizeof(attribute) ||
	    bpf_probe_read_kernel(&attribute, sizeof(attribute), request->data + request->at) ||
	    attribute.nla_len < sizeof(attribute) || attribute.nla_len > left) {
		request->at = aligned(request->attributes);
		request->attributes = 0;
		return request->at >= request->end;
	}
	attribute.nla_type &= NLA_TYPE_MASK;
	request->at += aligned(attribute.nla_len);
	request->found = attribute.nla_type == IFLA_LINK_NETNSID || attribute.nla_type == IFLA_TARGET_NETNSID;
	return request->found;
}

static __noinline bool names_netns(struct request *request)
{
	return bpf_loop(REQUEST_STEPS, request_step, request, 0) == REQUEST_STEPS || request->found;
}

SEC("lsm/netlink_send")
int BPF_PROG(handle_netlink_send, struct sock *sk, struct sk_buff *skb)
{
	struct request request;
	struct policy_ctx policy;

	if (sk->sk_protocol != NETLINK_ROUTE || !identify(&policy, OP_KERNEL))
		return 0;
	/*
	 * Zeroes it, as a read that fails does, so that its values are unknown to the verifier. That of 6.1
	 * follows one step of a loop, and removes code that the values before it do not reach.
	 */
	bpf_probe_read_kernel(&request, sizeof(request), NULL);
	request.data = skb->data;
	request.end = skb->len;
	if (!names_netns(&request))
		return 0;
	if (decide_value(&policy, OP_KERNEL, KERNEL_FOREIGN_NETNS))
		return -EPERM;
	return 0;
}

#endif
