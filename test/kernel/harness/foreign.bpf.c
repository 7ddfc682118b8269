// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Foreign programs at the same hook, as other network plugins attach them. Each counts every packet,
 * except count_lists.
 *
 * count_packets	passes it
 * count_lists	passes it, and counts lists of packets of SCTP whose linear part holds their headers alone
 * redirect_peer	sends it into the namespace behind `target`, past the host side
 * redirect_egress	sends it out of `target`
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define GSO_BY_FRAGS 0xffff
#define MAX_HEADERS  128 /* Ethernet, IP and SCTP have 66 */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} packets SEC(".maps");

/* ifindex */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} target SEC(".maps");

static __always_inline __u32 count_and_target(const struct __sk_buff *skb)
{
	__u32 zero = 0, *ifindex = bpf_map_lookup_elem(&target, &zero);
	__u64 *count = bpf_map_lookup_elem(&packets, &zero);

	if (count && skb->len)
		__sync_fetch_and_add(count, 1);
	return ifindex ? *ifindex : 0;
}

SEC("tcx/ingress")
int count_packets(struct __sk_buff *skb)
{
	count_and_target(skb);
	return -1; /* TCX_NEXT, TC_ACT_UNSPEC */
}

SEC("tcx/ingress")
int count_lists(struct __sk_buff *skb)
{
	long linear = (long)skb->data_end - (long)skb->data;

	if (skb->gso_size == GSO_BY_FRAGS && linear < MAX_HEADERS && linear < skb->len)
		count_and_target(skb);
	return -1;
}

SEC("tcx/ingress")
int redirect_peer(struct __sk_buff *skb)
{
	return bpf_redirect_peer(count_and_target(skb), 0);
}

SEC("tcx/ingress")
int redirect_egress(struct __sk_buff *skb)
{
	return bpf_redirect(count_and_target(skb), 0);
}

char _license[] SEC("license") = "Dual BSD/GPL";
