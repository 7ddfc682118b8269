/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Files: opening, and all operations that change what a path names.
 *
 * Place in the data path: system calls and io_uring → LSM hooks here → mounts.h, decide.h. A hook
 * receives the object, not the path text of the caller. The rules of its operation decide.
 * Link and rename are refused if a rule denies any operation on the old name, except execution. So is
 * a removal that the file system may carry out as a rename.
 * docs/runtime-hooks.md and docs/runtime-paths.md list the gaps and the first kernel of each hook.
 * Only system calls reach the path_* hooks; operations of overlayfs on its layers do not. The
 * program ignores opens by overlayfs (FMODE_NOACCOUNT).
 */
#ifndef BAILIFF_RUNTIME_FILE_H
#define BAILIFF_RUNTIME_FILE_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_tracing.h>

#include "creation.h"
#include "decide.h"
#include "decide-path.h"
#include "mounts.h"
#include "open-cache.h"
#include "other-tasks.h"

#define FMODE_READ	0x1
#define FMODE_WRITE	0x2
#define FMODE_CREATED	0x100000   /* by this open */
#define FMODE_NOACCOUNT 0x20000000 /* opened by the kernel itself: layers of an overlay */

#define O_ACCMODE    3
#define O_CREAT	     0x40
#define O_TRUNC	     0x200
#define FLAG_EXEC    0x20     /* opened for an exec: decided as OP_EXECUTE elsewhere */
#define FLAG_TMPFILE 0x400000 /* O_TMPFILE without O_DIRECTORY */

/* ---- opening ---- */

/* Both access bits: only for ioctl. The kernel checks the rights to read and to write. */
static __always_inline bool is_for_ioctl(const struct file *file)
{
	return (file->f_flags & O_ACCMODE) == O_ACCMODE;
}

static __always_inline __u64 open_ops(const struct file *file)
{
	__u64 ops = is_for_ioctl(file) ? OP_BIT(OP_READ) | OP_BIT(OP_WRITE) : 0;

	if (file->f_mode & FMODE_READ && !(file->f_flags & FLAG_EXEC))
		ops |= OP_BIT(OP_READ);
	if (file->f_mode & FMODE_WRITE || file->f_flags & O_TRUNC)
		ops |= OP_BIT(OP_WRITE);
	if (file->f_flags & FLAG_TMPFILE)
		ops |= OP_BIT(OP_CREATE);
	return ops;
}

/*
 * Checks each operation on an object that the policy set covers, and the mount through which the
 * caller reached it. Returns 1 to refuse.
 */
__noinline int rt_decide_object(struct object *object)
{
	struct policy_ctx policy;

	if (!object || !identify_any(&policy, object->ops | object->reach_ops))
		return 0;
	policy.quiet = object->quiet;
	if (decide_reach(&policy, object))
		return 1;
	for (enum op op = OP_READ; op <= OP_UNIX_BIND; op++) {
		if (!(object->ops >> op))
			break;
		if (object->ops & OP_BIT(op) && policy_covers_op(&policy, op) &&
		    decide_object(&policy, op, object->dentry, object->mnt))
			return 1;
	}
	object->effects = policy.effects;
	return 0;
}

static __always_inline int decide_ops(const struct path *path, __u64 ops)
{
	struct object object = {
		.dentry = path->dentry, .mnt = path->mnt, .ops = ops, .reach_ops = REACH_OPS
	};

	return refused(rt_decide_object(&object));
}

/*
 * open, openat2, creat, open_by_handle_at, /proc/<pid>/fd, io_uring, and the program of every exec.
 * Not O_PATH.
 */
SEC("lsm/file_open")
int BPF_PROG(handle_file_open, struct file *file)
{
	struct object object = { .dentry = file->f_path.dentry,
				 .mnt = file->f_path.mnt,
				 .reach_ops = REACH_OPS };
	__u64 stamp;

	if (file->f_mode & FMODE_NOACCOUNT)
		return 0;
	object.ops = open_ops(file);
	if (file->f_flags & O_CREAT)
		rt_take_mknod(&object, file->f_mode & FMODE_CREATED);
	stamp = rt_find_open(&object);
	if (stamp == OPEN_CACHED)
		return 0;
	if (file->f_mode & FMODE_WRITE && refused(rt_decide_control(&object)))
		return -EPERM;
	if (refused(rt_decide_object(&object)))
		return -EPERM;
	/* path_mknod counted that it refused to create the file, not that this open passes */
	if (object.quiet) {
		object.quiet = 0;
		if (refused(rt_decide_object(&object)))
			return -EPERM;
	}
	if (stamp != OPEN_NOT_CACHED)
		rt_store_open(&object, stamp);
	return 0;
}

/* A descriptor from another task: SCM_RIGHTS, pidfd_getfd. It gives the same access as an open. */
SEC("lsm/file_receive")
int BPF_PROG(handle_file_receive, struct file *file)
{
	/* pipes, sockets, memfd and the like have no path */
	if (is_internal(file->f_path.mnt))
		return 0;
	if (decide_ops(&file->f_path, open_ops(file) & (OP_BIT(OP_READ) | OP_BIT(OP_WRITE))))
		return -EPERM;
	return 0;
}

/* ---- one path ---- */

/* ftruncate and open(O_TRUNC) since 6.2; before, they call path_truncate. */
SEC("lsm/file_truncate")
int BPF_PROG(handle_file_truncate, struct file *file)
{
	if (decide_ops(&file->f_path, OP_BIT(OP_TRUNCATE)))
		return -EPERM;
	return 0;
}

SEC("lsm/path_truncate")
int BPF_PROG(handle_path_truncate, const struct path *path)
{
	if (decide_ops(path, OP_BIT(OP_TRUNCATE)))
		return -EPERM;
	return 0;
}

SEC("lsm/path_chmod")
int BPF_PROG(handle_path_chmod, const struct path *path)
{
	if (decide_ops(path, OP_BIT(OP_CHMOD)))
		return -EPERM;
	return 0;
}

SEC("lsm/path_chown")
int BPF_PROG(handle_path_chown, const struct path *path)
{
	if (decide_ops(path, OP_BIT(OP_CHOWN)))
		return -EPERM;
	return 0;
}

/* Rules match paths of the mount namespace, so chroot cannot evade them. A rule can deny chroot. */
SEC("lsm/path_chroot")
int BPF_PROG(handle_path_chroot, const struct path *path)
{
	if (decide_ops(path, OP_BIT(OP_CHROOT)))
		return -EPERM;
	return 0;
}

/* ---- a directory entry, existing or not ---- */

static __always_inline int decide_entry(const struct path *dir, struct dentry *dentry, enum op op)
{
	struct object object = {
		.dentry = dentry, .mnt = dir->mnt, .ops = OP_BIT(op), .reach_ops = REACH_OPS
	};

	return refused(rt_decide_object(&object));
}

static __always_inline enum op mknod_op(unsigned int mode)
{
	switch (mode & S_IFMT) {
	case 0:
	case S_IFREG:
		return OP_CREATE;
	case S_IFSOCK:
		return OP_UNIX_BIND;
	default:
		return OP_MKNOD;
	}
}

/* open(O_CREAT), before the kernel knows whether the file exists. */
static __always_inline int decide_creation(const struct path *dir, struct dentry *dentry)
{
	struct object object = {
		.dentry = dentry,
		.mnt = dir->mnt,
		.ops = OP_BIT(OP_CREATE),
		.reach_ops = REACH_OPS,
		.quiet = QUIET_PROBE,
	};
	int decision = refused(rt_decide_object(&object));

	if (decision) {
		object.quiet = 0;
		decision = refused(rt_decide_object(&object));
	}
	rt_store_mknod(&object, decision ? MKNOD_REFUSED : MKNOD_UNCOUNTED);
	return refused(decision);
}

/* mknod, open(O_CREAT) of a new file, bind of a unix socket, bpf(BPF_OBJ_PIN). */
SEC("lsm/path_mknod")
int BPF_PROG(handle_path_mknod, const struct path *dir, struct dentry *dentry, __u16 mode)
{
	enum op op = mknod_op(mode);

	/* mknod(2) looks the name up first */
	if (op == OP_CREATE && !is_hashed(dentry)) {
		if (decide_creation(dir, dentry))
			return -EPERM;
		return 0;
	}
	if (decide_entry(dir, dentry, op))
		return -EPERM;
	return 0;
}

SEC("lsm/path_mkdir")
int BPF_PROG(handle_path_mkdir, const struct path *dir, struct dentry *dentry)
{
	if (decide_entry(dir, dentry, OP_MKDIR))
		return -EPERM;
	return 0;
}

SEC("lsm/path_rmdir")
int BPF_PROG(handle_path_rmdir, const struct path *dir, struct dentry *dentry)
{
	if (decide_entry(dir, dentry, OP_RMDIR))
		return -EPERM;
	return 0;
}

/* Checks the name of the link only. The hook of the later access checks the target. */
SEC("lsm/path_symlink")
int BPF_PROG(handle_path_symlink, const struct path *dir, struct dentry *dentry)
{
	if (decide_entry(dir, dentry, OP_SYMLINK))
		return -EPERM;
	return 0;
}

/* ---- two names ---- */

__noinline int rt_decide_reach(const struct object *object)
{
	struct policy_ctx policy;

	return object && identify_any(&policy, object->reach_ops) && decide_reach(&policy, object);
}

/* Takes the denials of any operation under this name, except of running. */
static __always_inline void match_denials(struct policy_ctx *policy, struct matches *matches,
					  const struct event *event, __u64 own_name)
{
	__u32 rule, action;

	take_masks(policy, GUARDED_OPS);
	rt_match_object(&policy->identity, matches, event, GUARDED_OPS | own_name);
	rule = matches->rule;
	action = matches->action;
	*matches = NO_MATCHES;
	matches->rule = rule;
	matches->action = action;
}

/*
 * Checks the old name of a link or rename. Operations that a rule denies there would be possible
 * under the new name, so any denial refuses. Denials of execution are ignored, because a copy of the
 * file could run too. Returns 1 to refuse.
 */
__noinline int rt_decide_old_name(const struct object *object, enum op op)
{
	struct matches matches = NO_MATCHES;
	struct event event = {};
	struct policy_ctx policy;

	if (!object || !identify(&policy, op))
		return 0;
	if (!policy.head)
		return 1;
	event.dentry = object->dentry;
	event.mnt = object->mnt;
	match_denials(&policy, &matches, &event, 0);
	rt_match_object(&policy.identity, &matches, &event, OP_BIT(op));
	return rt_decide(&policy.identity, &matches, &event, op);
}

/*
 * Checks the name of a file that is_renamed_on_removal(). Denials of a directory above are ignored,
 * because they hold for the new name too. Returns 1 to refuse.
 */
__noinline int rt_decide_removal(const struct object *object)
{
	struct matches matches = NO_MATCHES;
	struct event event = {};
	struct policy_ctx policy;

	if (!object || !identify(&policy, OP_RENAME))
		return 0;
	if (!policy.head)
		return 1;
	event.dentry = object->dentry;
	event.mnt = object->mnt;
	match_denials(&policy, &matches, &event, OWN_NAME);
	if (matches.rule == NO_RULE)
		return 0;
	return rt_decide(&policy.identity, &matches, &event, OP_RENAME);
}

static __always_inline int decide_removal(const struct object *object)
{
	return is_renamed_on_removal(object->dentry) && refused(rt_decide_removal(object));
}

SEC("lsm/path_unlink")
int BPF_PROG(handle_path_unlink, const struct path *dir, struct dentry *dentry)
{
	struct object object = {
		.dentry = dentry, .mnt = dir->mnt, .ops = OP_BIT(OP_UNLINK), .reach_ops = REACH_OPS
	};

	if (refused(rt_decide_object(&object)) || decide_removal(&object))
		return -EPERM;
	return 0;
}

static __always_inline int decide_names(struct object *object, struct dentry *new, bool exchange,
					enum op op)
{
	if (refused(rt_decide_reach(object)) || refused(rt_decide_old_name(object, op)))
		return 1;
	object->dentry = new;
	return exchange ? refused(rt_decide_old_name(object, op))
			: refused(rt_decide_object(object));
}

SEC("lsm/path_link")
int BPF_PROG(handle_path_link, struct dentry *old_dentry, const struct path *new_dir,
	     struct dentry *new_dentry)
{
	struct object object = { .dentry = old_dentry,
				 .mnt = new_dir->mnt,
				 .ops = OP_BIT(OP_LINK),
				 .reach_ops = REACH_OPS };

	if (decide_names(&object, new_dentry, false, OP_LINK))
		return -EPERM;
	return 0;
}

#define RENAME_EXCHANGE 2

/* Both names are in one mount. In an exchange, both are old names. A file at the new name is removed. */
SEC("lsm/path_rename")
int BPF_PROG(handle_path_rename, const struct path *old_dir, struct dentry *old_dentry,
	     const struct path *new_dir, struct dentry *new_dentry, unsigned int flags)
{
	struct object object = { .dentry = old_dentry,
				 .mnt = new_dir->mnt,
				 .ops = OP_BIT(OP_RENAME),
				 .reach_ops = REACH_OPS };

	if (decide_names(&object, new_dentry, flags & RENAME_EXCHANGE, OP_RENAME) ||
	    decide_removal(&object))
		return -EPERM;
	return 0;
}

#endif
