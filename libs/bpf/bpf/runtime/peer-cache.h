/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Cache of addresses to which a connect was allowed without any effect: nothing counted, and no rule
 * with a source met.
 *
 * Place in the data path: net.h → here → rt_peers. A hit allows; everything else decides as without
 * this file. docs/adr/0035-cache-of-addresses.md lists what a decision reads, and why a change is
 * noticed before the next decision.
 * Invariant: an entry is of one container, one address, and the epoch of the policies from before the
 * decision that filled it.
 * The map is the program's own: it is not pinned, so that a program that replaces another one finds
 * nothing that the other one allowed.
 * Limits: PEER_SLOTS for the node; a pod that connects to many addresses makes others miss.
 */
#ifndef BAILIFF_RUNTIME_PEER_CACHE_H
#define BAILIFF_RUNTIME_PEER_CACHE_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/types.h>

#include "cache.h"
#include "decide.h"
#include "identity.h"
#include "sample.h"

#define PEER_SLOT_BITS 12
#define PEER_SLOTS     (1 << PEER_SLOT_BITS)

/* `lock` covers all fields. */
struct rt_peer {
	struct bpf_spin_lock lock;
	__u32 bound; /* TASK_BOUND of the task */
	__u64 epoch; /* 0: empty */
	__u64 pod[2];
	__u64 cgroup_id;
	__u64 address[2];
	__u16 port;
	__u16 protocol;
	__u32 op;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PEER_SLOTS);
	__type(key, __u32);
	__type(value, struct rt_peer);
} rt_peers SEC(".maps");

static __always_inline void read_peer(struct rt_peer *peer, const struct policy_ctx *policy,
				      __u64 epoch, const struct endpoint *endpoint, enum op op)
{
	__builtin_memcpy(peer->pod, &policy->pod, sizeof(peer->pod));
	__builtin_memcpy(peer->address, endpoint->address, sizeof(peer->address));
	peer->bound = policy->task->flags & TASK_BOUND;
	peer->epoch = epoch;
	peer->cgroup_id = policy->container_cgroup_id;
	peer->port = endpoint->port;
	peer->protocol = endpoint->protocol;
	peer->op = op;
	if (leaves_out(CHECK_EPOCH))
		peer->epoch = CACHE_EPOCH_CHANGING;
	if (leaves_out(CHECK_BOUND))
		peer->bound = 0;
	if (leaves_out(CHECK_CONTAINER))
		peer->pod[0] = peer->pod[1] = peer->cgroup_id = 0;
	if (leaves_out(CHECK_ADDRESS))
		peer->address[0] = peer->address[1] = peer->port = 0;
	if (leaves_out(CHECK_OPS))
		peer->op = peer->protocol = 0;
}

static __always_inline struct rt_peer *slot_of_peer(const struct rt_peer *peer)
{
	__u64 sum = peer->address[0] ^ peer->address[1] ^ peer->pod[0] ^ peer->cgroup_id ^
		    (peer->port | peer->protocol << 16);
	__u32 index = sum * GOLDEN_RATIO >> (64 - PEER_SLOT_BITS);

	return bpf_map_lookup_elem(&rt_peers, &index);
}

static __noinline bool is_known_peer(const struct policy_ctx *policy, __u64 epoch,
				     const struct endpoint *endpoint, enum op op)
{
	struct rt_peer *known, peer;
	bool found;

	read_peer(&peer, policy, epoch, endpoint, op);
	known = slot_of_peer(&peer);
	if (!known || !peer.epoch)
		return false;
	bpf_spin_lock(&known->lock);
	found = known->epoch == peer.epoch && known->bound == peer.bound &&
		known->pod[0] == peer.pod[0] && known->pod[1] == peer.pod[1] &&
		known->cgroup_id == peer.cgroup_id && known->address[0] == peer.address[0] &&
		known->address[1] == peer.address[1] && known->port == peer.port &&
		known->protocol == peer.protocol && known->op == peer.op;
	bpf_spin_unlock(&known->lock);
	return found;
}

/*
 * After a decision without effect. If policies changed meanwhile, the entry is of an epoch that has
 * ended, and is never found.
 */
static __noinline void remember_peer(const struct policy_ctx *policy, __u64 epoch,
				     const struct endpoint *endpoint, enum op op)
{
	struct rt_peer *known, peer;

	read_peer(&peer, policy, epoch, endpoint, op);
	known = slot_of_peer(&peer);
	if (!known || !is_own(policy->task))
		return;
	bpf_spin_lock(&known->lock);
	known->bound = peer.bound;
	known->epoch = peer.epoch;
	known->pod[0] = peer.pod[0];
	known->pod[1] = peer.pod[1];
	known->cgroup_id = peer.cgroup_id;
	known->address[0] = peer.address[0];
	known->address[1] = peer.address[1];
	known->port = peer.port;
	known->protocol = peer.protocol;
	known->op = peer.op;
	bpf_spin_unlock(&known->lock);
}

#endif
