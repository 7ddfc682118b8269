// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* A foreign program at the same hook: counts every packet and passes it. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} packets SEC(".maps");

SEC("tcx/ingress")
int count_packets(struct __sk_buff *skb)
{
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&packets, &zero);

	if (count && skb->len)
		__sync_fetch_and_add(count, 1);
	return -1;	/* TCX_NEXT, TC_ACT_UNSPEC */
}

char _license[] SEC("license") = "Dual BSD/GPL";
