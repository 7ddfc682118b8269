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
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

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
	enum fastpath_shape fastpath_shape;
	enum sample_flag sample_flag;
	enum loss loss;
	struct spoof_sample spoof_sample;
};
const union abi_types *abi_types __attribute__((unused));

static __always_inline void count_seen(__u32 slot)
{
	__u64 *count = bpf_map_lookup_elem(&seen, &slot);

	if (count)
		(*count)++;
}

static __noinline int handle_missing_record(void)
{
	const struct settings *set = read_settings();

	count_loss(LOSS_NO_IFACE);
	return set && set->unknown_mode == MODE_ENFORCE ? TCX_DROP : TCX_NEXT;
}

SEC("tcx/ingress")
int spoof_ingress(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex, slot = plain_slot(skb, ifindex);
	const struct iface *iface;
	struct packet packet;

	if (slot != NO_SLOT) {
		count_seen(slot);
		return TCX_NEXT;
	}
	iface = bpf_map_lookup_elem(&ifaces, &ifindex);
	if (!iface)
		return handle_missing_record();
	count_seen(iface->slot);
	packet = (struct packet){ .end = skb->len };
	parse_frame(skb, &packet);
	check_frame(skb, iface, &packet);
	check_offload(skb, &packet);
	if (iface->state == STATE_UNKNOWN)
		packet.violations = VECTOR_BIT(VECTOR_UNKNOWN_INTERFACE);
	if (is_quarantined(iface) && !is_exempt_from_pod(skb, iface, &packet))
		packet.violations |= VECTOR_BIT(VECTOR_QUARANTINE_INGRESS);
	if (!packet.violations)
		return TCX_NEXT;
	return apply_modes(skb, iface, &packet, 0);
}

SEC("tcx/egress")
int spoof_egress(struct __sk_buff *skb)
{
	struct packet packet = { .end = skb->len };
	__u32 ifindex = skb->ifindex;
	const struct iface *iface = bpf_map_lookup_elem(&ifaces, &ifindex);

	if (!iface || !is_quarantined(iface))
		return TCX_NEXT;
	parse_frame(skb, &packet);
	check_offload(skb, &packet);
	if (is_exempt_to_pod(skb, iface, &packet))
		return TCX_NEXT;
	packet.violations = VECTOR_BIT(VECTOR_QUARANTINE_EGRESS);
	return apply_modes(skb, iface, &packet, SAMPLE_EGRESS);
}

char _license[] SEC("license") = "Dual BSD/GPL";
