/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Records of single operations: the ring record of kind `lsm`, and the creator of a socket.
 *
 * Part of layout.h, which includes it last; the same rules hold.
 */
#ifndef BAILIFF_RUNTIME_SAMPLE_LAYOUT_H
#define BAILIFF_RUNTIME_SAMPLE_LAYOUT_H

#include <linux/types.h>

/* Ring record. Its size distinguishes it from struct spoof_sample. */
#define SAMPLE_PATH_BYTES 256
#define SAMPLE_ARGS_BYTES 128
enum rt_sample_flag {
	RT_SAMPLE_FIRST = 1 << 0,
	RT_SAMPLE_POSTURE = 1 << 1, /* `rule` is relative to the first extra cell */
	RT_SAMPLE_PATH = 1 << 2,    /* `subject` is a path; if cut, its end is kept */
	RT_SAMPLE_ADDRESS = 1 << 3,
	RT_SAMPLE_CUT = 1 << 4, /* a text lacks its front */
};

struct runtime_sample {
	__u64 boottime_ns;
	__u64 cgroup_id; /* current one of the task */
	__u64 container_cgroup_id;
	__u64 socket_cookie; /* of the operation's socket; 0: none */
	__u64 value;
	struct pod_uid pod;
	__u32 generation; /* of the subject */
	__u32 rule;	  /* cell after counter_base */
	__u32 op;
	__u32 tgid; /* in the host's PID namespace, as all below */
	__u32 tid;
	__u32 parent_tgid;
	__u32 uid;
	__u32 gid;
	__u64 capabilities; /* effective */
	__u8 action;	    /* enum rule_action, as taken */
	__u8 flags;	    /* RT_SAMPLE_* */
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
	char program[SAMPLE_PATH_BYTES]; /* of the task's executable */
	char parent_program[SAMPLE_PATH_BYTES];
	char args[SAMPLE_ARGS_BYTES]; /* current argv, NUL separated; empty if unreadable */
};

/*
 * rt_sockets: hash, key __u64 socket cookie, value struct socket_maker: the process that created a
 * raw or packet socket. One of the newest SHARE_SOCKETS of its pod (struct rt_share).
 */
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
