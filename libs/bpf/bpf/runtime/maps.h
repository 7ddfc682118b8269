/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Maps of the LSM programs, each with its limit and what happens when it is full. layout.h
 * describes keys and values.
 *
 * Only user space writes rules: a whole set under a new number, before a subject uses it. It
 * deletes a set a grace period after the last subject left it, so a set does not change while a
 * program reads it. rt_pods and rt_containers switch sets. Their elements may be reused during a
 * read, so identity.h copies a value and looks it up again. The kernel inserts into rt_cgroups,
 * rt_born, rt_mounts and rt_sockets; a full map counts a loss or evicts.
 */
#ifndef BAILIFF_RUNTIME_MAPS_H
#define BAILIFF_RUNTIME_MAPS_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#include "kernel.h"
#include "layout.h"

#define MAX_SUBJECTS	4096	/* 1,024 pods with four different containers */

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

/* Full: the birth time of the container is unknown; nothing else depends on it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, __u64);
} rt_born SEC(".maps");

/*
 * One entry per started container, and one per namespace that a container created and a runtime
 * entered. Full: the least recently used entry is evicted, and its container is identified by its
 * cgroup alone.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct rt_origin);
} rt_mounts SEC(".maps");

/* Bounded by the tasks. Without memory the fork is refused. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct task_state);
} rt_tasks SEC(".maps");

/*
 * Replaces rt_tasks before Linux 6.2 (state.h); one entry otherwise. Twice the kubelet's limit of
 * 110 pods with 512 tasks. Full: the fork is refused.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 131072);
	__type(key, __u64);
	__type(value, struct task_state);
} rt_task_hash SEC(".maps");

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

/* Only raw and packet sockets; the least recently used entry is evicted. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct socket_maker);
} rt_sockets SEC(".maps");

/* The ring of the packet programs, by its pin, so that user space reads one ring. Created if missing. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} samples SEC(".maps");

#define WALK_COMPONENTS	64	/* components of a path; deeper paths are unresolved */
#define WALK_MOUNTS	16	/* mounts that a walk crosses */
#define NAME_BYTES	256
#define TEXT_BYTES	SAMPLE_PATH_BYTES
#define SCRATCH_WORDS	64	/* a power of two, so a mask bounds an index */

/* A mount that the walk left upwards; `count` components of its file system are below. */
struct crossing {
	struct dentry *root;
	__u32 device;
	__u32 count;
};

/*
 * Working memory of one program run. All fields except the zeros are written before they are read;
 * see claim() in state.h.
 */
struct scratch {
	__u32 busy;
	__u32 count;		/* components, from the object upwards */
	__u32 crossings;
	__u32 end;		/* enum walk_end */
	__u64 key[2];
	__u64 hash;
	struct dentry *dentry;
	struct mount *mount;
	struct dentry *root;	/* of `mount` */
	struct dentry *stop;	/* end of a walk within one file system; otherwise NULL */
	struct dentry *components[WALK_COMPONENTS];
	struct crossing crossed[WALK_MOUNTS];
	__u64 words[SCRATCH_WORDS];	/* input of a hash: the parent's hash, then a name */
	__u32 reserved;
	__u32 at;		/* position in the text, which is written from its end */
	__u8 text[2 * TEXT_BYTES];	/* the second half stays zero */
};

/*
 * Working memory per task. LSM programs can be preempted, so memory of a CPU is not exclusive, and
 * one pod could use up a shared pool. Bounded by the tasks. Without memory, operations of the task
 * are unresolved.
 */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct scratch);
} rt_task_scratch SEC(".maps");

/*
 * Replaces rt_task_scratch before Linux 6.2 (state.h); one entry otherwise. Same size as
 * rt_task_hash.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 131072);
	__type(key, __u64);
	__type(value, struct scratch);
} rt_scratch_hash SEC(".maps");

/* Host tasks that are preempted while they create a cgroup; with more, user space binds the pod. */
#define SCRATCH_SLOTS	64
#define SCRATCH_ZEROES	63	/* never claimed: always zeros */

/* For tracepoints, where the kernel cannot create task storage. Tasks of pods do not use it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SCRATCH_SLOTS);
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
