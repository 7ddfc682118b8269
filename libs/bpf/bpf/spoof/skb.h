/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The fields of the kernel's structs that the programs read, which __sk_buff lacks. CO-RE finds their
 * places in the running kernel.
 */
#ifndef BAILIFF_SKB_H
#define BAILIFF_SKB_H

#include <linux/types.h>
#include <bpf/bpf_core_read.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct net {
	struct net_device *loopback_dev;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct net_device {
	int ifindex;
	possible_net_t nd_net; /* its network namespace */
	__u8 priv[];	       /* since 6.10 */
};

/* Behind the device, where netdev_priv() of the kernel points. */
struct netkit {
	_Bool primary; /* the host side */
};

typedef struct {
	int counter;
} atomic_t;

struct refcount_struct {
	atomic_t refs;
};

struct dst_entry {
	struct net_device *dev;
};

struct sk_buff {
	struct net_device *dev;
	unsigned long _skb_refdst; /* its route */
	struct refcount_struct users;
	unsigned char *head, *data;
	unsigned int data_len;			      /* behind the linear part */
	unsigned int end;			      /* offset of the shared info from head */
	__u16 inner_network_header, inner_mac_header; /* relative to head */
	__u16 csum_start;			      /* relative to head */
	__u16 csum_offset;
	__u8 cloned : 1;
	__u8 ip_summed : 2;
	__u8 encapsulation : 1;
	__u8 csum_not_inet : 1;	   /* only in kernels with SCTP */
	__u8 tc_skip_classify : 1; /* only in kernels with CONFIG_NET_CLS_ACT */
};

struct skb_shared_info {
	unsigned int gso_type;
};

struct kernfs_node {
	__u64 id; /* of a cgroup, as user space knows it */
};

struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
};

struct cgroup {
	struct cgroup_subsys_state self;
	struct kernfs_node *kn;
};

struct sock_cgroup_data {
	struct cgroup *cgroup; /* of cgroup v2 */
};

struct sock {
	struct sock_cgroup_data sk_cgrp_data;
};

#pragma clang attribute pop

extern void *bpf_cast_to_kern_ctx(void *context) __ksym __weak;
extern void *bpf_rdonly_cast(const void *object, __u32 type) __ksym __weak;

/*
 * The kernel's structs and their fields. Since Linux 6.2 a field is a plain load; before, a helper copies
 * it. The verifier removes the other branch.
 */
#ifndef HAS_KERNEL_CTX /* a test builds an object without */
#define HAS_KERNEL_CTX bpf_ksym_exists(bpf_cast_to_kern_ctx)
#endif

static __always_inline const struct sk_buff *kernel_skb(struct __sk_buff *skb)
{
	return HAS_KERNEL_CTX ? bpf_cast_to_kern_ctx(skb) : (void *)skb;
}

#define READ_FIELD(object, field) (HAS_KERNEL_CTX ? (object)->field : BPF_CORE_READ(object, field))
#define READ_BITFIELD(object, field) \
	(HAS_KERNEL_CTX ? BPF_CORE_READ_BITFIELD(object, field) \
			: BPF_CORE_READ_BITFIELD_PROBED(object, field))

#endif
