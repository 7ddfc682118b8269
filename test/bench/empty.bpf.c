// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* The floor of the pass path: a tcx program that passes everything. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tcx/ingress")
int empty(struct __sk_buff *skb)
{
	(void)skb;
	return -1; /* TCX_NEXT */
}

char _license[] SEC("license") = "Dual BSD/GPL";
