/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What the LSM programs and user space share: enums, map keys and values, and the ring record of kind `lsm`.
 *
 * Fixed layouts without implicit padding, checked against the object's BTF like events.h. Integers are host order unless
 * the type says __be; addresses are 16 bytes, IPv4 as ::ffff:a.b.c.d; times are CLOCK_BOOTTIME nanoseconds.
 * Who: the state of the task, inherited on fork → pod UID → `rt_pods` → policy set → rules by (set, what). A policy set is
 * written whole under a number that was never used before, then one value of `rt_pods` or `rt_containers` is replaced.
 */
#ifndef BAILIFF_RUNTIME_LAYOUT_H
#define BAILIFF_RUNTIME_LAYOUT_H

#include <linux/types.h>

enum runtime_abi { RUNTIME_ABI = 1 };

/* Operations: the bit of a rule's mask. Order is ABI: append only. Names in user space: libs/runtime OPERATIONS. */
enum op {
	/* on a path */
	OP_EXECUTE,		/* a program or the interpreter of a script */
	OP_MAP_EXECUTE,		/* an executable mapping: library, ld.so program, mprotect */
	OP_READ,
	OP_WRITE,		/* opened for writing, appending or with O_TRUNC */
	OP_CREATE,		/* a regular file */
	OP_UNLINK,
	OP_RENAME,		/* either name */
	OP_LINK,		/* either name */
	OP_SYMLINK,
	OP_MKDIR,
	OP_RMDIR,
	OP_MKNOD,		/* device, fifo, socket */
	OP_CHMOD,
	OP_CHOWN,
	OP_TRUNCATE,
	OP_SETXATTR,
	OP_CHROOT,
	OP_MOUNT_POINT,		/* mounted upon, moved from, pivoted to */
	OP_UNIX_CONNECT,	/* stream and seqpacket, by path or abstract name */
	OP_UNIX_SEND,		/* datagram */
	OP_UNIX_BIND,
	/* on an address */
	OP_CONNECT,		/* also MSG_FASTOPEN */
	OP_SEND,		/* to an address, unconnected */
	OP_BIND,
	OP_LISTEN,
	/* on a value: enum value_class */
	OP_SOCKET,
	OP_CAPABILITY,
	OP_MOUNT,
	OP_KERNEL,
	/* on the file's origin */
	OP_DRIFT,
	OP_COUNT,
};

/* Of OP_MOUNT. */
enum mount_value {
	MOUNT_NEW,		/* a new superblock, by mount(2) or fsconfig/fsmount; `name` is the type */
	MOUNT_BIND,
	MOUNT_MOVE,
	MOUNT_REMOUNT,
	MOUNT_UMOUNT,
	MOUNT_PIVOT,
	MOUNT_PROPAGATION,
	MOUNT_VALUES,
};

/* Of OP_KERNEL: what a pod asks of the kernel and other pods beyond files and addresses. */
enum kernel_value {
	KERNEL_PTRACE,		/* attach or access another task's memory or files */
	KERNEL_TRACEME,
	KERNEL_USER_NAMESPACE,
	KERNEL_BPF,
	KERNEL_MODULE,		/* init_module, finit_module */
	KERNEL_KEXEC,
	KERNEL_FIRMWARE,	/* other kernel_read_file / kernel_load_data */
	KERNEL_PERF_EVENT,
	KERNEL_SIGNAL,		/* to a task of another pod or of none */
	KERNEL_HOST_MOUNTS,	/* opens or runs a file through a mount of the host's mount namespace */
	KERNEL_MODULE_REQUEST,	/* does what makes the kernel look for a module on demand; `subject` is its name or alias */
	KERNEL_VALUES,
};

/* Of OP_DRIFT: where the file lies that no image layer holds. */
enum drift_value {
	DRIFT_LAYER,		/* upper layer of the overlay, tmpfs, memfd, deleted */
	DRIFT_VOLUME,		/* any other mount */
	DRIFT_VALUES,
};

/* What a rule does. Order is strength among denials; ABI. */
enum rule_action {
	RULE_ALLOW_AUDIT,	/* satisfies only an audited posture: comes from a policy in audit mode */
	RULE_ALLOW,		/* satisfies any posture */
	RULE_AUDIT,
	RULE_BLOCK,		/* EPERM */
	RULE_KILL,		/* EPERM and SIGKILL */
	RULE_ACTIONS,
};

/* Of ops: EXECUTE and MAP_EXECUTE are of class execute; READ to UNIX_BIND file; CONNECT to SOCKET network; CAPABILITY
 * capability; MOUNT and KERNEL kernel. DRIFT has no posture: only its rules decide. */
enum posture_class { POSTURE_FILE, POSTURE_EXECUTE, POSTURE_NETWORK, POSTURE_CAPABILITY, POSTURE_KERNEL, POSTURE_CLASSES };

enum path_match {
	PATH_EXACT,
	PATH_DIRECTORY,		/* the directory itself and what lies in it, not deeper */
	PATH_RECURSIVE,
	PATH_ANCESTOR,		/* above a path with a denial: renaming it or mounting on it would hide or move what is protected */
};

enum path_kind { PATH_PREFIX, PATH_SUFFIX, PATH_ABSTRACT };	/* of struct path_key: chain hash; hash of a basename suffix; of an abstract unix name */

/* rt_pods: hash, key the pod's UID (16 bytes from its 32 hex digits), value struct subject.
 * rt_containers: hash, key __u64 container cgroup id, value struct subject; asked only when the pod's has SUBJECT_CONTAINERS. */
struct pod_uid {
	__u8 bytes[16];
};

enum subject_flag { SUBJECT_CONTAINERS = 1 << 0 };

struct subject {
	__u32 set;		/* 0 = no policy */
	__u32 counter_base;	/* first cell in rt_counters */
	__u32 counter_count;	/* cells: the set's rules and, behind them, COUNTER_EXTRA */
	__u32 generation;	/* never 0; new with every (set, cells) given to this subject */
	__u32 bucket;		/* index into rt_buckets; unique among live subjects */
	__u32 flags;		/* SUBJECT_* */
	__u64 audit_until_ns;	/* break-glass: until then block and kill are judged as audit */
};

/* Cells behind those of the rules. */
enum counter_extra {
	EXTRA_POSTURE,				/* + class * 2 + (0 audit, 1 block) */
	EXTRA_UNRESOLVED = EXTRA_POSTURE + POSTURE_CLASSES * 2,	/* + (0 audit, 1 block) */
	COUNTER_EXTRA = EXTRA_UNRESOLVED + 2,
};

/* rt_cgroups: hash, key __u64 pod cgroup id, value struct pod_uid. Written by the kernel at cgroup_mkdir and by user space for those before. */
/* rt_born: hash, key __u64 container cgroup id, value __u64 mkdir time: for the histogram of what took the fallback; user space deletes. */

/* rt_tasks: task storage. */
#define SOURCE_CHAIN	8
enum task_flag {
	TASK_ARMED = 1 << 0,
	TASK_CHAIN_CUT = 1 << 1,	/* more than SOURCE_CHAIN programs deep: what is not in the chain may have been above */
	TASK_BOUND = 1 << 2,	/* its pod was known once: when it no longer is, the task is an orphan, not early */
};

struct task_state {
	struct pod_uid pod;
	__u64 cgroup_id;	/* the container's cgroup, when armed */
	__u32 flags;
	__u32 chain_count;
	__u64 chain[SOURCE_CHAIN];	/* path hashes of the programs it and its forebears ran, newest first */
	__u64 root_dentry;	/* of the container's root when it was armed: compared, never followed */
	__u32 root_device;	/* of its file system */
	__u32 mknod_result;	/* the kernel's alone: how path_mknod answered the open that is under way (file.h) */
	__u64 bounding;		/* capabilities that it could come to have when it was armed */
};

/* rt_mounts: hash LRU, key __u64 number of a mount namespace, value struct rt_origin: the container that was armed in it first. */
struct rt_origin {
	struct pod_uid pod;
	__u64 cgroup_id;	/* the container's */
	__u64 root_dentry;	/* as in task_state: a mount that the container puts over its root later is not its image */
	__u32 root_device;
	__u32 reserved;
};

/* rt_sets: hash, key __u32 set. */
struct set_head {
	__u64 ops;		/* bit per op: some rule or posture speaks about it; others return at once */
	__u8 posture_block[8];	/* by posture_class: 1 = what no RULE_ALLOW matched is blocked */
	__u8 posture_audit[8];	/* likewise audited; RULE_ALLOW_AUDIT satisfies it too */
	__u32 rules;
	__u8 unresolved;	/* enum rule_action: RULE_AUDIT or RULE_BLOCK */
	__u8 guard_aliases;	/* not 0: some path has a denial, so what would make another name for it is denied; its enum rule_action */
	__u8 drift_volumes;	/* 1: no rule of OP_DRIFT speaks about DRIFT_VOLUME, so it need not be asked */
	__u8 reserved;
	__u64 suffix_lengths;	/* bit n: some suffix rule has n bytes (1..63) */
	__u32 guard_rule;	/* the cell that a denial by guard_aliases counts in */
	__u32 depths;		/* bit n: some rule stands at a path of n components, 31: or more, marks of PATH_ANCESTOR aside; 0: at any */
	struct pod_uid digest;	/* head of the content hash: what offline status prints */
};

#define PATH_RULES	8
#define VALUE_RULES	8
#define ADDRESS_RULES	16

struct path_key {	/* rt_paths: hash, no prealloc */
	__u32 set;
	__u32 kind;	/* enum path_kind */
	__u64 hash;
};

struct path_rule {
	__u64 ops;
	__u32 rule;
	__u16 source;	/* 0 = any program; else a group of rt_sources */
	__u8 action;
	__u8 match;	/* enum path_match */
};

struct path_rules {
	__u32 count;
	__u32 reserved;
	struct path_rule rules[PATH_RULES];
};

struct rt_address_key {	/* rt_addresses: LPM trie. prefixlen = 32 + bits of the 16-byte address */
	__u32 prefixlen;
	__u32 set;
	__u8 address[16];
};

struct address_rule {
	__u32 rule;
	__u16 source;
	__u16 port_first;
	__u16 port_last;
	__u8 protocol;	/* 0 = any */
	__u8 action;
	__u32 ops;	/* bit (op - OP_CONNECT) */
};

/* Each entry holds every rule whose prefix covers it: the longest match answers for all. */
struct address_rules {
	__u32 count;
	struct address_rule rules[ADDRESS_RULES];
};

struct value_key {	/* rt_values: hash, no prealloc */
	__u32 set;
	__u32 op;	/* OP_SOCKET, OP_CAPABILITY, OP_MOUNT, OP_KERNEL, OP_DRIFT */
	__u64 value;	/* OP_SOCKET: family << 32 | type << 16 | protocol, SOCKET_ANY where any */
};
#define SOCKET_ANY	0xffffULL

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

struct source_key {	/* rt_sources: hash, no prealloc; value __u32 SOURCE_* */
	__u32 set;
	__u32 source;
	__u64 program;	/* path hash; 0: all flags of the group together, for chains that were cut */
};
enum source_flag { SOURCE_SELF = 1 << 0, SOURCE_CHILDREN = 1 << 1 };

/* rt_counters: array of __u64, only grow within a generation; user space zeroes cells before it gives them out. */

struct rt_settings {	/* array of one */
	__u64 hash_key[2];	/* of the path hashes: random for each pin directory, so that a pod cannot make two names collide */
	__u32 host_mount_ns;	/* inode number of the mount namespace that container runtimes work in */
	__u32 sample_burst;
	__u32 samples_per_second;
	__u32 abi;		/* enum runtime_abi of whoever made the maps: they are not reused by another */
};

enum rt_loss {
	RT_LOSS_RING_FULL,
	RT_LOSS_NO_CELL,	/* a decision found no counter cell */
	RT_LOSS_NO_SCRATCH,	/* no working memory for the task: judged as unresolved */
	RT_LOSS_UNRESOLVED,	/* a path over the bound */
	RT_LOSS_NO_STATE,	/* no room for a task's state: the fork was refused, or the task arms at what it does next */
	RT_LOSS_UNARMED,	/* operations of container runtimes before the first program of the container: counted, not judged */
	RT_LOSS_ORPHAN,		/* an armed task whose pod is unknown by now: refused */
	RT_LOSS_UNBOUND,	/* a pod cgroup of which no policy was known yet */
	RT_LOSS_CGROUPS_FULL,
	RT_LOSS_CGROUP_REFUSED,	/* a cgroup named like a pod's, made by a pod or where no kubelet makes any: it binds nothing */
	RT_LOSS_COUNT,
};

/* Ring record. Told from struct spoof_sample by its size. */
#define SAMPLE_PATH_BYTES	256
#define SAMPLE_ARGS_BYTES	128
enum rt_sample_flag {
	RT_SAMPLE_FIRST = 1 << 0,
	RT_SAMPLE_POSTURE = 1 << 1,	/* `rule` counts from COUNTER_EXTRA's first cell */
	RT_SAMPLE_PATH = 1 << 2,	/* `subject` is a path, tail kept when cut */
	RT_SAMPLE_ADDRESS = 1 << 3,
	RT_SAMPLE_CUT = 1 << 4,		/* a text was cut at its front */
};

struct runtime_sample {
	__u64 boottime_ns;
	__u64 cgroup_id;	/* the task's own now */
	__u64 container_cgroup_id;
	__u64 socket_cookie;	/* of the socket it is about; 0 = none */
	__u64 value;
	struct pod_uid pod;
	__u32 generation;	/* of the subject */
	__u32 rule;		/* cell behind counter_base */
	__u32 op;
	__u32 tgid;		/* in the host's pid namespace, as all below */
	__u32 tid;
	__u32 parent_tgid;
	__u32 uid;
	__u32 gid;
	__u64 capabilities;	/* effective */
	__u8 action;		/* enum rule_action as carried out */
	__u8 flags;		/* RT_SAMPLE_* */
	__u8 protocol;
	__u8 family;
	__be16 port;
	__u16 reserved;
	__u8 address[16];
	char comm[16];
	__u16 subject_length;
	__u16 program_length;
	__u16 parent_length;
	__u16 args_length;
	char subject[SAMPLE_PATH_BYTES];
	char program[SAMPLE_PATH_BYTES];	/* the task's executable */
	char parent_program[SAMPLE_PATH_BYTES];
	char args[SAMPLE_ARGS_BYTES];	/* argv, NUL separated, of the task as it runs now; empty where it cannot be read */
};

/* rt_sockets: hash LRU, key __u64 socket cookie, value struct socket_maker: which process made a raw or packet socket. */
struct socket_maker {
	__u64 boottime_ns;
	struct pod_uid pod;
	__u64 container_cgroup_id;
	__u32 tgid;
	__u32 uid;
	char comm[16];
	__u16 program_length;
	__u16 family;
	__u16 type;
	__u16 protocol;
	char program[SAMPLE_PATH_BYTES];
};

#endif
