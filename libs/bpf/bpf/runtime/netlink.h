/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Requests of rtnetlink that reach into another network namespace by its id. The pod's end of a veth
 * pair gives the node's namespace an id in the pod's own. Without a user namespace, CAP_NET_ADMIN
 * holds in every namespace that has an id: a pod creates a macvlan over an interface of the node,
 * which no guard sees, or deletes the interfaces of other pods. A pod that sees the host's processes
 * (hostPID) reaches the same by a PID, for which the kernel checks no other right.
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
#include "other-tasks.h"

#define REQUEST_STEPS	    1024 /* messages and attributes; ip(8) sends some twenty */
#define NETLINK_ROUTE	    0
#define RTM_NEWLINK	    16
#define RTM_GETLINK	    18
#define RTM_SETLINK	    19
#define RTM_GETADDR	    22
#define RTM_GETMULTICAST    58
#define RTM_GETANYCAST	    62
#define IFA_TARGET_NETNSID  10
#define IFLA_LINKINFO	    18
#define IFLA_NET_NS_PID	    19
#define IFLA_LINK_NETNSID   37
#define IFLA_TARGET_NETNSID 46
#define NLA_TYPE_MASK	    0x3fff
#define IFINFO_BYTES	    16
#define IFADDR_BYTES	    8
#define RTGEN_BYTES	    4 /* with its padding: the header of a short request for interfaces */
/* In IFLA_LINKINFO, the interface at the other end (veth, vxcan, netkit): IFINFO_BYTES, then attributes. */
#define IFLA_INFO_DATA 2
#define INFO_PEER      1

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
	__u32 at, end; /* of what was read, and of all messages */
	__u32 ends
		[4]; /* of the message, and of the attributes in which the current one is; 0: a header follows */
	__u32 depth; /* of `ends` */
	__u32 found;
	__u32 pids;	 /* a PID counts as an id */
	__u32 addresses; /* the message asks for addresses, not about an interface */
};

static __always_inline __u32 aligned(__u32 length)
{
	return (length + 3) & ~3U;
}

/* All are answered by the same function of the kernel. */
static __always_inline bool asks_for_addresses(const struct nlmsghdr *header)
{
	return header->nlmsg_type == RTM_GETADDR || header->nlmsg_type == RTM_GETMULTICAST ||
	       header->nlmsg_type == RTM_GETANYCAST;
}

/* Bytes before the attributes of a message; 0: it is not about interfaces or their addresses. */
static __always_inline __u32 bytes_before(const struct nlmsghdr *header)
{
	if (asks_for_addresses(header))
		return IFADDR_BYTES;
	/* RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK */
	if (header->nlmsg_type < RTM_NEWLINK || header->nlmsg_type > RTM_SETLINK)
		return 0;
	/* the kernel takes a dump that is shorter than its header for one with the header of old programs */
	if (header->nlmsg_type == RTM_GETLINK && header->nlmsg_len < sizeof(*header) + IFINFO_BYTES)
		return RTGEN_BYTES;
	return IFINFO_BYTES;
}

/* Reads one header. Returns 1 if the kernel stops there. */
static __always_inline long read_message(struct request *request)
{
	struct nlmsghdr header;
	__u32 left = request->end - request->at, before;

	if (left < sizeof(header) ||
	    bpf_probe_read_kernel(&header, sizeof(header), request->data + request->at) ||
	    header.nlmsg_len < sizeof(header) || header.nlmsg_len > left)
		return 1;
	before = bytes_before(&header);
	request->addresses = asks_for_addresses(&header);
	if (before && header.nlmsg_len > sizeof(header) + before) {
		request->ends[0] = request->at + header.nlmsg_len;
		request->at += sizeof(header) + before;
		return 0;
	}
	request->at += aligned(header.nlmsg_len);
	return request->at >= request->end;
}

/* Whether attributes are in it, and how many bytes before them. Negative: none. */
static __always_inline int bytes_before_nested(__u32 depth, __u16 type)
{
	switch (depth) {
	case 0:
		return type == IFLA_LINKINFO ? 0 : -1;
	case 1:
		return type == IFLA_INFO_DATA ? 0 : -1;
	case 2:
		return type == INFO_PEER ? IFINFO_BYTES : -1;
	default:
		return -1;
	}
}

/* Leaves the innermost attribute, or the message. Returns 1 at the end of all messages. */
static __always_inline long leave_attribute(struct request *request, __u32 depth)
{
	request->at = aligned(request->ends[depth]);
	if (depth) {
		request->depth = depth - 1;
		return 0;
	}
	request->ends[0] = 0;
	return request->at >= request->end;
}

static __always_inline bool is_of_netns(const struct request *request, __u32 depth, __u16 type)
{
	if (request->addresses)
		return type == IFA_TARGET_NETNSID;
	if (type == IFLA_NET_NS_PID)
		return request->pids && (!depth || depth == 3);
	return !depth && (type == IFLA_LINK_NETNSID || type == IFLA_TARGET_NETNSID);
}

/*
 * Reads one message header or one attribute. Returns 1 at the end. A global function: the verifier checks
 * it once, with all values unknown, and not for those that each step of the loop leaves.
 */
__noinline int rt_read_request(struct request *request)
{
	struct nlattr attribute = {};
	__u32 left, depth;
	int before;

	if (!request)
		return 1;
	depth = request->depth & 3;
	if (!request->ends[0])
		return read_message(request);
	left = request->ends[depth] - request->at;
	if ((__s32)left < (__s32)sizeof(attribute) ||
	    bpf_probe_read_kernel(&attribute, sizeof(attribute), request->data + request->at) ||
	    attribute.nla_len < sizeof(attribute) || attribute.nla_len > left)
		return leave_attribute(request, depth);
	attribute.nla_type &= NLA_TYPE_MASK;
	before = request->addresses ? -1 : bytes_before_nested(depth, attribute.nla_type);
	if (before >= 0 && attribute.nla_len >= sizeof(attribute) + before) {
		depth = (depth + 1) & 3;
		request->ends[depth] = request->at + attribute.nla_len;
		request->depth = depth;
		request->at += sizeof(attribute) + before;
		return 0;
	}
	request->at += aligned(attribute.nla_len);
	request->found = is_of_netns(request, depth, attribute.nla_type);
	return request->found;
}

static long request_step(__u32 index, void *request)
{
	return refused(rt_read_request(request)) ? 1 : 0;
}

static __noinline bool names_netns(struct request *request)
{
	return bpf_loop(REQUEST_STEPS, request_step, request, 0) == REQUEST_STEPS || request->found;
}

SEC("lsm/netlink_send")
int BPF_PROG(handle_netlink_send, struct sock *sk, struct sk_buff *skb)
{
	struct request request = {};
	struct policy_ctx policy;

	if (sk->sk_protocol != NETLINK_ROUTE || !identify(&policy, OP_KERNEL))
		return 0;
	request.data = skb->data;
	request.end = skb->len;
	request.pids = sees_host_pids();
	if (!names_netns(&request))
		return 0;
	if (decide_value(&policy, OP_KERNEL, KERNEL_FOREIGN_NETNS))
		return -EPERM;
	return 0;
}

#endif
