/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The maps, each with what bounds it and what happens when it is full. Keys and values are described in events.h.
 *
 * Sizes are the defaults for 512 interfaces; user space sets others between open and load. Everything is allocated
 * up front except the two tries, whose kernel implementation cannot. A full map makes the update in user space fail
 * with E2BIG or ENOSPC there, where it is reported; the kernel side never inserts anything, so it never meets one.
 */
#ifndef BAILIFF_MAPS_H
#define BAILIFF_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "events.h"
#include "packet.h"

#define MAX_INTERFACES 512	/* Kubernetes' own ceiling is 110 pods a node, large clouds go to 250 */

/* One entry a guarded interface. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_INTERFACES);
	__type(key, __u32);
	__type(value, struct iface);
} ifaces SEC(".maps");

/* Fixed, as its size is in the index: 192 KiB. Who finds its place taken goes the whole way. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FASTPATH_COUNT);
	__type(key, __u32);
	__type(value, struct fastpath_entry);
} cards SEC(".maps");

/* 16 further addresses or prefixes an interface on average. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_INTERFACES * 16);
	__type(key, struct address_key);
	__type(value, __u32);
} addresses SEC(".maps");

/* Twice the interfaces: a generation that went keeps its entry until its last count is acknowledged. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_INTERFACES * 2);
	__type(key, struct counter_key);
	__type(value, struct counters);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_INTERFACES);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_INTERFACES);
	__type(key, __u32);
	__type(value, struct bucket);
} buckets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct settings);
} settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct meta);
} meta SEC(".maps");

/* 5,000 nodes, the size Kubernetes is tested to, with two or three addresses each. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, union address);
	__type(value, __u32);
} node_addresses SEC(".maps");

/* All ports there are. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536 / 64);
	__type(key, __u32);
	__type(value, struct tunnel_ports);
} tunnel_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1024);
	__type(key, struct cidr_key);
	__type(value, __u32);
} allowed_cidrs SEC(".maps");

/* Only quarantined interfaces have entries; eight ports each if all were. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_INTERFACES * 8);
	__type(key, struct probe_key);
	__type(value, __u32);
} probe_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LOSS_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} losses SEC(".maps");

/* 5,700 samples: what 512 interfaces may send at once under the default burst, while user space sleeps. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} samples SEC(".maps");

#endif
