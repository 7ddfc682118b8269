/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Types that the LSM programs and user space share: enums, map keys and values, and the ring record
 * of kind `lsm`.
 *
 * Fixed layouts without implicit padding, checked against the object's BTF like spoof/events.h.
 * Integers are in host order unless the type is __be. Addresses have 16 bytes, IPv4 as
 * ::ffff:a.b.c.d. Times are CLOCK_BOOTTIME nanoseconds.
 * Look-up: task state, inherited on fork → pod UID → `rt_pods` → policy set → rules by (set,
 * object). User space writes a policy set whole under an unused number, then replaces one value of
 * `rt_pods` or `rt_containers`.
 */
#ifndef BAILIFF_RUNTIME_LAYOUT_H
#define BAILIFF_RUNTIME_LAYOUT_H

#include <linux/types.h>

enum runtime_abi { RUNTIME_ABI = 3 };

/*
 * Operations; the value is the bit of a rule's mask. Order is ABI: append only. Names in user
 * space: libs/vocabulary OPERATIONS.
 */
enum op {
	/* on a path */
	OP_EXECUTE,	/* a program or the interpreter of a script */
	OP_MAP_EXECUTE, /* an executable mapping: library, ld.so program, mprotect */
	OP_READ,
	OP_WRITE,  /* opened for writing, appending or with O_TRUNC */
	OP_CREATE, /* a regular file */
	OP_UNLINK,
	OP_RENAME, /* either name */
	OP_LINK,   /* either name */
	OP_SYMLINK,
	OP_MKDIR,
	OP_RMDIR,
	OP_MKNOD, /* device, fifo, socket */
	OP_CHMOD,
	OP_CHOWN,
	OP_TRUNCATE,
	OP_SETXATTR,
	OP_CHROOT,
	OP_MOUNT_POINT,	 /* a mount point, the source of a move, a pivot */
	OP_UNIX_CONNECT, /* stream and seqpacket, by path or abstract name */
	OP_UNIX_SEND,	 /* datagram */
	OP_UNIX_BIND,
	/* on an address */
	OP_CONNECT, /* also MSG_FASTOPEN */
	OP_SEND,    /* to an address, unconnected */
	OP_BIND,
	OP_LISTEN,
	/* on a value */
	OP_SOCKET,
	OP_CAPABILITY,
	OP_MOUNT,
	OP_KERNEL,
	/* on the origin of a file */
	OP_DRIFT,
	OP_COUNT,
};

/* Values of OP_MOUNT. */
enum mount_value {
	MOUNT_NEW, /* a new superblock: mount(2) or fsconfig; `name` is the type */
	MOUNT_BIND,
	MOUNT_MOVE,
	MOUNT_REMOUNT,
	MOUNT_UMOUNT,
	MOUNT_PIVOT,
	MOUNT_PROPAGATION,
	MOUNT_VALUES,
};

/* Values of OP_KERNEL: operations on the kernel and other pods beyond files and addresses. */
enum kernel_value {
	KERNEL_PTRACE, /* attach, or access memory or files of another task */
	KERNEL_TRACEME,
	KERNEL_USER_NAMESPACE,
	KERNEL_BPF,
	KERNEL_MODULE, /* init_module, finit_module */
	KERNEL_KEXEC,
	KERNEL_FIRMWARE, /* other kernel_read_file / kernel_load_data */
	KERNEL_PERF_EVENT,
	KERNEL_SIGNAL,	       /* to a task of another pod or of none */
	KERNEL_HOST_MOUNTS,    /* a file opened or run through a mount of the host */
	KERNEL_MODULE_REQUEST, /* makes the kernel request a module: `subject` */
	KERNEL_FOREIGN_NETNS,  /* an interface of another network namespace, by its id */
	KERNEL_VALUES,
};

/* Values of OP_DRIFT: location of a file that no image layer has. */
enum drift_value {
	DRIFT_LAYER,  /* upper layer of the overlay */
	DRIFT_VOLUME, /* any other mount */
	DRIFT_MEMORY, /* tmpfs, memfd, deleted; rules of DRIFT_LAYER apply too */
	DRIFT_VALUES,
};

/* Action of a rule. The order is the strength of denials, and ABI. */
enum rule_action {
	RULE_ALLOW_AUDIT, /* satisfies an audited posture only: from a policy in mode audit */
	RULE_ALLOW,	  /* satisfies any posture */
	RULE_AUDIT,
	RULE_BLOCK, /* EPERM */
	RULE_KILL,  /* EPERM and SIGKILL */
	RULE_ACTIONS,
};

/*
 * Classes of operations. EXECUTE and MAP_EXECUTE: execute. READ to UNIX_BIND: file. CONNECT to
 * SOCKET: network. CAPABILITY: capability. MOUNT and KERNEL: kernel. DRIFT has no posture: only its
 * rules decide.
 */
enum posture_class {
	POSTURE_FILE,
	POSTURE_EXECUTE,
	POSTURE_NETWORK,
	POSTURE_CAPABILITY,
	POSTURE_KERNEL,
	POSTURE_CLASSES
};

enum path_match {
	PATH_EXACT,
	PATH_DIRECTORY, /* the directory itself and its direct entries */
	PATH_RECURSIVE,
	PATH_ANCESTOR, /* marker above a denied path, for renames and mounts */
};

/* Of path_key: chain hash, hash of a name suffix, hash of an abstract unix name. */
enum path_kind { PATH_PREFIX, PATH_SUFFIX, PATH_ABSTRACT };

/*
 * rt_pods: hash, key the pod's UID (16 bytes from 32 hex digits), value struct subject.
 * rt_containers: hash, key __u64 container cgroup id, value struct subject; read only if the pod's
 * subject has SUBJECT_CONTAINERS.
 */
struct pod_uid {
	__u8 bytes[16];
};

enum subject_flag { SUBJECT_CONTAINERS = 1 << 0 };

struct subject {
	__u32 set;	      /* 0: no policy */
	__u32 counter_base;   /* first cell in rt_counters */
	__u32 counter_count;  /* cells: the rules of the set, then COUNTER_EXTRA */
	__u32 generation;     /* never 0; a new one for each (set, cells) of this subject */
	__u32 bucket;	      /* index into rt_buckets; unique among live subjects */
	__u32 flags;	      /* SUBJECT_* */
	__u64 audit_until_ns; /* break-glass: block and kill act as audit until then */
};

/* Cells after those of the rules. */
enum counter_extra {
	EXTRA_POSTURE, /* + class * 2 + (0 audit, 1 block) */
	EXTRA_UNRESOLVED = EXTRA_POSTURE + POSTURE_CLASSES * 2, /* + (0 audit, 1 block) */
	COUNTER_EXTRA = EXTRA_UNRESOLVED + 2,
};

/*
 * rt_cgroups: hash, key __u64 pod cgroup id, value struct pod_uid. The kernel writes it at
 * cgroup_mkdir, user space for older cgroups.
 */
/* rt_born: hash, key __u64 container cgroup id, from cgroup_mkdir to cgroup_rmdir. */
#define BORN_MOUNTS 4 /* mount namespaces per container: the first, and the newest of the others */
struct rt_birth {
	__u64 ns; /* of cgroup_mkdir, for the histogram of late bindings; 0: not known */
	__u64 mounts[BORN_MOUNTS]; /* keys of rt_mounts that end with the container */
	__u32 recorded;
	__u32 root_device;
	__u64 root_dentry; /* the root of its first program: its image. 0: none ran yet */
};

/* rt_tasks: hash, key __u64 address of the task. */
#define SOURCE_CHAIN 8
enum task_flag {
	TASK_ARMED = 1 << 0,
	TASK_CHAIN_CUT = 1 << 1, /* more than SOURCE_CHAIN programs */
	TASK_BOUND = 1 << 2,	 /* its pod had a policy: without one now it is an orphan */
	/* before a container's first program armed it (entry.h) */
	TASK_ENTERED =
		1 << 3, /* a task of the host put it into the pod's cgroup, or it was there */
	TASK_FOREIGN = 1 << 4, /* a task of a pod did: it stays the host's */
	TASK_SEND_ASKED =
		1 << 5, /* socket_sendmsg decided about the send that is under way (send.h) */
};

struct task_state {
	struct pod_uid pod;
	__u64 cgroup_id; /* the container's cgroup, when armed */
	__u32 flags;
	__u32 chain_count;
	__u64 chain[SOURCE_CHAIN]; /* hashes of its and its ancestors' programs, newest first */
	__u64 root_dentry;  /* of the container's root when armed: compared, never followed */
	__u32 root_device;  /* of its file system */
	__u32 mknod_result; /* kernel only: path_mknod in this open (creation.h) */
	__u64 bounding;	    /* capabilities that it could acquire when armed */
};

/*
 * rt_mounts: hash, key __u64 number of a mount namespace, value struct rt_origin: the first
 * container that was armed in it. Entries end with their container (struct rt_birth).
 */
struct rt_origin {
	struct pod_uid pod;
	__u64 cgroup_id;   /* the container's */
	__u64 root_dentry; /* as in task_state: a later mount over the root is not the image */
	__u32 root_device;
	__u32 reserved;
};

/*
 * rt_shares: hash, key struct pod_uid: the pod's part of the other maps, from its first program to the
 * end of its cgroup. A task may outlive that, so a number can become negative.
 */
#define SHARE_SOCKETS 16 /* a power of two */
struct rt_share {
	__s32 tasks;  /* entries of rt_tasks */
	__s32 spares; /* slots of rt_scratch beyond those of the CPUs */
	__u32 next_socket;
	__u32 reserved;
	__u64 sockets[SHARE_SOCKETS]; /* keys of rt_sockets; a further socket replaces the oldest */
};

/* rt_totals: array with one element. The same over all pods. */
struct rt_totals {
	__s32 tasks;
	__s32 spares;
};

/*
 * Classes of path operations. Each has masks of its own, so that an open for reading does not pay
 * for rules about sockets or programs.
 */
enum path_class {
	PATHS_EXECUTE, /* EXECUTE, MAP_EXECUTE */
	PATHS_READ,
	PATHS_CHANGE, /* WRITE to MOUNT_POINT */
	PATHS_UNIX,   /* UNIX_CONNECT to UNIX_BIND */
	PATH_CLASSES,
};

/* What the rules of a class can match; nothing else is hashed and looked up. */
struct path_masks {
	__u64 suffix_lengths; /* bit n: a suffix rule has n bytes (1..63) */
	__u32 depths;	      /* bit n: a path of n components, 31: or more */
	__u32 reserved;
};

/* rt_sets: hash, key __u32 set. */
struct set_head {
	__u64 ops;	       /* bit per op that a rule or posture covers */
	__u8 posture_block[8]; /* by posture_class; 1: block what no RULE_ALLOW matches */
	__u8 posture_audit[8]; /* likewise audit; RULE_ALLOW_AUDIT satisfies it too */
	__u32 rules;
	__u8 unresolved;	 /* RULE_AUDIT or RULE_BLOCK */
	__u8 guard_aliases;	 /* rule_action of denied aliases; 0: no path has a denial */
	__u8 drift_volumes;	 /* 1: no rule of OP_DRIFT covers DRIFT_VOLUME */
	__u8 unresolved_address; /* as `unresolved`, for operations on addresses */
	__u32 guard_rule;	 /* counter cell of denials by guard_aliases */
	__u32 reserved_word;
	struct pod_uid digest; /* start of the content hash, for offline status */
	struct path_masks masks[PATH_CLASSES];
};

#define PATH_RULES    8
#define VALUE_RULES   8
#define ADDRESS_RULES 16

struct path_key { /* rt_paths: hash, no prealloc */
	__u32 set;
	__u32 kind; /* enum path_kind */
	__u64 hash;
};

struct path_rule {
	__u64 ops;
	__u32 rule;
	__u16 source; /* 0: any program; otherwise a group of rt_sources */
	__u8 action;
	__u8 match; /* enum path_match */
};

struct path_rules {
	__u32 count;
	__u32 below; /* bits of operations that a rule denies on a path below this one */
	struct path_rule rules[PATH_RULES];
};

struct rt_address_key { /* rt_addresses: LPM trie. prefixlen = 32 + bits of the address */
	__u32 prefixlen;
	__u32 set;
	__u8 address[16];
};

struct address_rule {
	__u32 rule;
	__u16 source;
	__u16 port_first;
	__u16 port_last;
	__u8 protocol; /* 0: any */
	__u8 action;
	__u32 ops; /* bit (op - OP_CONNECT) */
};

/* An entry has every rule whose prefix covers it, because only the longest match is read. */
struct address_rules {
	__u32 count;
	struct address_rule rules[ADDRESS_RULES];
};

struct value_key { /* rt_values: hash, no prealloc */
	__u32 set;
	__u32 op;    /* OP_SOCKET, OP_CAPABILITY, OP_MOUNT, OP_KERNEL, OP_DRIFT */
	__u64 value; /* OP_SOCKET: family << 32 | type << 16 | protocol, or SOCKET_ANY */
};
#define SOCKET_ANY 0xffffULL

struct value_rule {
	__u32 rule;
	__u16 source;
	__u8 action;
	__u8 reserved;
};

struct value_rules {
	__u32 count;
	struct value_rule rules[VALUE_RULES];
};

struct source_key { /* rt_sources: hash, no prealloc; value __u32 SOURCE_* */
	__u32 set;
	__u32 source;
	__u64 program; /* path hash; 0: all flags of the group, for incomplete chains */
};
enum source_flag { SOURCE_SELF = 1 << 0, SOURCE_CHILDREN = 1 << 1 };

/*
 * rt_counters: array of __u64. A value never decreases within a generation; user space zeroes cells
 * before it allocates them.
 */

struct rt_settings {	     /* array with one element */
	__u64 hash_key[2];   /* of the path hashes; random, so that no pod forces a collision */
	__u32 host_mount_ns; /* inode number of the mount namespace of container runtimes */
	__u32 sample_burst;
	__u32 samples_per_second;
	__u32 abi;	 /* enum runtime_abi of the maps; another ABI does not reuse them */
	__u32 max_tasks; /* max_entries of rt_tasks */
	__u32 reserved;
};

/*
 * rt_cache_control: array with one element. While user space writes what a decision reads,
 * CACHE_EPOCH_CHANGING is set; afterwards the epoch is a greater one. Each write changes the flag
 * alone or is made under it, so that a program never uses half of an epoch.
 */
enum cache_epoch {
	CACHE_EPOCH_CHANGING = 1,
	CACHE_EPOCH_SHIFT = 8, /* the flag has a byte of its own */
};

struct rt_cache_control {
	__u64 epoch;
	__u64 rename_lock; /* addresses of the kernel's sequence locks; 0: no opens are cached */
	__u64 mount_lock;
};

enum rt_loss {
	RT_LOSS_RING_FULL,
	RT_LOSS_NO_CELL,    /* a decision without a counter cell */
	RT_LOSS_NO_SCRATCH, /* no working memory within the pod's share: decided as unresolved */
	RT_LOSS_UNRESOLVED, /* a path beyond the limits */
	RT_LOSS_NO_STATE, /* rt_tasks is full: the fork or first program is refused, or arming is retried */
	RT_LOSS_UNARMED, /* operations before a container's first program: not decided */
	RT_LOSS_ORPHAN,	 /* an armed task without a policy for its pod: refused */
	RT_LOSS_UNBOUND, /* a pod cgroup without a known policy */
	RT_LOSS_CGROUPS_FULL,
	RT_LOSS_CGROUP_REFUSED, /* a cgroup with a pod's name that no kubelet made: ignored */
	RT_LOSS_TASK_SHARE, /* beyond the pod's share of rt_tasks: a fork is refused, an old task not armed */
	RT_LOSS_NO_RECORD, /* no room in rt_mounts, rt_sockets, rt_born or rt_shares */
	RT_LOSS_COUNT,
};

#include "sample-layout.h"

#endif
