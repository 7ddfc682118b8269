/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Other tasks: reading, stopping, ending, slowing and marking them.
 *
 * ptrace_access_check, ptrace_traceme	KERNEL_PTRACE, KERNEL_TRACEME
 * task_kill				KERNEL_SIGNAL
 * task_setrlimit			the same: a limit of CPU time makes the kernel send SIGKILL
 * task_setnice, task_setioprio,
 * task_setscheduler, task_movememory	the same
 * file_fcntl, file_ioctl,
 * file_ioctl_compat			the same: the process that gets the signals of a file
 * file_open for writing		the same, of /proc/<pid>/… and of the files of a cgroup: oom_score_adj,
 * 					cgroup.procs, cgroup.kill, cgroup.freeze, memory.high
 *
 * Place in the data path: kernel → here → decide_value (OP_KERNEL). A task of the own pod, and a
 * file of the own pod's cgroup, is never judged here. docs/runtime-hooks.md lists the gaps.
 */
#ifndef BAILIFF_RUNTIME_OTHER_TASKS_H
#define BAILIFF_RUNTIME_OTHER_TASKS_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_tracing.h>

#include "decide.h"
#include "entry.h"
#include "identity.h"
#include "kernel.h"
#include "mounts.h"
#include "walk.h"

#define PTRACE_MODE_ATTACH  2
#define PTRACE_MODE_NOAUDIT 4

#define PROC_MAGIC    0x9fa0
#define CGROUP_MAGIC  0x27e0eb
#define CGROUP2_MAGIC 0x63677270

struct kernel_siginfo;
struct rlimit;

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct hlist_node {
	struct hlist_node *next;
};

struct hlist_head {
	struct hlist_node *first;
};

struct pid {
	unsigned int level;
	struct hlist_head tasks[1]; /* the first: of the task with this number */
};

struct task_struct___ids {
	struct pid *thread_pid;
	struct hlist_node pid_links[1];
};

struct proc_inode {
	struct pid *pid; /* NULL: the file is of no task */
	struct inode vfs_inode;
};

struct inode___cgroup {
	unsigned long i_ino;
	void *i_private; /* kernfs_node */
};

struct kernfs_node___cgroup {
	void *priv; /* of a directory: its cgroup */
};

#pragma clang attribute pop

/* ---- the pod of a task ---- */

/* Whether an unarmed task entered the cgroup of a pod, or without a record is in it. */
static __noinline bool is_in_cgroup_of(const struct pod_uid *pod, struct task_struct *task)
{
	const struct task_state *entry = entry_of(task);
	struct rt_origin origin = {};

	if (entry)
		return !(entry->flags & TASK_FOREIGN) && same_pod(&entry->pod, pod);
	return pod_of_cgroup(cgroup_of(task), &origin) && same_pod(&origin.pod, pod);
}

/*
 * Whether the task is in the current task's mount namespace, or in a PID namespace other than the
 * host's. A service of the host is in neither.
 */
static __always_inline bool is_contained(struct task_struct *task)
{
	const struct task_struct___ids *of = (void *)task;

	return mnt_ns_of(task) == mnt_ns_of(bpf_get_current_task_btf()) ||
	       BPF_CORE_READ(of, thread_pid, level);
}

/*
 * A process of the host does not join a pod by a move into its cgroup. Otherwise the pod could read
 * its files and pipes.
 */
static __always_inline bool is_same_pod(const struct policy_ctx *policy, struct task_struct *task)
{
	const struct task_state *state = state_of(task);

	if (is_armed(task, state))
		return same_pod(&state->pod, &policy->pod);
	return is_contained(task) && is_in_cgroup_of(&policy->pod, task);
}

/* ---- reading ---- */

/*
 * Attaching to a task, and its memory and descriptors, in any pod; what /proc shows of a task only
 * beyond the own pod.
 */
SEC("lsm/ptrace_access_check")
int BPF_PROG(handle_ptrace_access_check, struct task_struct *child, unsigned int mode)
{
	struct policy_ctx policy;

	if (!identify(&policy, OP_KERNEL))
		return 0;
	if (!(mode & PTRACE_MODE_ATTACH) && is_same_pod(&policy, child))
		return 0;
	policy.quiet = mode & PTRACE_MODE_NOAUDIT;
	if (decide_value(&policy, OP_KERNEL, KERNEL_PTRACE))
		return -EPERM;
	return 0;
}

SEC("lsm/ptrace_traceme")
int BPF_PROG(handle_ptrace_traceme, struct task_struct *parent)
{
	struct policy_ctx policy;

	if (identify(&policy, OP_KERNEL) && decide_value(&policy, OP_KERNEL, KERNEL_TRACEME))
		return -EPERM;
	return 0;
}

/* ---- stopping, ending, slowing ---- */

static __noinline int decide_change(struct task_struct *target)
{
	struct policy_ctx policy;

	if (!identify(&policy, OP_KERNEL) || is_same_pod(&policy, target))
		return 0;
	return refused(decide_value(&policy, OP_KERNEL, KERNEL_SIGNAL));
}

/* Signals of the kernel do not reach this hook. Signal 0 only tests whether the task exists. */
SEC("lsm/task_kill")
int BPF_PROG(handle_task_kill, struct task_struct *target, struct kernel_siginfo *info, int signal,
	     const struct cred *cred)
{
	if (signal && decide_change(target))
		return -EPERM;
	return 0;
}

/* prlimit and setrlimit. */
SEC("lsm/task_setrlimit")
int BPF_PROG(handle_task_setrlimit, struct task_struct *target, unsigned int resource,
	     struct rlimit *limit)
{
	if (decide_change(target))
		return -EPERM;
	return 0;
}

SEC("lsm/task_setnice")
int BPF_PROG(handle_task_setnice, struct task_struct *target, int nice)
{
	if (decide_change(target))
		return -EPERM;
	return 0;
}

SEC("lsm/task_setioprio")
int BPF_PROG(handle_task_setioprio, struct task_struct *target, int priority)
{
	if (decide_change(target))
		return -EPERM;
	return 0;
}

/* Also the CPUs that a task may use, by its affinity and by a move between cpusets. */
SEC("lsm/task_setscheduler")
int BPF_PROG(handle_task_setscheduler, struct task_struct *target)
{
	if (decide_change(target))
		return -EPERM;
	return 0;
}

/* move_pages, migrate_pages. */
SEC("lsm/task_movememory")
int BPF_PROG(handle_task_movememory, struct task_struct *target)
{
	if (decide_change(target))
		return -EPERM;
	return 0;
}

/* ---- signals of a file ---- */

#define F_SETOWN    8
#define F_SETOWN_EX 15
#define FIOSETOWN   0x8901
#define SIOCSPGRP   0x8902

/* Since 6.2. */
extern struct task_struct *bpf_task_from_pid(__s32 pid) __ksym __weak;
extern void bpf_task_release(struct task_struct *task) __ksym __weak;

/* Whether the task is in the host's PID namespace, so that it can name a process outside its pod. */
static __always_inline bool sees_host_pids(void)
{
	const struct task_struct___ids *task = (void *)bpf_get_current_task_btf();

	return !BPF_CORE_READ(task, thread_pid, level);
}

/* Decides about an owner that this hook cannot identify. */
static __noinline int decide_unknown_owner(void)
{
	struct policy_ctx policy;

	return sees_host_pids() && identify(&policy, OP_KERNEL) &&
	       refused(decide_value(&policy, OP_KERNEL, KERNEL_SIGNAL));
}

/*
 * A file sends SIGIO, or by F_SETSIG any signal, to its owner. The kernel sends it from any context,
 * so the decision is made when the owner is set. A process group is not looked up.
 */
static __noinline int decide_owner(int pid)
{
	const struct task_struct *current = bpf_get_current_task_btf();
	struct task_struct *owner;
	int decision;

	if (!pid || pid == current->pid || pid == current->tgid || !sees_host_pids())
		return 0;
	if (pid < 0 || !bpf_ksym_exists(bpf_task_from_pid))
		return refused(decide_unknown_owner());
	owner = bpf_task_from_pid(pid);
	if (!owner)
		return 0;
	decision = decide_change(owner);
	bpf_task_release(owner);
	return refused(decision);
}

/* F_SETOWN_EX reads its process from the memory of the task, which can change it meanwhile. */
SEC("lsm/file_fcntl")
int BPF_PROG(handle_file_fcntl, struct file *file, unsigned int command, unsigned long argument)
{
	if (command == F_SETOWN && decide_owner(argument))
		return -EPERM;
	if (command == F_SETOWN_EX && refused(decide_unknown_owner()))
		return -EPERM;
	return 0;
}

/* Commands of sockets. They too read the process from the memory of the task. */
static __always_inline bool sets_owner(unsigned int command)
{
	return command == FIOSETOWN || command == SIOCSPGRP;
}

/*
 * A FUSE server names a file from which the kernel then reads for it (passthrough, since 6.9): another
 * name for that file, as by a mount. An O_PATH descriptor is enough, and no later hook sees the file.
 */
#define FUSE_DEV_IOC_BACKING_OPEN 0x4010e501

static __noinline int decide_ioctl(unsigned int command)
{
	struct object object = {};

	if (command == FUSE_DEV_IOC_BACKING_OPEN)
		return refused(rt_decide_mount(&object, MOUNT_BIND, true));
	return sets_owner(command) && decide_unknown_owner();
}

SEC("lsm/file_ioctl")
int BPF_PROG(handle_file_ioctl, struct file *file, unsigned int command)
{
	if (refused(decide_ioctl(command)))
		return -EPERM;
	return 0;
}

/* Of 32-bit programs. Since 6.8; before, they reach file_ioctl. */
SEC("lsm/file_ioctl_compat")
int BPF_PROG(handle_file_ioctl_compat, struct file *file, unsigned int command)
{
	if (refused(decide_ioctl(command)))
		return -EPERM;
	return 0;
}

/* ---- files of other tasks ---- */

/* Address of the task that a file of /proc is about, or NULL. */
static __always_inline struct task_struct *task_of_proc(struct inode *inode)
{
	struct proc_inode *proc =
		(void *)inode - bpf_core_field_offset(struct proc_inode, vfs_inode);
	struct pid *pid = BPF_CORE_READ(proc, pid);
	struct hlist_node *link = pid ? BPF_CORE_READ(pid, tasks[0].first) : NULL;

	return link ? (void *)link - bpf_core_field_offset(struct task_struct___ids, pid_links)
		    : NULL;
}

/* Whether the file is in the directory of a pod's cgroup, or below it. Its number is the cgroup's id. */
static __noinline bool is_file_of_pod(struct dentry *dentry, const struct pod_uid *pod)
{
	for (int i = 0; i < CGROUP_LEVELS; i++) {
		const struct inode___cgroup *inode;
		const struct pod_uid *found;
		__u64 id;

		dentry = LOAD(dentry, dentry, d_parent);
		inode = (void *)LOAD(dentry, dentry, d_inode);
		id = BPF_CORE_READ(inode, i_ino);
		found = bpf_map_lookup_elem(&rt_cgroups, &id);
		if (found)
			return same_pod(found, pod);
	}
	return false;
}

/*
 * Whether the file is of a hierarchy of cgroup v1 with controllers. Without one, a cgroup changes
 * nothing about its tasks.
 */
static __noinline bool has_controllers(struct dentry *dentry)
{
	struct dentry *directory = LOAD(dentry, dentry, d_parent);
	const struct inode___cgroup *inode = (void *)LOAD(dentry, directory, d_inode);
	const struct kernfs_node___cgroup *node = BPF_CORE_READ(inode, i_private);
	const struct cgroup___root *cgroup = BPF_CORE_READ(node, priv);

	return BPF_CORE_READ(cgroup, root, subsys_mask);
}

/*
 * Decides about a file that changes tasks, opened for writing. Returns 1 to refuse. Files of
 * controllers of cgroup v1 are never the pod's: their numbers are not ids of its cgroups.
 */
__noinline int rt_decide_control(const struct object *object)
{
	struct event event = { .value = KERNEL_SIGNAL };
	struct task_struct *task;
	struct policy_ctx policy;
	struct dentry *dentry;
	unsigned long magic;

	if (!object)
		return 0;
	dentry = object->dentry;
	event.dentry = dentry;
	event.mnt = object->mnt;
	magic = BPF_CORE_READ(dentry, d_sb, s_magic);
	if (magic != PROC_MAGIC && magic != CGROUP_MAGIC && magic != CGROUP2_MAGIC)
		return 0;
	if (!identify(&policy, OP_KERNEL))
		return 0;
	if (magic == PROC_MAGIC) {
		task = task_of_proc(LOAD(dentry, dentry, d_inode));
		if (!task || is_same_pod(&policy, task))
			return 0;
	} else if (magic == CGROUP2_MAGIC ? is_file_of_pod(dentry, &policy.pod)
					  : !has_controllers(dentry)) {
		return 0;
	}
	return decide_event(&policy, OP_KERNEL, &event);
}

#endif
