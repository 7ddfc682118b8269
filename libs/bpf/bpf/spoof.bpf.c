#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include "events.h"
union address { __u8 bytes[16]; __be32 words[4]; __u64 halves[2]; };
#include "maps.h"
const enum vector *unused_vector __attribute__((unused));
const enum mode *unused_mode __attribute__((unused));
const enum action *unused_action __attribute__((unused));
const enum iface_state *unused_state __attribute__((unused));
const enum tunnel_kind *unused_tk __attribute__((unused));
const enum loss *unused_loss __attribute__((unused));
const enum abi *u1; const enum iface_flag *u2; const enum address_flag *u3; const enum sample_flag *u4;
const struct spoof_sample *unused_s __attribute__((unused));
SEC("tcx/ingress") int spoof_ingress(struct __sk_buff *skb) { return skb->len ? -1 : 2; }
SEC("tcx/egress") int spoof_egress(struct __sk_buff *skb) { return skb->len ? -1 : 2; }
char _license[] SEC("license") = "GPL";
