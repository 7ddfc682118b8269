/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The mount of an object: in the task's own mount namespace, in the host's, or detached.
 *
 * Place in the data path: file.h, mount.h → here → decide.h. Rules name paths of the pod's own
 * mount namespace. An object reached through a mount of the host (leaked descriptor, /proc/1/root,
 * nsenter) is decided as KERNEL_HOST_MOUNTS too.
 * A detached mount (OPEN_TREE_CLONE, MNT_DETACH with an open descriptor) has no path, and no hook
 * when it is created. Its use is decided as a bind mount, unless its file system has no other
 * mount.
 * Hooks that receive no mount search the task's own mount namespace, in the order of its tree. What
 * other pods mount costs nothing there.
 * Limit: SEARCH_STEPS; an object that is shown by a later mount only is unresolved.
 */
#ifndef BAILIFF_RUNTIME_MOUNTS_H
#define BAILIFF_RUNTIME_MOUNTS_H

#include <stdbool.h>

#include "decide.h"
#include "decide-path.h"
#include "identity.h"
#include "kernel.h"
#include "walk.h"

/*
 * A step enters or leaves a mount, so these are 32,768 mounts of a namespace. A pod can make more
 * (fs.mount-max), but each costs time in which the kernel may not run another task on the CPU.
 */
#define SEARCH_STEPS  (1 << 16)
#define SEARCH_LAYERS 4096 /* mounts of one file system that are searched for one of the kernel */
#define SEARCH_DEPTH  64

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct list_head {
	struct list_head *next, *prev;
};

/*
 * Until 6.17 the mounts of a file system are a list with a head. Since then they are a chain that
 * ends with NULL.
 */
struct super_block___list {
	struct list_head s_mounts;
};

struct mount___list {
	struct list_head mnt_instance;
};

struct mount___tree {
	struct mount *mnt_parent;
	struct list_head mnt_mounts; /* of children, which are linked by mnt_child */
	struct list_head mnt_child;
};

struct mnt_namespace___tree {
	struct mount *root;
};

struct super_block___chain {
	struct mount *s_mounts;
};

struct mount___chain {
	struct mount *mnt_next_for_sb;
};

#pragma clang attribute pop

static __always_inline bool is_chained(void)
{
	return bpf_core_field_exists(struct mount___chain, mnt_next_for_sb);
}

/* Mount of a list link; NULL at the head, and where a mount that was removed meanwhile ends the list. */
static __always_inline struct mount *listed(const struct super_block *sb, void *link)
{
	void *head = (void *)sb + bpf_core_field_offset(struct super_block___list, s_mounts);

	return !link || link == head
		       ? NULL
		       : link - bpf_core_field_offset(struct mount___list, mnt_instance);
}

static __always_inline struct mount *first_mount(const struct super_block *sb)
{
	struct super_block___chain *chain = (void *)sb;
	struct super_block___list *list = (void *)sb;

	return is_chained() ? BPF_CORE_READ(chain, s_mounts)
			    : listed(sb, BPF_CORE_READ(list, s_mounts.next));
}

static __always_inline struct mount *next_mount(const struct super_block *sb, struct mount *mount)
{
	struct mount___chain *chain = (void *)mount;
	struct mount___list *list = (void *)mount;

	return is_chained() ? BPF_CORE_READ(chain, mnt_next_for_sb)
			    : listed(sb, BPF_CORE_READ(list, mnt_instance.next));
}

/* Whether the file system has no other mount, so that this one cannot be an alias. */
static __always_inline bool is_sole_mount(struct mount *mount)
{
	struct super_block *sb = LOAD(mount, mount, mnt.mnt_sb);

	return first_mount(sb) == mount && !next_mount(sb, mount);
}

/*
 * Whether the mount is in no namespace with a number. The kernel's own mounts do not count; they
 * are marked, or have an error as namespace.
 */
static __always_inline bool is_detached(const struct vfsmount *mnt)
{
	struct mount *mount = real_mount(mnt);

	return !is_internal(mnt) && !namespace_of(mount) &&
	       (unsigned long)LOAD(mount, mount, mnt_ns) < (unsigned long)-MAX_ERRNO;
}

/* ---- decisions ---- */

/*
 * Decides about a mount; event->value is its kind. An alias is refused where paths are protected,
 * unless a rule allows mounts of its kind. Returns 1 to refuse.
 */
static __always_inline int decide_mount(struct policy_ctx *policy, struct event *event, bool alias)
{
	struct matches matches = NO_MATCHES;

	if (!policy->head)
		return 1;
	rt_match_value(&policy->identity, &matches, OP_MOUNT, event->value);
	if (!alias || !policy->head->guard_aliases || matches.rule != NO_RULE ||
	    matches.allowed & 1U << RULE_ALLOW)
		return refused(rt_decide(&policy->identity, &matches, event, OP_MOUNT));
	if (matches.audit_rule != NO_RULE)
		rt_record_violation(&policy->identity, event, matches.audit_rule,
				    EVENT_CODE(OP_MOUNT, RULE_AUDIT));
	return deny_alias(policy, OP_MOUNT, event);
}

/*
 * Object of a hook. Global functions take pointers only inside memory. The stack of 6.1 has no room
 * for 8 more bytes.
 */
struct object {
	struct dentry *dentry;
	struct vfsmount *mnt;
	__u64 ops;	 /* bits; each is decided */
	__u32 reach_ops; /* of REACH_OPS */
	__u16 quiet;	 /* enum quiet */
	__u16 effects;	 /* as in IDENTITY_FIELDS, of the decision */
};

#define REACH_OPS (OP_BIT(OP_KERNEL) | OP_BIT(OP_MOUNT))

/* Decides about the mount that the object was reached through. Returns 1 to refuse. */
static __always_inline int decide_reach(struct policy_ctx *policy, const struct object *object)
{
	struct event event = { .dentry = object->dentry, .mnt = object->mnt };
	__u32 reach_ops = object->reach_ops;

	if (reach_ops & OP_BIT(OP_KERNEL) && policy_covers_op(policy, OP_KERNEL) &&
	    is_host_mount(event.mnt)) {
		policy->effects = 1;
		event.value = KERNEL_HOST_MOUNTS;
		return decide_event(policy, OP_KERNEL, &event);
	}
	if (reach_ops & OP_BIT(OP_MOUNT) && policy_covers_op(policy, OP_MOUNT) &&
	    is_detached(event.mnt) && !is_sole_mount(real_mount(event.mnt))) {
		policy->effects = 1;
		event.value = MOUNT_BIND;
		return decide_mount(policy, &event, true);
	}
	return 0;
}

/* Decides about a mount of `kind`; `object` is for the sample. Returns 1 to refuse. */
__noinline int rt_decide_mount(const struct object *object, enum mount_value kind, __u32 alias)
{
	struct event event = {};
	struct policy_ctx policy;

	if (!object || !identify(&policy, OP_MOUNT))
		return 0;
	event.dentry = object->dentry;
	event.mnt = object->mnt;
	event.value = kind;
	return decide_mount(&policy, &event, alias);
}

/* ---- the mount of a bare dentry ---- */

struct search {
	struct dentry *dentry;
	struct super_block *sb;
	struct mount *root; /* of the namespace */
	struct mount *mount;
	struct vfsmount *found;
	__u64 is_left; /* the mount and what is below it were looked at */
};

struct ascent {
	struct dentry *dentry;
	struct dentry *root;
	__u64 below;
};

static long ascend(__u32 step, void *context)
{
	struct ascent *ascent = context;
	struct dentry *dentry = ascent->dentry, *parent = BPF_CORE_READ(dentry, d_parent);

	ascent->below = dentry == ascent->root;
	ascent->dentry = parent;
	return ascent->below || parent == dentry;
}

static __always_inline bool is_below(struct dentry *dentry, struct dentry *root)
{
	struct ascent ascent = { .dentry = dentry, .root = root };

	bpf_loop(SEARCH_DEPTH + 1, ascend, &ascent, 0);
	return ascent.below;
}

static __always_inline bool shows(struct mount *mount, const struct search *search)
{
	return BPF_CORE_READ(mount, mnt.mnt_sb) == search->sb &&
	       is_below(search->dentry, BPF_CORE_READ(mount, mnt.mnt_root));
}

static __always_inline struct mount *child_of(struct list_head *link)
{
	return (void *)link - bpf_core_field_offset(struct mount___tree, mnt_child);
}

/*
 * Looks at a mount, or leaves it, and goes on to the next one of the tree. The link of a mount that was
 * removed meanwhile leads to itself.
 */
static long visit_mount(__u32 step, void *context)
{
	struct search *search = context;
	struct mount___tree *tree = (void *)search->mount;
	struct list_head *link, *end;

	if (!search->is_left) {
		if (shows(search->mount, search)) {
			search->found =
				(void *)search->mount + bpf_core_field_offset(struct mount, mnt);
			return 1;
		}
		link = BPF_CORE_READ(tree, mnt_mounts.next);
		end = (void *)tree + bpf_core_field_offset(struct mount___tree, mnt_mounts);
		if (link && link != end) {
			search->mount = child_of(link);
			return 0;
		}
	}
	if (search->mount == search->root)
		return 1;
	link = BPF_CORE_READ(tree, mnt_child.next);
	if (!link || child_of(link) == search->mount)
		return 1;
	tree = (void *)BPF_CORE_READ(tree, mnt_parent);
	end = (void *)tree + bpf_core_field_offset(struct mount___tree, mnt_mounts);
	search->is_left = link == end;
	search->mount = search->is_left ? (void *)tree : child_of(link);
	return 0;
}

/*
 * First mount of the task's own namespace that shows the dentry, or NULL. For hooks that receive no
 * mount. The tree is read without its lock, so a concurrent change by the same pod may end the search
 * early.
 */
static __noinline struct vfsmount *find_mount(struct dentry *dentry)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct mnt_namespace___tree *namespace = (void *)BPF_CORE_READ(task, nsproxy, mnt_ns);
	struct search search = { .dentry = dentry };

	search.sb = BPF_CORE_READ(dentry, d_sb);
	search.root = search.mount = BPF_CORE_READ(namespace, root);
	bpf_loop(SEARCH_STEPS, visit_mount, &search, 0);
	return search.found;
}

static long look_for_layer(__u32 step, void *context)
{
	struct search *search = context;
	struct mount *mount = search->mount;

	if (!mount)
		return 1;
	if ((unsigned long)BPF_CORE_READ(mount, mnt_ns) >= (unsigned long)-MAX_ERRNO &&
	    shows(mount, search)) {
		search->found = (void *)mount + bpf_core_field_offset(struct mount, mnt);
		return 1;
	}
	search->mount = next_mount(search->sb, mount);
	return 0;
}

/* Whether the dentry is in a layer of an overlay, which the kernel mounts for itself. */
static __noinline bool is_layer(struct dentry *dentry)
{
	struct search search = { .dentry = dentry };

	search.sb = BPF_CORE_READ(dentry, d_sb);
	search.mount = first_mount(search.sb);
	bpf_loop(SEARCH_LAYERS, look_for_layer, &search, 0);
	return search.found;
}

#endif
