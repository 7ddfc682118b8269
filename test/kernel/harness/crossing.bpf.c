// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Metadata of a frame of MARKED_BYTES bytes: what a pod writes, and what its host side reads.
 *
 * write_fields	in the pod, at egress of its interface: writes every field that a program may write
 * read_fields	at the host side: records them in `packets`, by enum field
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define MARKED_BYTES	 777
#define TC_ACT_OK	 0
#define PACKET_MULTICAST 2

enum field { MARK, PRIORITY, QUEUE_MAPPING, TSTAMP, HASH, TC_INDEX, CB, PKT_TYPE, FIELD_COUNT };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FIELD_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} packets SEC(".maps");

/* The harness fills it for programs that redirect. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} target SEC(".maps");

/* Volatile, because the verifier refuses stores that the compiler merged. */
SEC("tc")
int write_fields(struct __sk_buff *context)
{
	volatile struct __sk_buff *skb = context;

	if (skb->len != MARKED_BYTES)
		return TC_ACT_OK;
	skb->mark = 0x51;
	skb->priority = 0x52;
	skb->queue_mapping = 0x53;
	skb->tstamp = 0x54;
	bpf_set_hash(context, 0x55);
	skb->tc_classid = 0x56; /* the kernel copies it into tc_index */
	skb->cb[0] = 0x57;
	bpf_skb_change_type(context, PACKET_MULTICAST);
	return TC_ACT_OK;
}

static __always_inline void record(__u32 field, __u64 value)
{
	bpf_map_update_elem(&packets, &field, &value, BPF_ANY);
}

SEC("tcx/ingress")
int read_fields(struct __sk_buff *skb)
{
	if (skb->len != MARKED_BYTES)
		return -1;
	record(MARK, skb->mark);
	record(PRIORITY, skb->priority);
	record(QUEUE_MAPPING, skb->queue_mapping);
	record(TSTAMP, skb->tstamp);
	record(HASH, skb->hash);
	record(TC_INDEX, skb->tc_index);
	record(CB, skb->cb[0]);
	record(PKT_TYPE, skb->pkt_type);
	return -1;
}

char _license[] SEC("license") = "Dual BSD/GPL";
