/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The share of each pod, and of each container, in the maps that they fill.
 *
 * Place in the data path: state.h, identity.h, lifecycle.h, net.h → here → rt_shares, rt_born.
 * A pod may hold as many tasks as are free. Alone it gets half; of n pods each gets 1/(n+1), and as
 * many stay free. So a pod with few tasks finds room, whatever others do. Of records, a pod or
 * container has a fixed number, and a new one replaces its oldest.
 * Invariant: an entry belongs to the pod or container that added it, and ends with its cgroup.
 */
#ifndef BAILIFF_RUNTIME_SHARES_H
#define BAILIFF_RUNTIME_SHARES_H

#include <stdbool.h>

#include "maps.h"

_Static_assert(sizeof(struct rt_share) <= TEXT_BYTES, "zeroes() has that many bytes");

/* TEXT_BYTES zeros, as value of a new element; never NULL. */
static __always_inline const void *zeroes(void)
{
	__u32 index = 0;
	const struct scratch *scratch = bpf_map_lookup_elem(&rt_scratch, &index);

	return scratch ? scratch->text + TEXT_BYTES : NULL;
}

/* NULL: no program of the pod ran yet, its cgroup is gone, or rt_shares is full. */
static __always_inline struct rt_share *share_of(const struct pod_uid *pod)
{
	return bpf_map_lookup_elem(&rt_shares, pod);
}

static __always_inline struct rt_totals *totals(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&rt_totals, &zero);
}

/* Global, so that the verifier checks it once. */
__noinline int rt_make_share(const struct pod_uid *pod)
{
	const void *none = zeroes();
	struct pod_uid key; /* 6.1 takes no argument of a global function as a key */

	if (!pod || !none)
		return 0;
	key = *pod;
	if (share_of(&key))
		return 0;
	bpf_map_update_elem(&rt_shares, &key, none, BPF_NOEXIST);
	if (!share_of(&key))
		rt_count_loss(RT_LOSS_NO_RECORD);
	return 0;
}

/* Ends the share of a pod whose cgroup is gone, and the records of its sockets. */
__noinline int rt_end_share(const struct pod_uid *pod)
{
	struct rt_share *share;
	struct pod_uid key;

	if (!pod)
		return 0;
	key = *pod;
	share = share_of(&key);
	for (__u32 i = 0; i < SHARE_SOCKETS && share; i++)
		bpf_map_delete_elem(&rt_sockets, &share->sockets[i]);
	bpf_map_delete_elem(&rt_shares, &key);
	return 0;
}

/* Whether the pod may hold one more task. `share`: the pod's, or NULL. */
static __always_inline bool has_room(const struct rt_share *share)
{
	const struct rt_settings *settings = rt_read_settings();
	const struct rt_totals *total = totals();

	if (!settings || !total)
		return false;
	return (share ? share->tasks : total->tasks) < (__s32)settings->max_tasks - total->tasks;
}

static __always_inline void count_task(struct rt_share *share, __s32 change)
{
	struct rt_totals *total = totals();

	if (share)
		__sync_fetch_and_add(&share->tasks, change);
	if (total)
		__sync_fetch_and_add(&total->tasks, change);
}

/* ---- records ---- */

/* NULL: rt_born is full. */
static __always_inline struct rt_birth *birth_of(__u64 container_cgroup_id)
{
	struct rt_birth *birth = bpf_map_lookup_elem(&rt_born, &container_cgroup_id);
	struct rt_birth none = {};

	if (birth)
		return birth;
	bpf_map_update_elem(&rt_born, &container_cgroup_id, &none, BPF_NOEXIST);
	return bpf_map_lookup_elem(&rt_born, &container_cgroup_id);
}

/* Records the root of a container's first program. */
__noinline int rt_own_root(__u64 container_cgroup_id, __u64 dentry, __u32 device)
{
	struct rt_birth *birth = birth_of(container_cgroup_id);

	if (!birth)
		rt_count_loss(RT_LOSS_NO_RECORD);
	if (!birth || birth->root_dentry)
		return 0;
	birth->root_device = device;
	barrier(); /* a reader of the dentry finds the device */
	birth->root_dentry = dentry;
	return 0;
}

/*
 * Gives the record of a mount namespace to its container, which can create further ones: the first
 * stays, and a new one replaces the oldest of the others.
 */
__noinline int rt_own_mounts(__u64 container_cgroup_id, __u64 number)
{
	struct rt_birth *birth = birth_of(container_cgroup_id);
	__u64 former;
	__u32 at;

	if (!birth) {
		bpf_map_delete_elem(&rt_mounts, &number);
		rt_count_loss(RT_LOSS_NO_RECORD);
		return 0;
	}
	at = __sync_fetch_and_add(&birth->recorded, 1);
	at = at ? 1 + (at - 1) % (BORN_MOUNTS - 1) : 0;
	barrier_var(at); /* keeps the mask, which bounds the index for the verifier */
	former = __sync_lock_test_and_set(&birth->mounts[at & (BORN_MOUNTS - 1)], number);
	if (former)
		bpf_map_delete_elem(&rt_mounts, &former);
	return 0;
}

/*
 * Gives the record to the pod, after its insertion: an entry that another task replaces must be
 * in the map, otherwise it would stay.
 */
__noinline int rt_own_socket(const struct pod_uid *pod, __u64 cookie)
{
	struct rt_share *share;
	__u64 former = cookie;
	struct pod_uid key;
	__u32 at;

	if (!pod)
		return 0;
	key = *pod;
	share = share_of(&key);
	if (share) {
		at = __sync_fetch_and_add(&share->next_socket, 1) & (SHARE_SOCKETS - 1);
		former = __sync_lock_test_and_set(&share->sockets[at], cookie);
	}
	if (former)
		bpf_map_delete_elem(&rt_sockets, &former);
	return 0;
}

#endif
