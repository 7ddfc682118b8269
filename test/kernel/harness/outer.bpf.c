// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * In a pod, at egress of its interface: removes the headers of a datagram to CARRIER_PORT, so that
 * its payload leaves as a frame. Only the Ethernet header of that frame is in the linear part; the
 * rest stays in the pages that the sender wrote. Tunnels of the kernel leave more or less there.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define CARRIER_PORT 9999
#define OUTER_BYTES  28 /* IPv4 and UDP */

SEC("tc")
int remove_outer(struct __sk_buff *skb)
{
	struct ethhdr inner;
	__be16 port;
	__u64 flags;

	if (skb->protocol != bpf_htons(ETH_P_IP) ||
	    bpf_skb_load_bytes(skb, ETH_HLEN + 22, &port, sizeof(port)) ||
	    port != bpf_htons(CARRIER_PORT) ||
	    bpf_skb_load_bytes(skb, ETH_HLEN + OUTER_BYTES, &inner, sizeof(inner)))
		return TC_ACT_OK;
	/* netkit keeps the protocol of the metadata. The flag is in Linux 6.3. */
	flags = inner.h_proto == bpf_htons(ETH_P_IPV6) ? BPF_F_ADJ_ROOM_DECAP_L3_IPV6 : 0;
	if ((bpf_skb_adjust_room(skb, -(OUTER_BYTES + ETH_HLEN), BPF_ADJ_ROOM_MAC, flags) &&
	     bpf_skb_adjust_room(skb, -(OUTER_BYTES + ETH_HLEN), BPF_ADJ_ROOM_MAC, 0)) ||
	    bpf_skb_store_bytes(skb, 0, &inner, sizeof(inner), 0))
		return TC_ACT_SHOT;
	return TC_ACT_OK;
}

char _license[] SEC("license") = "Dual BSD/GPL";
