/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Mounts, by mount(2) and by fsopen, fsconfig, fsmount, open_tree and move_mount.
 *
 * Place in the data path: system calls → LSM hooks here → decide_mount (OP_MOUNT by enum
 * mount_value), and OP_MOUNT_POINT for a mount point, a moved mount, an unmount or a pivot. Each
 * system call is decided once. If two system calls reach the same hook, the hook reads the call's
 * number to ignore one of them.
 * A bind mount, a move, a pivot, an overlay, and a block device that is mounted already are
 * aliases. They are refused where paths are protected. docs/runtime-hooks.md lists calls without a
 * hook: a clone by open_tree, fsmount, mount_setattr.
 */
#ifndef BAILIFF_RUNTIME_MOUNT_H
#define BAILIFF_RUNTIME_MOUNT_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_tracing.h>

#include "identity.h"
#include "kernel.h"
#include "mounts.h"
#include "file.h"

#define MS_REMOUNT     0x20
#define MS_BIND	       0x1000
#define MS_MOVE	       0x2000
#define MS_PROPAGATION 0x1e0000 /* shared, private, slave, unbindable */

/* Equal on every architecture, and for 32-bit programs. */
#define SYSCALL_OPEN_TREE      428
#define SYSCALL_FSCONFIG       431
#define SYSCALL_OPEN_TREE_ATTR 467
#define OPEN_TREE_NAMESPACE    2
#define SYSCALL_X32	       0x40000000
#define TYPE_BYTES	       16

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct pt_regs___x86 {
	unsigned long dx;
	unsigned long orig_ax;
};

struct pt_regs___arm64 {
	__u64 regs[31];
	int syscallno;
};

struct file_system_type {
	const char *name;
};

struct super_block___mount {
	struct file_system_type *s_type;
	void *s_bdev;
};

#pragma clang attribute pop

/* Number of the current system call, and its third argument. */
static __always_inline __u32 system_call(__u32 *third)
{
	void *registers = (void *)bpf_task_pt_regs(bpf_get_current_task_btf());
	struct pt_regs___arm64 *arm64 = registers;
	struct pt_regs___x86 *x86 = registers;

	if (bpf_core_field_exists(x86->orig_ax)) {
		*third = BPF_CORE_READ(x86, dx);
		return BPF_CORE_READ(x86, orig_ax) & ~SYSCALL_X32;
	}
	*third = BPF_CORE_READ(arm64, regs[2]);
	return BPF_CORE_READ(arm64, syscallno);
}

static __always_inline bool is_in_fsconfig(void)
{
	__u32 third;

	return system_call(&third) == SYSCALL_FSCONFIG;
}

/* In the order in which the kernel tests the flags. */
static __always_inline enum mount_value mount_kind(unsigned long flags)
{
	if (flags & MS_REMOUNT)
		return MOUNT_REMOUNT;
	if (flags & MS_BIND)
		return MOUNT_BIND;
	if (flags & MS_PROPAGATION)
		return MOUNT_PROPAGATION;
	return flags & MS_MOVE ? MOUNT_MOVE : MOUNT_NEW;
}

static __always_inline bool is_alias_kind(enum mount_value kind)
{
	return kind == MOUNT_BIND || kind == MOUNT_MOVE || kind == MOUNT_PIVOT;
}

static __noinline __u32 type_length(const char *type)
{
	char name[TYPE_BYTES];
	long bytes = bpf_probe_read_kernel_str(name, sizeof(name), type);

	return bytes > 0 ? bytes - 1 : 0;
}

static __noinline bool is_overlay(const char *type)
{
	char name[TYPE_BYTES] = {};

	bpf_probe_read_kernel_str(name, sizeof(name), type);
	return !__builtin_memcmp(name, "overlay", sizeof("overlay"));
}

static __always_inline int decide_kind(const struct path *path, enum mount_value kind, bool alias)
{
	struct object object = { .dentry = path->dentry, .mnt = path->mnt };

	return refused(rt_decide_mount(&object, kind, alias));
}

/* Decides about a mount point, a moved or an unmounted mount. Returns 1 to refuse. */
static __always_inline int decide_point(struct dentry *dentry, struct vfsmount *mnt)
{
	struct object object = { .dentry = dentry, .mnt = mnt, .ops = OP_BIT(OP_MOUNT_POINT) };

	return refused(rt_decide_object(&object));
}

/* Decides about a mount that has no object yet. Returns 1 to refuse. */
static __always_inline int decide_super(struct super_block *sb, enum mount_value kind)
{
	struct super_block___mount *mounted = (void *)sb;
	struct event event = { .value = kind };
	struct policy_ctx policy;
	bool alias;

	if (!identify(&policy, OP_MOUNT))
		return 0;
	event.text = BPF_CORE_READ(mounted, s_type, name);
	event.length = type_length(event.text);
	alias = kind == MOUNT_NEW &&
		(is_overlay(event.text) || (BPF_CORE_READ(mounted, s_bdev) && first_mount(sb)));
	return decide_mount(&policy, &event, alias);
}

/*
 * mount(2). The source of a move is not known yet. A move counts as an alias, so it cannot move
 * protected files.
 */
SEC("lsm/sb_mount")
int BPF_PROG(handle_sb_mount, const char *source, const struct path *path, const char *type,
	     unsigned long flags)
{
	enum mount_value kind = mount_kind(flags);

	if (decide_kind(path, kind, is_alias_kind(kind) || (kind == MOUNT_NEW && is_overlay(type))))
		return -EPERM;
	if (kind != MOUNT_REMOUNT && kind != MOUNT_PROPAGATION &&
	    decide_point(path->dentry, path->mnt))
		return -EPERM;
	return 0;
}

/*
 * A file system is created, or referenced again, before it is mounted anywhere. For mount(2),
 * sb_mount has decided already. No policy applies to mounts of the kernel itself, such as the
 * message queue in a new IPC namespace.
 */
SEC("lsm/sb_set_mnt_opts")
int BPF_PROG(handle_sb_set_mnt_opts, struct super_block *sb)
{
	if (is_in_fsconfig() && decide_super(sb, MOUNT_NEW))
		return -EPERM;
	return 0;
}

/* fspick and fsconfig. For mount(2), sb_mount decided. */
SEC("lsm/sb_remount")
int BPF_PROG(handle_sb_remount, struct super_block *sb)
{
	if (is_in_fsconfig() && decide_super(sb, MOUNT_REMOUNT))
		return -EPERM;
	return 0;
}

/*
 * An attached mount is moved. A detached mount comes from fsmount, for which fsconfig has decided,
 * or from open_tree. It is a bind mount if its file system has another mount.
 */
SEC("lsm/move_mount")
int BPF_PROG(handle_move_mount, const struct path *from, const struct path *to)
{
	if (is_detached(from->mnt)) {
		if (!is_sole_mount(real_mount(from->mnt)) && decide_kind(from, MOUNT_BIND, true))
			return -EPERM;
	} else if (decide_kind(from, MOUNT_MOVE, true) || decide_point(from->dentry, from->mnt)) {
		return -EPERM;
	}
	if (decide_point(to->dentry, to->mnt))
		return -EPERM;
	return 0;
}

/*
 * An unmount makes hidden files visible. With MNT_DETACH, files of the unmounted tree stay
 * reachable without a path. So rules for mount points apply as well.
 */
SEC("lsm/sb_umount")
int BPF_PROG(handle_sb_umount, struct vfsmount *mnt)
{
	struct object object = { .dentry = mnt->mnt_root,
				 .mnt = mnt,
				 .ops = OP_BIT(OP_MOUNT_POINT) };

	if (refused(rt_decide_mount(&object, MOUNT_UMOUNT, false)) ||
	    refused(rt_decide_object(&object)))
		return -EPERM;
	return 0;
}

/*
 * Since 7.0, open_tree can clone a tree into a mount namespace with the tree as its root, so every
 * name in it is an alias. Its only hook is the check for CAP_SYS_ADMIN (kernel-ops.h). The flags
 * are passed by value, so they cannot change afterwards.
 */
static __always_inline int decide_tree_as_namespace(void)
{
	struct object object = {};
	__u32 flags, number = system_call(&flags);

	if ((number != SYSCALL_OPEN_TREE && number != SYSCALL_OPEN_TREE_ATTR) ||
	    !(flags & OPEN_TREE_NAMESPACE))
		return 0;
	return refused(rt_decide_mount(&object, MOUNT_BIND, true));
}

/* The root of the namespace changes, and every path with it. */
SEC("lsm/sb_pivotroot")
int BPF_PROG(handle_sb_pivotroot, const struct path *put_old, const struct path *new_root)
{
	if (decide_kind(new_root, MOUNT_PIVOT, true))
		return -EPERM;
	if (decide_point(new_root->dentry, new_root->mnt) ||
	    decide_point(put_old->dentry, put_old->mnt))
		return -EPERM;
	return 0;
}

#endif
