/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Maps of the LSM programs, each with its limit and what happens when it is full. layout.h
 * describes keys and values.
 *
 * Only user space writes rules: a whole set under a new number, before a subject uses it. It
 * deletes a set a grace period after the last subject left it, so a set does not change while a
 * program reads it. rt_pods and rt_containers switch sets. Their elements may be reused during a
 * read, so identity.h copies a value and looks it up again. The kernel inserts into rt_cgroups,
 * rt_born, rt_mounts, rt_shares, rt_tasks and rt_sockets; a full map counts a loss. What a pod can
 * fill is preallocated and has a share per pod. docs/reference/kernel-maps.md lists all.
 */
#ifndef BAILIFF_RUNTIME_MAPS_H
#define BAILIFF_RUNTIME_MAPS_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#include "kernel.h"
#include "layout.h"

#define MAX_SUBJECTS 4096 /* 1,024 pods with four different containers */

/* Twice the pods of large nodes, because ending pods overlap new ones. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct pod_uid);
	__type(value, struct subject);
} rt_pods SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_SUBJECTS);
	__type(key, __u64);
	__type(value, struct subject);
} rt_containers SEC(".maps");

/* Full: RT_LOSS_CGROUPS_FULL, and user space binds the pod later. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, struct pod_uid);
} rt_cgroups SEC(".maps");

/*
 * Containers whose cgroup exists; only a runtime adds one. Full: RT_LOSS_NO_RECORD, and the
 * container's birth time and mount namespaces are unknown.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, struct rt_birth);
} rt_born SEC(".maps");

/*
 * BORN_MOUNTS per container. Full: RT_LOSS_NO_RECORD, and the container is identified by its
 * cgroup alone.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct rt_origin);
} rt_mounts SEC(".maps");

/*
 * As many pods as in rt_pods. Full: RT_LOSS_NO_RECORD. The pod then has tasks while half of rt_tasks
 * is free, and no records of sockets.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct pod_uid);
	__type(value, struct rt_share);
} rt_shares SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rt_totals);
} rt_totals SEC(".maps");

/*
 * Preallocated: a fork takes no memory, so it cannot fail for the memory of the node or of the
 * collector, to which the kernel charges this map. User space reduces the size to the number of
 * tasks that the kernel allows (object.ts). A pod may hold as many entries as are free, so one pod
 * holds at most half of them. Beyond its share a fork is refused (RT_LOSS_TASK_SHARE).
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__type(key, __u64);
	__type(value, struct task_state);
} rt_tasks SEC(".maps");

/* Pods share sets, so these are the sets in force and those in their grace period. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct set_head);
} rt_sets SEC(".maps");

/* Thousands of paths in hundreds of sets. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct path_key);
	__type(value, struct path_rules);
} rt_paths SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct rt_address_key);
	__type(value, struct address_rules);
} rt_addresses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct value_key);
	__type(value, struct value_rules);
} rt_values SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, struct source_key);
	__type(value, __u32);
} rt_sources SEC(".maps");

/* 4 MiB: 128 cells for each of MAX_SUBJECTS. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 524288);
	__type(key, __u32);
	__type(value, __u64);
} rt_counters SEC(".maps");

/* Bounds the samples of one subject. A mark means that the ring was full: the next needs no token. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_SUBJECTS);
	__type(key, __u32);
	__type(value, struct token_bucket);
} rt_buckets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rt_settings);
} rt_settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, RT_LOSS_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} rt_losses SEC(".maps");

/* Only raw and packet sockets: SHARE_SOCKETS of 512 pods. Full: RT_LOSS_NO_RECORD. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, struct socket_maker);
} rt_sockets SEC(".maps");

/* The ring of the packet programs, by its pin, so that user space reads one ring. Created if missing. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} samples SEC(".maps");

#define WALK_COMPONENTS 64 /* components of a path; deeper paths are unresolved */
#define WALK_MOUNTS	16 /* mounts that a walk crosses */
#define NAME_BYTES	256
#define TEXT_BYTES	SAMPLE_PATH_BYTES
#define SCRATCH_WORDS	64 /* a power of two, so a mask bounds an index */

/* A mount that the walk left upwards; `count` components of its file system are below. */
struct crossing {
	struct dentry *root;
	__u32 device;
	__u32 count;
};

enum scratch_use { SCRATCH_FREE, SCRATCH_CPU, SCRATCH_SPARE };

/*
 * Working memory of one program run. All fields except the zeros are written before they are read;
 * see claim() in state.h.
 */
struct scratch {
	__u32 busy;  /* enum scratch_use */
	__u32 count; /* components, from the object upwards */
	__u32 crossings;
	__u32 end; /* enum walk_end */
	__u64 key[2];
	__u64 hash;
	__u64 foreign_hash; /* of the path of the mount above the `foreign` components */
	struct dentry *dentry;
	struct mount *mount;
	struct dentry *root; /* of `mount` */
	struct dentry *stop; /* end of a walk within one file system; otherwise NULL */
	struct dentry *components[WALK_COMPONENTS];
	struct crossing crossed[WALK_MOUNTS];
	__u64 suffix_lengths; /* as in struct path_masks, of the operations to match */
	union {
		__u64 words[SCRATCH_WORDS]; /* input of a hash: the parent's hash, then a name */
		struct socket_maker maker;
	};
	__u32 foreign; /* components below a mount whose names are not unique (naming.h) */
	__u32 at;      /* position in the text, which is written from its end */
	__u8 text[2 * TEXT_BYTES]; /* the second half stays zero */
};

/*
 * Slots of working memory. Those behind SPARES belong to the CPUs; user space adds as many as there
 * are CPUs. LSM programs can be preempted, so a task that waits may hold the slot of the CPU. A
 * program then uses one of the spares. A pod may use as many as are free (state.h).
 */
#define SPARES 512

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SPARES + 1);
	__type(key, __u32);
	__type(value, struct scratch);
} rt_scratch SEC(".maps");

static __always_inline void rt_count_loss(enum rt_loss loss)
{
	__u32 index = loss;
	__u64 *count = bpf_map_lookup_elem(&rt_losses, &index);

	/* preemptible: another program may add on this CPU in between */
	if (count)
		__sync_fetch_and_add(count, 1);
}

static __always_inline const struct rt_settings *rt_read_settings(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&rt_settings, &zero);
}

#endif
