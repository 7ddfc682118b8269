/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Programs and executable mappings: by path, and by the origin of the file.
 *
 * bprm_check_security	every program, and in a second call the interpreter of a script:
 * 			OP_EXECUTE, OP_DRIFT
 * mmap_file		an executable mapping: OP_MAP_EXECUTE, OP_DRIFT, host mounts; covers
 * 			ld.so, LD_PRELOAD and dlopen
 * file_mprotect		the same for a mapping that becomes executable
 *
 * Drift is a file that no image layer has. An image is the root of the container's first program
 * (arming.h): of an overlay, what has no upper dentry; of another file system, what is below that
 * root, if the file system is read-only as a whole. Memory is none, nor is anything that was mounted
 * in a user namespace. An overlay that a container mounts is not its root.
 * Drift in memory has no file on a mount of the host: tmpfs, memfd, deleted files, and what the pod
 * mounted in a user namespace (an overlay on a tmpfs, FUSE). A root that is itself a tmpfs is a layer.
 * The program of an exec was decided already, so the kernel's mappings of it during that exec are
 * not. Later mappings are decided, because a process can change its own file (PR_SET_MM_EXE_FILE).
 * Anonymous memory has no file, even where the kernel keeps one for it: shared memory, huge pages,
 * /dev/zero.
 */
#ifndef BAILIFF_RUNTIME_EXEC_H
#define BAILIFF_RUNTIME_EXEC_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_tracing.h>

#include "decide.h"
#include "decide-path.h"
#include "identity.h"
#include "mounts.h"
#include "walk.h"

#define EXEC_OPS (OP_BIT(OP_EXECUTE) | OP_BIT(OP_DRIFT))
#define MAP_OPS	 (OP_BIT(OP_MAP_EXECUTE) | OP_BIT(OP_DRIFT) | OP_BIT(OP_KERNEL))

enum origin { FROM_IMAGE, FROM_LAYER, FROM_VOLUME, FROM_MEMORY };

static __always_inline bool is_deleted(struct dentry *dentry)
{
	struct inode *inode = LOAD(dentry, dentry, d_inode);

	return !LOAD(dentry, dentry, d_hash.pprev) || !LOAD(inode, inode, i_nlink);
}

/*
 * The upper dentry of an overlay inode. Since 4.19, struct ovl_inode has it right after its
 * vfs_inode. The type itself may be in the BTF of a module, which needs more privileges to read.
 */
static __always_inline bool has_upper(struct inode *inode)
{
	void *upper = NULL;

	if (bpf_probe_read_kernel(&upper, sizeof(upper),
				  (void *)inode + bpf_core_type_size(struct inode)))
		return true;
	return upper;
}

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct super_block___owner {
	struct user_namespace *s_user_ns;
};

#pragma clang attribute pop

/* Files of memory: no image has any, also where it is mounted read-only. */
static __always_inline bool is_memory(unsigned long magic)
{
	return magic == TMPFS_MAGIC || magic == RAMFS_MAGIC || magic == HUGETLBFS_MAGIC;
}

/* A container runtime mounts an image in the host's user namespace, also for pods with another. */
static __always_inline bool is_mounted_by_host(struct super_block *sb)
{
	struct super_block___owner *of = (void *)sb;

	return !BPF_CORE_READ(of, s_user_ns, level);
}

static __noinline enum origin origin_of(struct dentry *dentry, const struct identity *identity)
{
	struct super_block *sb = LOAD(dentry, dentry, d_sb);
	unsigned long magic = LOAD(super_block, sb, s_magic);
	bool with_root = LOAD(super_block, sb, s_dev) == identity->root_device;
	struct dentry *root = (void *)identity->root_dentry;

	if (is_deleted(dentry) || (!with_root && (is_memory(magic) || !is_mounted_by_host(sb))))
		return FROM_MEMORY;
	if (is_memory(magic) || (magic == OVERLAYFS_MAGIC && !with_root))
		return FROM_LAYER;
	if (!with_root || (LOAD(super_block, sb, s_root) != root && !is_below(dentry, root)))
		return FROM_VOLUME;
	if (!is_mounted_by_host(sb))
		return FROM_LAYER;
	if (magic == OVERLAYFS_MAGIC)
		return has_upper(LOAD(dentry, dentry, d_inode)) ? FROM_LAYER : FROM_IMAGE;
	return LOAD(super_block, sb, s_flags) & SB_RDONLY ? FROM_IMAGE : FROM_LAYER;
}

static __always_inline enum drift_value drift_of(enum origin origin)
{
	if (origin == FROM_MEMORY)
		return DRIFT_MEMORY;
	return origin == FROM_VOLUME ? DRIFT_VOLUME : DRIFT_LAYER;
}

static __always_inline int decide_origin(struct policy_ctx *policy, struct event *event)
{
	enum origin origin;

	if (!policy->head)
		return 1;
	origin = origin_of(event->dentry, &policy->identity);
	if (origin == FROM_IMAGE || (origin == FROM_VOLUME && policy->head->drift_volumes))
		return 0;
	event->value = drift_of(origin);
	return decide_event(policy, OP_DRIFT, event);
}

/* Decides about a file on a mount of the host, reached by a descriptor or by /proc. */
static __always_inline int decide_host_mount(struct policy_ctx *policy, struct event *event)
{
	event->value = KERNEL_HOST_MOUNTS;
	return is_host_mount(event->mnt) && decide_event(policy, OP_KERNEL, event);
}

/* Makes all decisions about a file that becomes code; `op` is the one by path. */
static __always_inline int decide_executable(struct policy_ctx *policy, enum op op,
					     const struct file *file)
{
	struct event event = {};

	file_location(file, &event.dentry, &event.mnt);
	/* for a program, file_open decided about the host mount in this exec */
	if (op == OP_MAP_EXECUTE && policy_covers_op(policy, OP_KERNEL) &&
	    decide_host_mount(policy, &event))
		return 1;
	if (policy_covers_op(policy, OP_DRIFT) && decide_origin(policy, &event))
		return 1;
	event.value = 0;
	return policy_covers_op(policy, op) && decide_object_event(policy, op, &event);
}

/*
 * Whether the current task is about to run a container's first program and rt_tasks is full. The
 * program would run without a policy.
 */
__noinline int rt_is_without_state(void)
{
	const struct rt_settings *settings = rt_read_settings();
	const struct rt_totals *total = totals();
	struct rt_origin origin = {};

	if (!settings || !total || total->tasks < (__s32)settings->max_tasks ||
	    state_of(bpf_get_current_task_btf()) || !find_origin_at_exec(&origin))
		return 0;
	rt_count_loss(RT_LOSS_NO_STATE);
	return 1;
}

/*
 * An exec makes its thread the leader of the process, and ends the former one. Its record of the
 * entry is copied before.
 */
__noinline int rt_take_entry(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	const struct task_state *entry, *state;
	struct rt_origin origin = {};

	if (task->pid == task->tgid)
		return 0;
	entry = entry_of(task);
	state = state_of(task);
	if (!entry || !(entry->flags & ENTRY_FLAGS) || (state && state->flags & TASK_ARMED))
		return 0;
	origin.pod = entry->pod;
	origin.cgroup_id = entry->cgroup_id;
	return record_entry(task, &origin, entry->flags & ENTRY_FLAGS);
}

SEC("lsm/bprm_check_security")
int BPF_PROG(handle_bprm_check_security, struct linux_binprm *bprm)
{
	struct file *program = bprm->file;
	struct policy_ctx policy;

	rt_take_entry();
	if (rt_is_without_state())
		return -EAGAIN;
	if (!identify_exec(&policy, EXEC_OPS))
		return 0;
	if (refused(decide_executable(&policy, OP_EXECUTE, program)))
		return -EPERM;
	return 0;
}

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct task_struct___exec {
	unsigned in_execve : 1;
};

#pragma clang attribute pop

/*
 * Whether the task is between the check of a program and its first instruction. True in a kernel
 * without the flag.
 */
static __always_inline bool is_in_exec(void)
{
	struct task_struct___exec *task = (void *)bpf_get_current_task_btf();

	return !bpf_core_field_exists(task->in_execve) ||
	       BPF_CORE_READ_BITFIELD_PROBED(task, in_execve);
}

static __always_inline bool is_program_of_exec(const struct file *file)
{
	struct mm_struct *memory = LOAD(task_struct, bpf_get_current_task_btf(), mm);
	struct file *own = LOAD(mm_struct, memory, exe_file);
	struct dentry *dentry, *of_own;
	struct vfsmount *mnt;

	if (!own || !is_in_exec())
		return false;
	of_own = LOAD(file, own, f_path.dentry);
	file_location(file, &dentry, &mnt);
	return LOAD(dentry, of_own, d_inode) == LOAD(dentry, dentry, d_inode);
}

#define ZERO_DEVICE (1 << 20 | 5) /* /dev/zero, at any path */

union memory_name {
	char bytes[16];
	__u64 words[2];
};

static __always_inline bool same_name(const union memory_name *a, const union memory_name *b)
{
	return a->words[0] == b->words[0] && a->words[1] == b->words[1];
}

/* The kernel's own names. No file that a process creates (memfd, System V) gets one of them. */
static __always_inline bool is_memory_name(struct dentry *dentry)
{
	const union memory_name shared = { "dev/zero" }, huge = { "anon_hugepage" };
	union memory_name name = {};

	bpf_probe_read_kernel_str(name.bytes, sizeof(name), BPF_CORE_READ(dentry, d_name.name));
	return same_name(&name, &shared) || same_name(&name, &huge);
}

static __noinline bool is_anonymous(const struct file *file)
{
	struct dentry *dentry = LOAD(file, file, f_path.dentry);
	struct inode *inode = LOAD(dentry, dentry, d_inode);

	if (is_internal(LOAD(file, file, f_path.mnt)))
		return is_memory_name(dentry);
	return (LOAD(inode, inode, i_mode) & S_IFMT) == S_IFCHR &&
	       LOAD(inode, inode, i_rdev) == ZERO_DEVICE;
}

static __noinline int decide_mapping(struct file *file)
{
	struct policy_ctx policy;

	if (!identify_any(&policy, MAP_OPS) || is_program_of_exec(file) || is_anonymous(file))
		return 0;
	return decide_executable(&policy, OP_MAP_EXECUTE, file);
}

/*
 * A runtime may load a library of the container without an exec, for example a resolver plug-in.
 * From then on it runs the container's code, so the first such mapping arms it.
 */
__noinline int rt_arm_by_mapping(const struct file_at *at)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct task_state *state = state_of(task);
	struct rt_origin origin = {};

	if (!at || (state && state->flags & TASK_ARMED) || !is_container_file(task, at->file) ||
	    !find_origin(&origin))
		return 0;
	if (arm_as_entered(task, &origin))
		rt_push_executable();
	return 0;
}

SEC("lsm/mmap_file")
int BPF_PROG(handle_mmap_file, struct file *file, unsigned long wanted, unsigned long protection,
	     unsigned long flags)
{
	if (!file || !(protection & PROT_EXEC))
		return 0;
	rt_arm_by_mapping(&(struct file_at){ file });
	if (refused(decide_mapping(file)))
		return -EPERM;
	return 0;
}

SEC("lsm/file_mprotect")
int BPF_PROG(handle_file_mprotect, struct vm_area_struct *area, unsigned long wanted,
	     unsigned long protection)
{
	struct file *file = area->vm_file;

	if (!file || !(protection & PROT_EXEC) || area->vm_flags & VM_EXEC)
		return 0;
	if (refused(decide_mapping(file)))
		return -EPERM;
	return 0;
}

#endif
