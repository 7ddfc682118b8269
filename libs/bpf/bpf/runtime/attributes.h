/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Extended attributes and access control lists of files.
 *
 * Place in the data path: setxattr, removexattr and their variants → LSM hooks here → mounts.h,
 * file.h. The hooks receive no mount. Calls of overlayfs for its own layers (foreign credentials)
 * are ignored.
 */
#ifndef BAILIFF_RUNTIME_ATTRIBUTES_H
#define BAILIFF_RUNTIME_ATTRIBUTES_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_tracing.h>

#include "creds.h"
#include "decide.h"
#include "file.h"
#include "mounts.h"

#define ATTRIBUTE_IGNORED  0 /* the policy does not cover it, or the kernel's own work */
#define ATTRIBUTE_NO_MOUNT 1 /* no mount of the task's namespace shows the object */

/* Otherwise returns the address of the mount to decide with. */
__noinline __u64 rt_attribute_mount(const struct object *object)
{
	struct vfsmount *mnt;
	struct policy_ctx policy;

	if (!object || !identify(&policy, OP_SETXATTR) ||
	    uses_foreign_creds(bpf_get_current_task_btf()))
		return ATTRIBUTE_IGNORED;
	mnt = find_mount(object->dentry);
	if (mnt)
		return (__u64)mnt;
	/* with an io_uring, the credentials alone prove nothing */
	return has_overridden_creds(bpf_get_current_task_btf()) && is_layer(object->dentry)
		       ? ATTRIBUTE_IGNORED
		       : ATTRIBUTE_NO_MOUNT;
}

/* Decides about an object without a path. Returns 1 to refuse. */
__noinline int rt_decide_without_path(const struct object *object, enum op op)
{
	struct matches matches = NO_MATCHES;
	struct event event = {};
	struct policy_ctx policy;

	if (!object || !identify(&policy, op))
		return 0;
	if (!policy.head)
		return 1;
	rt_count_loss(RT_LOSS_UNRESOLVED);
	matches.unresolved = 1;
	return rt_decide(&policy.identity, &matches, &event, op);
}

/*
 * These hooks receive no mount. The object is decided at the first mount of the task's own
 * namespace that shows it. Without such a mount it was reached through a detached mount or another
 * namespace, and has no path.
 */
static __always_inline int decide_attribute(struct dentry *dentry)
{
	struct object object = { .dentry = dentry, .ops = OP_BIT(OP_SETXATTR) };
	__u64 place = rt_attribute_mount(&object);

	if (place == ATTRIBUTE_IGNORED)
		return 0;
	if (place == ATTRIBUTE_NO_MOUNT)
		return refused(rt_decide_without_path(&object, OP_SETXATTR));
	object.mnt = (void *)place;
	return refused(rt_decide_object(&object));
}

SEC("lsm/inode_setxattr")
int BPF_PROG(handle_inode_setxattr, void *idmap, struct dentry *dentry)
{
	if (decide_attribute(dentry))
		return -EPERM;
	return 0;
}

SEC("lsm/inode_removexattr")
int BPF_PROG(handle_inode_removexattr, void *idmap, struct dentry *dentry)
{
	if (decide_attribute(dentry))
		return -EPERM;
	return 0;
}

/* Access control lists since 6.2; before, they call inode_setxattr. */
SEC("lsm/inode_set_acl")
int BPF_PROG(handle_inode_set_acl, void *idmap, struct dentry *dentry)
{
	if (decide_attribute(dentry))
		return -EPERM;
	return 0;
}

SEC("lsm/inode_remove_acl")
int BPF_PROG(handle_inode_remove_acl, void *idmap, struct dentry *dentry)
{
	if (decide_attribute(dentry))
		return -EPERM;
	return 0;
}

#endif
