/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What the kernel programs and user space share: enums, map keys and values, and the ring record.
 *
 * Every struct here has a fixed layout without implicit padding (checked at build time against the object's
 * BTF by libs/bpf/src/spoof/layout.gen.ts). Integers are host order unless the name or type says __be.
 * Addresses are always 16 bytes: IPv6 as it is, IPv4 as ::ffff:a.b.c.d. Times are CLOCK_BOOTTIME nanoseconds.
 * Identity maps are written by user space only; counter maps by the kernel only, and only ever grow.
 */
#ifndef BAILIFF_EVENTS_H
#define BAILIFF_EVENTS_H

#include <linux/bpf.h>
#include <linux/types.h>

/* Grows when a layout or the meaning of a field changes; kept in `meta`, so that pinned maps of another ABI are known. */
enum abi { BAILIFF_ABI = 1 };

/*
 * Vectors: what a packet can be judged for. Order is ABI: append only. Names in user space: libs/policy VECTORS.
 * The order is the precedence too: of the vectors one packet breaks, the first that is enforced is the one it is
 * dropped and counted for; the first audited one before it is counted as well, so audit never hides enforce.
 */
enum vector {
	VECTOR_IPV4_SOURCE,
	VECTOR_IPV6_SOURCE,
	VECTOR_SOURCE_MAC,
	VECTOR_ARP_SENDER,
	VECTOR_ND_TARGET,
	VECTOR_ROUTER_ADVERT,
	VECTOR_REDIRECT,
	VECTOR_DHCP_SERVER,
	VECTOR_SOURCE_ROUTE,
	VECTOR_MALFORMED,
	VECTOR_TUNNEL,		/* towards a node address */
	VECTOR_TUNNEL_OTHER,	/* towards any other address */
	VECTOR_VLAN_TAG,
	VECTOR_ETHERTYPE,
	VECTOR_DHCP_CLIENT,
	VECTOR_LINK_LOCAL,
	VECTOR_QUARANTINE_INGRESS,	/* what a quarantined pod sends */
	VECTOR_QUARANTINE_EGRESS,	/* what a quarantined pod would receive */
	VECTOR_UNKNOWN_INTERFACE,	/* STATE_UNKNOWN, judged by settings.unknown_mode instead of the other vectors */
	VECTOR_CHECKSUM_OFFLOAD,	/* a checksum left to the kernel that would change the frame that was judged */
	VECTOR_COUNT,
};
#define VECTOR_SLOTS 24		/* room for vectors to come without a new layout */

enum mode { MODE_OFF, MODE_AUDIT, MODE_ENFORCE };
enum action { ACTION_AUDIT, ACTION_DROP, ACTION_COUNT };
enum iface_state { STATE_UNKNOWN, STATE_PROVISIONAL, STATE_PROGRAMMED, STATE_COUNT };

enum iface_flag {
	IFACE_HAS_MAC = 1 << 0,
	IFACE_HAS_IPV4 = 1 << 1,
	IFACE_HAS_IPV6 = 1 << 2,
	IFACE_HAS_MORE = 1 << 3,	/* further addresses or allowed prefixes are in `addresses` */
	IFACE_TEARDOWN = 1 << 4,	/* reserved for user space */
};

/*
 * ifaces: hash, key __u32 ifindex. The whole record is replaced in one update.
 * Without IFACE_HAS_MAC nothing that compares MACs is judged, and no link-local address is the pod's by its MAC.
 */
struct iface {
	__u32 generation;	/* never 0; unique for the life of the pinned maps */
	__u32 slot;		/* index into `seen` and `buckets`; unique among live records */
	__u8 state;		/* enum iface_state */
	__u8 flags;		/* IFACE_* */
	__u8 mac[6];
	__be32 ipv4;
	__u16 sample_burst;	/* 0 = as settings; likewise the rate */
	__u16 samples_per_second;
	__u8 ipv6[16];
	__u8 modes[VECTOR_SLOTS];	/* enum mode by vector: already merged from cluster, namespace and pod */
	__u64 quarantine_until_ns;	/* 0 = not quarantined; ~0 = until lifted */
	__u64 audit_until_ns;	/* break-glass: until then every enforce is judged as audit; 0 = armed */
};

/*
 * cards: array, index ifindex % CARD_COUNT. What a plain packet of an interface says of itself, for fast.h. A copy of what its
 * record says, there only while the record is in force: user space withdraws the card, writes the record, and deals the card
 * anew. Two interfaces of one index: the one dealt last has the card, the other goes the whole way, as does one without a card.
 *
 * An array's value is not replaced in one step, so every word has the same tag in its upper 16 bits, another with each
 * writing: words of two writings do not fit together, and then there is no card. Needs words to be written whole, which
 * memcpy does with aligned ones, and no order between them.
 */
enum fastpath_shape {
	FASTPATH_SLOT_SHIFT = 32,	/* in `interface`, 16 bits */
	FASTPATH_HAS_SHIFT = 32,	/* in `ipv4` and the last word of `ipv6`, a bit: there is such an address */
	FASTPATH_TAG_SHIFT = 48,
	FASTPATH_COUNT = 4096,	/* of 250 interfaces made over a long time, some seven find their place taken */
};

struct fastpath_entry {
	__u64 interface;	/* ifindex; 0: no card here */
	__u64 mac;		/* bytes in their order, lowest first; likewise below */
	__u64 ipv4;
	__u64 ipv6[3];		/* 6, 6 and 4 bytes */
};

/*
 * addresses: LPM trie. prefixlen counts from `ifindex`: 64 + (IPv4: 96 + len, IPv6: len). Value __u32, ADDRESS_*.
 * The family is in the value because ::/0 would hold every IPv4 address too. The longest match decides alone.
 */
enum address_flag {
	ADDRESS_SOURCE = 1 << 0,	/* may be the source of a packet: own addresses and allowed prefixes */
	ADDRESS_NEIGHBOUR = 1 << 1,	/* may also be claimed in ARP and ND: own addresses only, not what a pod routes */
	ADDRESS_IPV4 = 1 << 2,
	ADDRESS_IPV6 = 1 << 3,
};

struct address_key {
	__u32 prefixlen;
	__u32 ifindex;
	__u32 generation;
	__u8 address[16];
};

/* counters: hash, no eviction, entry created zeroed by user space before attach, deleted after the final read was acked. */
struct counter_key {
	__u32 ifindex;
	__u32 generation;
};

struct counter_cell {
	__u64 packets;	/* max(1, gso_segs) a skb */
	__u64 skbs;
	__u64 bytes;
};

struct counters {
	struct counter_cell cells[VECTOR_SLOTS][ACTION_COUNT][STATE_COUNT];
};

/* seen: per-CPU array by slot, __u64 skbs that entered spoof_ingress, dropped ones too; never reset. */

/* buckets: array by slot: what bounds samples per interface. Kernel only. */
struct bucket {
	__u64 refilled_ns;
	__u32 tokens;
	__u32 generation;	/* differs from the record's: the bucket starts afresh */
	__u32 sampled_vectors;	/* bit per vector: the first violation of each vector is sampled without a token */
#ifdef __bpf__
	struct bpf_spin_lock lock;
#else
	__u32 lock;
#endif
};

/* settings: array of one, written by user space. */
struct settings {
	__u32 sample_burst;	/* samples an interface may send at once, when its record says nothing */
	__u32 samples_per_second;	/* refill rate per interface */
	__u8 unknown_mode;	/* enum mode for STATE_UNKNOWN interfaces and for packets whose record is missing */
	__u8 reserved[7];
};

/* meta: array of one, user space only; pinned so that it survives the process. */
struct meta {
	__u64 frame_sequence;	/* last one given out */
	__u32 next_generation;
	__u32 abi;
};

/* node_addresses: hash, key 16 bytes, addresses of all cluster nodes (VECTOR_TUNNEL). Value __u32: 1 = another node, 2 = this node. */

/* tunnel_ports: array by UDP destination port / 64, a bit for each port and kind: looked at for every UDP packet. */
struct tunnel_ports {
	__u64 vxlan;
	__u64 geneve;
};

/* allowed_cidrs: LPM trie, what a quarantined pod may still exchange packets with. Value __u32 ADDRESS_IPV4 or ADDRESS_IPV6. */
struct cidr_key {
	__u32 prefixlen;
	__u8 address[16];
};

/* probe_ports: hash, ports on which this node may still probe a quarantined pod. Value __u32 1. */
struct probe_key {
	__u32 ifindex;
	__u32 generation;
	__be16 port;
	__u8 protocol;	/* IPPROTO_TCP or IPPROTO_UDP */
	__u8 reserved;
};

/* losses: per-CPU array of __u64 by enum loss. Only grow. */
enum loss {
	LOSS_RING_FULL,		/* a sample was due and the ring had no room */
	LOSS_NO_COUNTER,	/* a violation found no counters entry */
	LOSS_NO_IFACE,		/* a packet from the pod found no iface record */
	LOSS_COUNT,
};

#define SAMPLE_HEAD_BYTES 64
enum sample_flag {
	SAMPLE_EGRESS = 1 << 0,	/* seen at tcx egress (quarantine), not ingress */
	SAMPLE_FIRST = 1 << 1,	/* first violation of this vector on this interface generation */
	SAMPLE_ADDRESSES = 1 << 2,	/* claimed and destination address were read from the packet */
};

/* Ring record. */
struct spoof_sample {
	__u64 boottime_ns;
	__u64 cgroup_id;	/* 0 = the kernel had no socket */
	__u64 socket_cookie;	/* 0 likewise */
	__u32 ifindex;
	__u32 generation;
	__u32 length;		/* skb->len */
	__u32 gso_segments;	/* max(1, gso_segs) */
	__u8 vector;
	__u8 action;
	__u8 state;
	__u8 flags;		/* SAMPLE_* */
	__u8 l4_protocol;
	__u8 head_length;
	__be16 ether_type;	/* behind any in-band tags; < 0x600: an LLC length */
	__be16 source_port;	/* TCP and UDP, 0 otherwise */
	__be16 destination_port;
	__u8 claimed_mac[6];	/* Ethernet source */
	__u8 expected_mac[6];
	__u8 claimed_address[16];	/* source; ARP: sender; nd-target: the target. */
	__u8 expected_address[16];	/* the record's first of that family */
	__u8 destination_address[16];	/* destination; ARP: target */
	__u8 head[SAMPLE_HEAD_BYTES];
};

#endif
