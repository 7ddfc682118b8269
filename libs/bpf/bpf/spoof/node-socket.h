/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Whether a flow of a quarantined pod is one of the node's own processes, as a probe of the kubelet is. The kernel
 * finds the socket of the flow. Its cgroup distinguishes a process of the node from one of a pod on the host's network.
 *
 * The cgroup is that of the process that created the socket. A node without cgroup v2 has all sockets in
 * the root. There, without the id of the pods' cgroup, and in an object WITHOUT_OFFLOAD, no socket counts as a pod's.
 */
#ifndef BAILIFF_NODE_SOCKET_H
#define BAILIFF_NODE_SOCKET_H

#include "maps.h"
#include "packet.h"
#include "skb.h"

/* Deepest cgroup that is compared. A deeper one counts as a pod's, because a container can nest cgroups. */
#define MAX_CGROUP_DEPTH 16

/* A flow between the pod and a node. */
struct flow {
	const union address *pod, *node;
	__be16 pod_port, node_port;
};

#ifdef WITHOUT_OFFLOAD

static __always_inline bool is_of_pods(const struct bpf_sock *socket)
{
	(void)socket;
	return false;
}

#else

/* The verifier refuses to add to the address of a socket, so without a cast the address is read from the stack. */
static __always_inline const struct sock *kernel_socket(const struct bpf_sock *socket)
{
	const struct sock *address = NULL;

	if (HAS_KERNEL_CTX)
		return bpf_rdonly_cast(socket, bpf_core_type_id_kernel(struct sock));
	bpf_probe_read_kernel(&address, sizeof(address), &socket);
	return address;
}

/* Whether a process in the cgroups of pods created the socket, for which has_cgroup() is true. */
static __always_inline bool is_of_pods(const struct bpf_sock *socket)
{
	__u32 first = 0;
	const __u64 *pods = bpf_map_lookup_elem(&pods_cgroup, &first);
	const struct cgroup_subsys_state *parent;
	const struct kernfs_node *node;
	const struct cgroup *cgroup;
	const struct sock *own;

	if (!pods || !*pods)
		return false;
	own = kernel_socket(socket);
	cgroup = READ_FIELD(own, sk_cgrp_data.cgroup);
	for (int depth = 0; depth < MAX_CGROUP_DEPTH; depth++) {
		if (!cgroup)
			return false;
		node = READ_FIELD(cgroup, kn);
		if (READ_FIELD(node, id) == *pods)
			return true;
		parent = READ_FIELD(cgroup, self.parent);
		if (!parent)
			return false;
		cgroup = READ_FIELD(parent, cgroup);
	}
	return true;
}

#endif

/* A socket in TIME_WAIT has been closed by its process, and a request has no socket yet: neither has a cgroup. */
static __always_inline bool has_cgroup(const struct bpf_sock *socket, __u8 protocol)
{
	return protocol != IPPROTO_TCP ||
	       (socket->state != BPF_TCP_TIME_WAIT && socket->state != BPF_TCP_NEW_SYN_RECV);
}

static __always_inline struct bpf_sock *
find_socket(struct __sk_buff *skb, struct bpf_sock_tuple *tuple, __u32 size, __u8 protocol)
{
	return protocol == IPPROTO_TCP
		       ? bpf_skc_lookup_tcp(skb, tuple, size, BPF_F_CURRENT_NETNS, 0)
		       : bpf_sk_lookup_udp(skb, tuple, size, BPF_F_CURRENT_NETNS, 0);
}

/* Whether the flow has a socket of the node's own processes that does not listen. */
static __always_inline bool has_own_flow(struct __sk_buff *skb, struct bpf_sock_tuple *tuple,
					 __u32 size, __u8 protocol)
{
	struct bpf_sock *socket = find_socket(skb, tuple, size, protocol);
	bool own;

	if (!socket)
		return false;
	own = (protocol != IPPROTO_TCP || socket->state != BPF_TCP_LISTEN) &&
	      !(has_cgroup(socket, protocol) && is_of_pods(socket));
	bpf_sk_release(socket);
	return own;
}

static __always_inline bool has_server(struct __sk_buff *skb, struct bpf_sock_tuple *tuple,
				       __u32 size)
{
	struct bpf_sock *socket = find_socket(skb, tuple, size, IPPROTO_TCP);
	bool listening;

	if (!socket)
		return false;
	listening = socket->state == BPF_TCP_LISTEN;
	bpf_sk_release(socket);
	return listening;
}

/*
 * Whether this node has a socket for the flow that it opened itself, as the kubelet does for its probes.
 * Addresses and ports alone do not distinguish a probe from a masqueraded node port, which would keep a
 * quarantined pod in service or give it a way out. Nor is a connection a probe that the pod opened to a
 * server of the node, from its probe port and before the quarantine: it would lead through a proxy there.
 * A process of a pod on the host's network opens no probes: an ingress controller is one.
 */
static __always_inline bool has_node_socket(struct __sk_buff *skb, const struct flow *flow,
					    __u8 protocol, bool ipv4)
{
	struct bpf_sock_tuple tuple = {};
	__u32 size;

	if (ipv4) {
		size = sizeof(tuple.ipv4);
		tuple.ipv4.saddr = flow->pod->words[3];
		tuple.ipv4.daddr = flow->node->words[3];
		tuple.ipv4.sport = flow->pod_port;
		tuple.ipv4.dport = flow->node_port;
	} else {
		size = sizeof(tuple.ipv6);
		__builtin_memcpy(tuple.ipv6.saddr, flow->pod, sizeof(tuple.ipv6.saddr));
		__builtin_memcpy(tuple.ipv6.daddr, flow->node, sizeof(tuple.ipv6.daddr));
		tuple.ipv6.sport = flow->pod_port;
		tuple.ipv6.dport = flow->node_port;
	}
	if (!has_own_flow(skb, &tuple, size, protocol))
		return false;
	if (protocol != IPPROTO_TCP)
		return true;
	/* No flow is from port 0, so this finds a server of the node's port alone. */
	if (ipv4)
		tuple.ipv4.sport = 0;
	else
		tuple.ipv6.sport = 0;
	return !has_server(skb, &tuple, size);
}

#endif
