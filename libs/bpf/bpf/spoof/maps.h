/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Maps of the packet programs, each with its limit and what happens when it is full. events.h
 * describes keys and values.
 *
 * The sizes are defaults for 512 interfaces; user space may set others between open and load. All
 * maps are preallocated except the two tries, which the kernel cannot preallocate. An update of a
 * full map fails in user space with E2BIG or ENOSPC, and the collector reports it. The programs
 * insert nothing.
 */
#ifndef BAILIFF_MAPS_H
#define BAILIFF_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "events.h"
#include "packet.h"

/* Kubernetes' default limit is 110 pods per node; large clouds use up to 250. */
#define MAX_INTERFACES 512

/* One entry per guarded interface. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_INTERFACES);
	__type(key, __u32);
	__type(value, struct iface);
} ifaces SEC(".maps");

/*
 * The fast-path cache; `cards` is its pinned name. The index depends on the size, so it is fixed:
 * 192 KiB. An interface whose index is taken uses the slow path.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FASTPATH_COUNT);
	__type(key, __u32);
	__type(value, struct fastpath_entry);
} cards SEC(".maps");

/* 64 further addresses or prefixes per interface: MAX_GRANTS of the collector. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_INTERFACES * 64);
	__type(key, struct address_key);
	__type(value, __u32);
} addresses SEC(".maps");

/*
 * Twice the interfaces: an entry of a removed generation stays until its last count is
 * acknowledged.
 */
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
	__type(value, struct token_bucket);
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

/* 5,000 nodes, the tested limit of Kubernetes, with two or three addresses each. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, union address);
	__type(value, __u32);
} node_addresses SEC(".maps");

/*
 * As many nodes as a list has, 16,384, with two pod networks each, whose first two addresses are a
 * node's, and some thousand further networks. An entry takes memory only while it is there.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 131072);
	__type(key, struct cidr_key);
	__type(value, __u32);
} networks SEC(".maps");

/* Service ports that lead to a tunnel port are rare; one of them has about three addresses. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct service_key);
	__type(value, __u32);
} tunnel_services SEC(".maps");

/* One bit per port and kind. */
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

/* Only quarantined interfaces have entries, 32 ports each: MAX_PROBE_PORTS of the collector. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_INTERFACES * 32);
	__type(key, struct probe_key);
	__type(value, __u32);
} probe_ports SEC(".maps");

/* Id of the cgroup that contains the cgroups of all pods; 0: not known. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} pods_cgroup SEC(".maps");

/* The last redirection on this processor; see redirected.h. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct redirection);
} redirections SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LOSS_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} losses SEC(".maps");

/* 5,700 samples: the default burst of 512 interfaces while user space does not run. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} samples SEC(".maps");

#endif
