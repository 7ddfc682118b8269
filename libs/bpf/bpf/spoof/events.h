/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Types that the packet programs and user space share: enums, map keys and values, the ring record.
 *
 * The build checks each struct against the object's BTF and libs/bpf/src/spoof/layout.gen.ts: fixed
 * layout, no implicit padding. Integers are in host order unless the type is __be. Addresses have
 * 16 bytes: IPv6 as it is, IPv4 as ::ffff:a.b.c.d. Times are CLOCK_BOOTTIME nanoseconds.
 * Only user space writes identity maps. Only the kernel writes counter maps, and counters never
 * decrease.
 */
#ifndef BAILIFF_EVENTS_H
#define BAILIFF_EVENTS_H

#include <linux/bpf.h>
#include <linux/types.h>

/*
 * Increase it when a layout or the meaning of a field changes. `meta` stores it, so that user space
 * recognises pinned maps of another ABI.
 */
enum abi { BAILIFF_ABI = 2 };

/*
 * Vectors: kinds of violations. Order is ABI: append only. Names in user space: libs/vocabulary
 * VECTORS.
 * The order is the precedence too, with one exception (vector_at() in report.h). A packet that
 * violates several vectors is dropped and counted for the first one in mode enforce. It is also
 * counted for the first one in mode audit before that, so an audited vector never hides an enforced
 * one.
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
	VECTOR_TUNNEL,	     /* to an address that may be a node's or another pod's */
	VECTOR_TUNNEL_OTHER, /* to an address outside the cluster */
	VECTOR_VLAN_TAG,
	VECTOR_ETHERTYPE,
	VECTOR_DHCP_CLIENT,
	VECTOR_LINK_LOCAL,
	VECTOR_QUARANTINE_INGRESS, /* from a quarantined pod */
	VECTOR_QUARANTINE_EGRESS,  /* to a quarantined pod */
	VECTOR_UNKNOWN_INTERFACE,  /* STATE_UNKNOWN; its mode is settings.unknown_mode */
	VECTOR_CHECKSUM_OFFLOAD,   /* a checksum that the kernel would write elsewhere */
	VECTOR_GUARD_BYPASS, /* marked so that the host side would not judge it; found at the pod's end */
	VECTOR_ROUTER_PROTOCOL, /* what only queriers and routers send */
	VECTOR_ORPHANED,	/* IFACE_ORPHANED, whatever the packet is */
	VECTOR_PROVOCATION,	/* to the pod, whose answer would be dropped */
	VECTOR_OTHER_INTERFACE, /* with an address that another interface of the pod has */
	VECTOR_COUNT,
};
#define VECTOR_SLOTS 32 /* spare slots, so that new vectors need no new layout */

enum mode { MODE_OFF, MODE_AUDIT, MODE_ENFORCE };
enum action { ACTION_AUDIT, ACTION_DROP, ACTION_COUNT };
enum iface_state { STATE_UNKNOWN, STATE_PROVISIONAL, STATE_PROGRAMMED, STATE_COUNT };

enum iface_flag {
	IFACE_HAS_MAC = 1 << 0,
	IFACE_HAS_IPV4 = 1 << 1,
	IFACE_HAS_IPV6 = 1 << 2,
	IFACE_HAS_MORE = 1 << 3, /* `addresses` has further addresses or prefixes */
	IFACE_TEARDOWN = 1 << 4, /* reserved for user space */
	IFACE_ORPHANED =
		1 << 5, /* its pod has ended: each packet from it violates VECTOR_ORPHANED */

	IFACE_NETKIT = 1 << 6, /* its link counts a frame as received once the guard passed it */
};

/*
 * ifaces: hash, key __u32 ifindex. One update replaces the whole record.
 * Without IFACE_HAS_MAC no MAC is compared, and no link-local address is derived from the MAC.
 */
struct iface {
	__u32 generation; /* never 0; unique for the life of the pinned maps */
	__u32 slot;	  /* index into `seen` and `buckets`; unique among live records */
	__u8 state;	  /* enum iface_state */
	__u8 flags;	  /* IFACE_* */
	__u8 mac[6];
	__be32 ipv4;
	__u16 sample_burst; /* 0: as in settings; same for the rate */
	__u16 samples_per_second;
	__u8 ipv6[16];
	__u8 modes[VECTOR_SLOTS];  /* enum mode by vector, merged from all scopes */
	__u64 quarantine_until_ns; /* 0: not quarantined; ~0: no end */
	__u64 audit_until_ns;	   /* break-glass: enforce acts as audit until then; 0: none */
};

/*
 * cards: array, index ifindex % FASTPATH_COUNT. The fast-path cache, which fastpath.h reads. An
 * entry is a copy of a record and exists only while the record is in force: user space invalidates
 * the entry, writes the record, and publishes a new entry. Of two interfaces with one index, the
 * one published last has the entry. The other one uses the slow path, as does an interface without
 * entry.
 *
 * An array value is not replaced atomically. All words of an entry therefore have the same tag in
 * the upper 16 bits, and each write uses another tag. Words of two writes do not match, which means
 * no entry. This needs whole words, which memcpy writes when they are aligned, and no order between
 * them.
 */
enum fastpath_shape {
	FASTPATH_SLOT_SHIFT = 32, /* in `interface`, 16 bits */
	FASTPATH_HAS_SHIFT = 32,  /* bit in `ipv4` and `ipv6[2]`: there is an address */
	FASTPATH_TAG_SHIFT = 48,
	FASTPATH_COUNT = 4096, /* of 250 interfaces, about seven share an index */
};

struct fastpath_entry {
	__u64 interface; /* ifindex; 0: no entry */
	__u64 mac;	 /* bytes in network order, lowest first; same below */
	__u64 ipv4;
	__u64 ipv6[3]; /* 6, 6 and 4 bytes */
};

/*
 * addresses: LPM trie. prefixlen counts from `ifindex`: 64 + (IPv4: 96 + length, IPv6: length).
 * Value __u32, ADDRESS_*. The value has the family because ::/0 covers every IPv4 address too. Only
 * the longest match counts. A granted MAC is the last six bytes of an address in ff00::/8, which is
 * never a source: no packet with an IP address finds it.
 */
enum address_flag {
	ADDRESS_SOURCE = 1 << 0,    /* valid source: own addresses and allowed prefixes */
	ADDRESS_NEIGHBOUR = 1 << 1, /* may be claimed in ARP and ND: own addresses only */
	ADDRESS_IPV4 = 1 << 2,
	ADDRESS_IPV6 = 1 << 3,
	ADDRESS_MAC = 1 << 4,	 /* a further MAC of the pod */
	ADDRESS_TUNNEL = 1 << 5, /* destination that the pod may send tunnels to */
	ADDRESS_OTHER =
		1 << 6, /* another interface of the pod has it: no right, VECTOR_OTHER_INTERFACE */
};

struct address_key {
	__u32 prefixlen;
	__u32 ifindex;
	__u32 generation;
	__u8 address[16];
};

/*
 * counters: hash without eviction. User space creates a zeroed entry before the attach and deletes
 * it after the last count is acknowledged.
 */
struct counter_key {
	__u32 ifindex;
	__u32 generation;
};

struct counter_cell {
	__u64 packets; /* max(1, gso_segs) per skb */
	__u64 skbs;
	__u64 bytes;
};

struct counters {
	struct counter_cell cells[VECTOR_SLOTS][ACTION_COUNT][STATE_COUNT];
};

/*
 * seen: per-CPU array by slot, __u64 skbs that entered spoof_ingress, dropped ones included; never
 * reset. Those that spoof_redirected judged too.
 */

/* redirections: per-CPU array with one element, used by the programs only. */
struct redirection {
	__u64 device; /* address of the host side; 0: none */
	__u64 at_ns;  /* its low 16 bits: those of the interface index */
};

/*
 * buckets: array by slot, struct token_bucket (token-bucket.h). Bounds the samples per interface. Its
 * marks are VECTOR_BIT()s of sampled vectors: the first sample of each needs no token.
 */

/* settings: array with one element, written by user space. */
struct settings {
	__u32 sample_burst;	  /* burst of samples per interface without a burst of its own */
	__u32 samples_per_second; /* refill rate per interface */
	__u8 unknown_mode;	  /* enum mode for STATE_UNKNOWN and for packets without a record */
	__u8 reserved[7];
};

/* meta: array with one element, used by user space only; pinned, so it survives the process. */
struct meta {
	__u64 frame_sequence; /* last one allocated */
	__u32 next_generation;
	__u32 abi;
};

/*
 * node_addresses: hash, key 16 bytes, addresses of all cluster nodes (VECTOR_TUNNEL). Value __u32:
 * 1 = another node, 2 = this node.
 */

/*
 * networks: LPM trie, key struct cidr_key, value enum network. Where a packet to an address can end.
 * Only the longest match counts; an address without a match is outside.
 */
enum network { NETWORK_OUTSIDE, NETWORK_INSIDE, NETWORK_NODE };

/*
 * tunnel_ports: array by UDP destination port / 64, one bit per port and kind. Read for every UDP
 * packet. A port of a Service that nodes translate to a tunnel port has a bit too.
 */
struct tunnel_ports {
	__u64 vxlan;
	__u64 geneve;
};

/*
 * tunnel_services: hash, UDP address and port that nodes translate to a tunnel port. Value __u32
 * SERVICE_*. The entry of the address :: is of the port itself.
 */
struct service_key {
	__u8 address[16];
	__be16 port;
	__u8 reserved[2];
};

enum service_flag {
	SERVICE_TRANSLATED = 1 << 0, /* this address and port are translated to a tunnel port */
	SERVICE_NODE_PORT = 1 << 1,  /* of ::, the port is translated on all addresses of nodes */
	SERVICE_ONLY = 1 << 2, /* of ::, the port is a tunnel port only by entries of this map */
};

/*
 * allowed_cidrs: LPM trie, peers that a quarantined pod may still exchange packets with. Value
 * __u32 ADDRESS_IPV4 or ADDRESS_IPV6.
 */
struct cidr_key {
	__u32 prefixlen;
	__u8 address[16];
};

/* probe_ports: hash, ports on which this node may still probe a quarantined pod. Value __u32 1. */
struct probe_key {
	__u32 ifindex;
	__u32 generation;
	__be16 port;
	__u8 protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	__u8 reserved;
};

/* losses: per-CPU array of __u64 by enum loss. Values never decrease. */
enum loss {
	LOSS_RING_FULL,	 /* no room in the ring for a sample */
	LOSS_NO_COUNTER, /* no counters entry for a violation */
	LOSS_NO_IFACE,	 /* no record for a packet from a pod */
	LOSS_COUNT,
};

#define SAMPLE_HEAD_BYTES 64
enum sample_flag {
	SAMPLE_EGRESS = 1 << 0,	   /* at tcx egress (quarantine), not ingress */
	SAMPLE_FIRST = 1 << 1,	   /* first violation of the vector on this generation */
	SAMPLE_ADDRESSES = 1 << 2, /* claimed and destination address are set */
};

/* Ring record. */
struct spoof_sample {
	__u64 boottime_ns;
	__u64 cgroup_id;     /* 0: the kernel had no socket */
	__u64 socket_cookie; /* 0: likewise */
	__u32 ifindex;
	__u32 generation;
	__u32 length;	    /* skb->len */
	__u32 gso_segments; /* max(1, gso_segs) */
	__u8 vector;
	__u8 action;
	__u8 state;
	__u8 flags; /* SAMPLE_* */
	__u8 l4_protocol;
	__u8 head_length;
	__be16 ether_type;  /* after in-band tags; < 0x600: an LLC length */
	__be16 source_port; /* TCP and UDP, otherwise 0 */
	__be16 destination_port;
	__u8 claimed_mac[6]; /* Ethernet source */
	__u8 expected_mac[6];
	__u8 claimed_address[16];     /* source; ARP: sender; nd-target: target */
	__u8 expected_address[16];    /* first address of the family in the record */
	__u8 destination_address[16]; /* destination; ARP: target */
	__u8 head[SAMPLE_HEAD_BYTES];
};

#endif
