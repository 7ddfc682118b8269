// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Drops packets that a pod sends under an identity that is not its own, and isolates a
 * quarantined pod in both directions.
 *
 * spoof_ingress	tcx ingress of the host-side interface: packets from the pod, all vectors
 * 		except quarantine-egress. On a netkit device BPF_NETKIT_PEER of the primary
 * 		end, where skb->ifindex is the primary's too
 * spoof_egress	tcx egress of the same interface: packets to the pod, quarantine, shared memory and provocation only
 * spoof_pod_end	tcx egress of a veth's other end, in the network namespace of the pod: frames that
 * 		would pass the host side unseen
 * spoof_redirected	tcx ingress of a netkit pair's host side: frames that passed the guard unseen
 * note_peer	end of netkit_peer_dev(): notes them for spoof_redirected
 *
 * They return TCX_NEXT to pass, so that other programs of the chain still see the packet, and
 * TCX_DROP to drop. TC_ACT_UNSPEC and TC_ACT_SHOT have the same values, as NETKIT_NEXT and
 * NETKIT_DROP, so the same programs serve a clsact qdisc and netkit. They run with bottom halves
 * disabled and never sleep.
 * They need Linux 6.6 for tcx, or 5.12 (pointers to global functions) for clsact. docs/install.md
 * lists the kernels that were tried. The limits of the verifier of 6.1 are explained at
 * hide_bounds() and find_node_address().
 * A __noinline function that is not static is a global function. The verifier checks it once, and
 * knows nothing about its arguments. Such functions therefore check pointers that cannot be NULL,
 * and return int instead of bool.
 * Read in this order: events.h, maps.h, packet.h, linear-part.h, own-copies.h, joined.h, network.h, owner.h, tunnels.h, dhcp.h,
 * routers.h, icmp-error.h, checks.h, offload.h, fastpath.h, report.h, node-socket.h, quarantine.h, provocation.h,
 * pod-end.h, redirected.h.
 * rules.md specifies all checks.
 */
#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#include "spoof/events.h"
#include "spoof/packet.h"
#include "spoof/linear-part.h"
#include "spoof/own-copies.h"
#include "spoof/maps.h"
#include "spoof/network.h"
#include "spoof/owner.h"
#include "spoof/checks.h"
#include "spoof/offload.h"
#include "spoof/fastpath.h"
#include "spoof/report.h"
#include "spoof/quarantine.h"
#include "spoof/provocation.h"
#ifndef WITHOUT_OFFLOAD
#include "spoof/pod-end.h"
#include "spoof/redirected.h"
#endif

/*
 * Types that user space reads from the BTF and that no map has. The unused pointer keeps them in
 * the BTF. User space does not create the .bss map that would hold the pointer.
 */
union abi_types {
	enum abi abi;
	enum vector vector;
	enum mode mode;
	enum action action;
	enum iface_state iface_state;
	enum iface_flag iface_flag;
	enum address_flag address_flag;
	enum network network;
	enum service_flag service_flag;
	enum fastpath_shape fastpath_shape;
	enum sample_flag sample_flag;
	enum loss loss;
	struct spoof_sample spoof_sample;
};
const union abi_types *abi_types __attribute__((unused));

SEC("tcx/ingress")
int spoof_ingress(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex,
	      slot = own_linear_part(skb) ? plain_slot(skb, ifindex) : NO_SLOT;
	const struct iface *iface;
	struct packet packet;

	if (slot != NO_SLOT) {
		count_seen(slot);
		return TCX_NEXT;
	}
	if (is_own_copy(skb))
		return TCX_NEXT;
	iface = bpf_map_lookup_elem(&ifaces, &ifindex);
	if (!iface)
		return handle_missing_record();
	count_seen(iface->slot);
	packet = (struct packet){ .ifindex = ifindex, .end = skb->len };
	parse_from_pod(skb, &packet);
	check_frame(skb, iface, &packet);
	check_offload(skb, &packet);
	keep_interface(skb, &packet);
	if (iface->state == STATE_UNKNOWN)
		packet.violations = VECTOR_BIT(VECTOR_UNKNOWN_INTERFACE);
	if (iface->flags & IFACE_ORPHANED)
		packet.violations |= VECTOR_BIT(VECTOR_ORPHANED);
	if (is_quarantined(iface) && !is_exempt_from_pod(skb, iface, &packet))
		packet.violations |= VECTOR_BIT(VECTOR_QUARANTINE_INGRESS);
	if (!packet.violations)
		return TCX_NEXT;
	return apply_modes(skb, iface, &packet, 0);
}

SEC("tcx/egress")
int spoof_egress(struct __sk_buff *skb)
{
	struct packet packet = { .ifindex = skb->ifindex, .end = skb->len };
	const struct iface *iface = bpf_map_lookup_elem(&ifaces, &packet.ifindex), *sender = NULL;
	__u32 violations = 0;
	bool quarantined;

	/* The same memory may go to other pods, whose frame this pod's kernel would rewrite. */
	if (!own_linear_part(skb))
		return TCX_DROP;
	if (!iface)
		return TCX_NEXT;
	quarantined = is_quarantined(iface);
	if (quarantined || !is_plain_unicast(skb, iface))
		sender = find_sender(skb);
	if (sender && is_quarantined(sender) && !is_allowed_pod(iface) &&
	    judge_from_quarantine(skb, sender) == TCX_DROP)
		return TCX_DROP;
	if (!quarantined && is_plain_to_pod(skb, iface))
		return TCX_NEXT;
	parse_to_pod(skb, &packet);
	check_offload(skb, &packet);
	if (is_provocation(skb, iface, &packet))
		violations |= VECTOR_BIT(VECTOR_PROVOCATION);
	if (quarantined && !is_exempt_to_pod(skb, iface, sender, &packet))
		violations |= VECTOR_BIT(VECTOR_QUARANTINE_EGRESS);
	if (!violations)
		return TCX_NEXT;
	packet.violations = violations;
	return apply_modes(skb, iface, &packet, SAMPLE_EGRESS);
}

#ifndef WITHOUT_OFFLOAD

SEC("tcx/egress")
int spoof_pod_end(struct __sk_buff *skb)
{
	return skips_host_side(skb) ? judge_bypass(skb) : TCX_NEXT;
}

SEC("tcx/ingress")
int spoof_redirected(struct __sk_buff *skb)
{
	return is_redirected(skb) ? judge_redirected(skb) : TCX_NEXT;
}

/* Loaded where the kernel has the function. */
SEC("?fexit/netkit_peer_dev")
int note_peer(__u64 *values)
{
	/* Behind the argument of the function, its result. */
	note_redirection((const struct net_device *)values[1]);
	return 0;
}

#endif

char _license[] SEC("license") = "Dual BSD/GPL";
