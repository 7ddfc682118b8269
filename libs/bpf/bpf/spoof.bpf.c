// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Proves who a pod is: drops, at the host side of its interface, every packet it sends under an identity that is not
 * its own; and cuts a quarantined pod off in both directions.
 *
 * spoof_ingress	tcx ingress of the host-side interface: what the pod sends. All vectors but quarantine-egress.
 * spoof_egress		tcx egress of the same: what the pod receives. Quarantine only.
 *
 * Both return TCX_NEXT on pass, so that whoever else is attached still sees the packet, and TCX_DROP on drop; the same
 * numbers are TC_ACT_UNSPEC and TC_ACT_SHOT, so the same programs serve a clsact qdisc. Runs with bottom halves off and
 * never sleeps. Needs Linux 6.6 under tcx, 5.12 (pointers to global functions) under clsact; docs/install.md says where
 * they were run. What the verifier of 6.1 cannot take: packet.h (forget), owner.h (node_at), libs/bpf/test/older-kernels.test.ts.
 *
 * Read on in this order: events.h (what is shared), maps.h, packet.h and network.h (parsing), owner.h, judge.h,
 * offload.h, fast.h (a short cut through the four before it), quarantine.h, report.h. What is judged is in rules.md.
 */
#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/types.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#ifndef IPPROTO_HOPOPTS
#define IPPROTO_HOPOPTS		0
#define IPPROTO_ROUTING		43
#define IPPROTO_FRAGMENT	44
#define IPPROTO_ICMPV6		58
#define IPPROTO_DSTOPTS		60
#endif
#ifndef IPPROTO_L2TP
#define IPPROTO_L2TP		115
#endif
#define IPPROTO_ETHERIP		97
#ifndef IPPROTO_ETHERNET
#define IPPROTO_ETHERNET	143
#endif

#include "spoof/events.h"
#include "spoof/packet.h"
#include "spoof/maps.h"
#include "spoof/network.h"
#include "spoof/owner.h"
#include "spoof/checks.h"
#include "spoof/offload.h"
#include "spoof/fastpath.h"
#include "spoof/report.h"
#include "spoof/quarantine.h"

/*
 * What user space reads from the BTF and no map mentions; an unused pointer keeps it there. User space does not create
 * the .bss map that the pointer would lie in.
 */
union abi_types {
	enum abi abi;
	enum vector vector;
	enum mode mode;
	enum action action;
	enum iface_state iface_state;
	enum iface_flag iface_flag;
	enum address_flag address_flag;
	enum card_shape card_shape;
	enum sample_flag sample_flag;
	enum loss loss;
	struct spoof_sample spoof_sample;
};
const union abi_types *abi_types __attribute__((unused));

static __always_inline void see(__u32 slot)
{
	__u64 *count = bpf_map_lookup_elem(&seen, &slot);

	if (count)
		(*count)++;
}

static __noinline int without_record(void)
{
	const struct settings *set = read_settings();

	lose(LOSS_NO_IFACE);
	return set && set->unknown_mode == MODE_ENFORCE ? VERDICT_DROP : VERDICT_PASS;
}

SEC("tcx/ingress")
int spoof_ingress(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex, slot = plain_slot(skb, ifindex);
	const struct iface *iface;
	struct packet packet;

	if (slot != NO_SLOT) {
		see(slot);
		return VERDICT_PASS;
	}
	iface = bpf_map_lookup_elem(&ifaces, &ifindex);
	if (!iface)
		return without_record();
	see(iface->slot);
	packet = (struct packet){ .end = skb->len };
	parse_frame(skb, &packet);
	judge_frame(skb, iface, &packet);
	judge_offload(skb, &packet);
	if (iface->state == STATE_UNKNOWN)
		packet.broken = BROKEN(VECTOR_UNKNOWN_INTERFACE);
	if (is_quarantined(iface) && !is_exempt_from_pod(skb, iface, &packet))
		packet.broken |= BROKEN(VECTOR_QUARANTINE_INGRESS);
	if (!packet.broken)
		return VERDICT_PASS;
	return settle(skb, iface, &packet, 0);
}

SEC("tcx/egress")
int spoof_egress(struct __sk_buff *skb)
{
	struct packet packet = { .end = skb->len };
	__u32 ifindex = skb->ifindex;
	const struct iface *iface = bpf_map_lookup_elem(&ifaces, &ifindex);

	if (!iface || !is_quarantined(iface))
		return VERDICT_PASS;
	parse_frame(skb, &packet);
	judge_offload(skb, &packet);
	if (is_exempt_to_pod(skb, iface, &packet))
		return VERDICT_PASS;
	packet.broken = BROKEN(VECTOR_QUARANTINE_EGRESS);
	return settle(skb, iface, &packet, SAMPLE_EGRESS);
}

char _license[] SEC("license") = "Dual BSD/GPL";
