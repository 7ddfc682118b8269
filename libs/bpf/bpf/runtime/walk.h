/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * From an object to its path: up its parents and mounts to the root of the mount namespace, and the
 * hashes of that path.
 *
 * Place in the data path: decide.h, lifecycle.h and sample.h → here. The walk reads dentries and
 * mounts, never text from user space, so symbolic links, `..`, descriptors and /proc links are
 * resolved. bpf_d_path is available to few hooks and ends at the task's root, which chroot moves.
 * The hash of a path is a chain: h = siphash13(key, "/"), then for each component h =
 * siphash13(key, le64(h) || name). An object in no namespace (memfd, detached mount) starts from
 * siphash13(key, "") and never equals a path of a container.
 * Limits: WALK_COMPONENTS and WALK_MOUNTS; beyond them the walk is unresolved. A concurrent rename
 * may give the old or the new name of a component.
 */
#ifndef BAILIFF_RUNTIME_WALK_H
#define BAILIFF_RUNTIME_WALK_H

#include <stdbool.h>
#include <stddef.h>

#include "kernel.h"
#include "maps.h"
#include "naming.h"
#include "state.h"
#include "siphash.h"

enum walk_end {
	WALK_UNRESOLVED,
	WALK_ROOT,     /* of a mount namespace */
	WALK_DETACHED, /* of an object in no mount namespace */
	WALK_STOP,     /* at scratch->stop */
};

static __always_inline struct mount *real_mount(const struct vfsmount *mnt)
{
	return (void *)mnt - bpf_core_field_offset(struct mount, mnt);
}

/* Returns NULL if the mount is in no namespace with a number: kernel-internal or detached. */
static __always_inline struct mnt_namespace *namespace_of(struct mount *mount)
{
	struct mnt_namespace *namespace = LOAD(mount, mount, mnt_ns);
	__u32 number;

	if (IS_ERR_OR_NULL(namespace))
		return NULL;
	number = LOAD(mnt_namespace, namespace, ns.inum);
	return number && number != ANONYMOUS_MOUNT_NS ? namespace : NULL;
}

#define MNT_INTERNAL 0x4000 /* the kernel's own mounts: pipes, sockets, memfd, message queues */

static __always_inline bool is_internal(const struct vfsmount *mnt)
{
	return LOAD(vfsmount, mnt, mnt_flags) & MNT_INTERNAL;
}

/* Whether the mount is in the host's tree, as container runtimes see it. */
static __always_inline bool is_host_mount(const struct vfsmount *mnt)
{
	const struct rt_settings *settings = rt_read_settings();
	struct mnt_namespace *namespace = namespace_of(real_mount(mnt));

	return settings && namespace &&
	       LOAD(mnt_namespace, namespace, ns.inum) == settings->host_mount_ns;
}

/*
 * Location of a file as its opener sees it. A mapping of an overlay file holds the lower file, on
 * an internal mount, and remembers the overlay's path. The flag for that differs between kernels,
 * so the dentry of an overlay is the test.
 */
static __always_inline void file_location(const struct file *file, struct dentry **dentry,
					  struct vfsmount **mnt)
{
	const struct backing_file *backing = (const void *)file;
	struct dentry *overlay;

	*dentry = LOAD(file, file, f_path.dentry);
	*mnt = LOAD(file, file, f_path.mnt);
	if (!bpf_core_field_exists(struct backing_file, user_path) ||
	    namespace_of(real_mount(*mnt)))
		return;
	overlay = BPF_CORE_READ(backing, user_path.dentry);
	if (BPF_CORE_READ(overlay, d_sb, s_magic) != OVERLAYFS_MAGIC)
		return;
	*dentry = overlay;
	*mnt = BPF_CORE_READ(backing, user_path.mnt);
}

/* Device number of the mounted file system. */
static __always_inline __u32 device_of(struct mount *mount)
{
	struct super_block *sb = LOAD(mount, mount, mnt.mnt_sb);

	return LOAD(super_block, sb, s_dev);
}

static __always_inline long leave_mount(struct scratch *scratch)
{
	struct mount *mount = scratch->mount, *parent = LOAD(mount, mount, mnt_parent);
	__u32 index = scratch->crossings;

	note_naming(scratch, scratch->root);
	if (parent == mount) {
		scratch->end = namespace_of(mount) ? WALK_ROOT : WALK_DETACHED;
		return 1;
	}
	if (index >= WALK_MOUNTS)
		return 1;
	scratch->crossed[index].root = scratch->root;
	scratch->crossed[index].device = device_of(mount);
	scratch->crossed[index].count = scratch->count;
	scratch->crossings = index + 1;
	scratch->dentry = LOAD(mount, mount, mnt_mountpoint);
	scratch->mount = parent;
	scratch->root = LOAD(mount, parent, mnt.mnt_root);
	return 0;
}

static long walk_step(__u32 step, void *context)
{
	struct scratch *scratch = *(struct scratch **)context;
	struct dentry *dentry = scratch->dentry, *parent;
	__u32 count = scratch->count;

	if (!dentry)
		return 1;
	if (dentry == scratch->stop) {
		scratch->end = WALK_STOP;
		return 1;
	}
	if (dentry == scratch->root && !scratch->stop)
		return leave_mount(scratch);
	parent = LOAD(dentry, dentry, d_parent);
	if (count >= WALK_COMPONENTS)
		return 1;
	/* a root that is not its mount's has a name: memfd:x, pipe: */
	if (!scratch->stop || parent != dentry) {
		scratch->components[count] = dentry;
		scratch->count = count + 1;
	}
	if (parent == dentry) {
		/* opened by handle, an object may be in no directory yet */
		if (scratch->stop || is_internal(&scratch->mount->mnt))
			scratch->end = WALK_DETACHED;
		return 1;
	}
	scratch->dentry = parent;
	return 0;
}

static __always_inline void walk_up(struct scratch *scratch)
{
	scratch->end = WALK_UNRESOLVED;
	bpf_loop(WALK_COMPONENTS + WALK_MOUNTS + 1, walk_step, &scratch, 0);
}

/* Collects the components from the object up to the root of its namespace. */
static __always_inline enum walk_end walk(struct scratch *scratch, struct dentry *dentry,
					  struct vfsmount *mnt)
{
	struct mount *mount = real_mount(mnt);

	scratch->count = 0;
	scratch->crossings = 0;
	scratch->foreign = 0;
	scratch->dentry = dentry;
	scratch->mount = mount;
	scratch->root = LOAD(mount, mount, mnt.mnt_root);
	scratch->stop = NULL;
	walk_up(scratch);
	return scratch->end;
}

/*
 * After walk(): a part of the container's root file system that is mounted elsewhere, or detached,
 * is the same object as at its own location. If the walk crossed such a mount, the components are
 * replaced by those of the own location. Returns false if it did not.
 */
static __always_inline bool walk_own_location(struct scratch *scratch, __u32 root_device,
					      struct dentry *root)
{
	struct mount *mount = scratch->mount;
	struct dentry *dentry = NULL;
	__u32 count = 0;

	for (__u32 i = 0; i < WALK_MOUNTS; i++) {
		if (i >= scratch->crossings)
			break;
		if (scratch->crossed[i].device == root_device) {
			dentry = scratch->crossed[i].root;
			count = scratch->crossed[i].count;
			break;
		}
	}
	/* a detached mount is not crossed: the walk ended at its root */
	if (!dentry && scratch->end == WALK_DETACHED && scratch->root == scratch->dentry &&
	    device_of(mount) == root_device) {
		dentry = scratch->dentry;
		count = scratch->count;
	}
	if (!dentry || !root ||
	    (dentry == root && count == scratch->count && scratch->end == WALK_ROOT))
		return false;
	scratch->count = count;
	scratch->dentry = dentry;
	scratch->stop = root;
	scratch->foreign = 0;
	walk_up(scratch);
	note_naming(scratch, root);
	return scratch->end != WALK_DETACHED;
}

/* ---- hashes ---- */

/* First hash of a chain. */
static __always_inline __u64 hash_root(struct scratch *scratch, enum walk_end end)
{
	scratch->words[0] = '/';
	return rt_siphash(scratch, end == WALK_DETACHED ? 0 : 1);
}

#define SHORT_NAME 16 /* bytes; the kernel keeps names of twice that inside the dentry */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* Two numbers in a row, to read a short name in two loads. */
struct timespec64 {
	long long tv_sec;
	long tv_nsec;
};

#pragma clang attribute pop

/*
 * Reads the name into scratch->words after the parent's hash. Returns false if it cannot be read.
 */
static __always_inline bool read_name(struct scratch *scratch, const unsigned char *name,
				      __u32 length)
{
	if (!bpf_ksym_exists(bpf_rdonly_cast) || length > SHORT_NAME)
		return !bpf_probe_read_kernel(&scratch->words[1], length, name);
	scratch->words[1] = LOAD(timespec64, name, tv_sec);
	scratch->words[2] = LOAD(timespec64, name, tv_nsec);
	return true;
}

/* Next hash of the chain. */
static __always_inline __u64 hash_component(struct scratch *scratch, __u64 above,
					    struct dentry *dentry)
{
	const unsigned char *name = LOAD(dentry, dentry, d_name.name);
	__u32 length = LOAD(dentry, dentry, d_name.len) & (NAME_BYTES - 1);

	scratch->words[0] = above;
	if (!read_name(scratch, name, length))
		length = 0;
	return rt_siphash(scratch, sizeof(__u64) + length);
}

static long hash_step(__u32 step, void *context)
{
	struct scratch *scratch = *(struct scratch **)context;
	__u32 at = scratch->count - 1 - step;

	if (at >= WALK_COMPONENTS)
		return 1;
	scratch->hash = hash_component(scratch, scratch->hash, scratch->components[at]);
	return 0;
}

/*
 * Passes the address of a kernel object to a global function, which takes pointers only inside
 * memory.
 */
struct file_at {
	const struct file *file;
};

/* Hash of the file's path; 0 if it is unresolved. */
__noinline __u64 rt_hash_file(const struct file_at *at)
{
	const struct file *file;
	struct scratch *scratch;
	__u64 hash = 0;

	if (!at)
		return 0;
	file = at->file;
	scratch = claim();
	if (!scratch)
		return 0;
	if (walk(scratch, LOAD(file, file, f_path.dentry), LOAD(file, file, f_path.mnt)) !=
	    WALK_UNRESOLVED) {
		scratch->hash = hash_root(scratch, scratch->end);
		bpf_loop(WALK_COMPONENTS, hash_step, &scratch, 0);
		hash = scratch->hash;
	} else {
		rt_count_loss(RT_LOSS_UNRESOLVED);
	}
	release(scratch);
	return hash;
}

/* ---- text ---- */

static long text_step(__u32 step, void *context)
{
	struct scratch *scratch = *(struct scratch **)context;
	const unsigned char *name;
	struct dentry *dentry;
	__u32 length, at;

	if (step >= scratch->count || step >= WALK_COMPONENTS)
		return 1;
	dentry = scratch->components[step];
	name = BPF_CORE_READ(dentry, d_name.name);
	length = BPF_CORE_READ(dentry, d_name.len) & (NAME_BYTES - 1);
	if (scratch->at < length + 1) {
		scratch->end = WALK_UNRESOLVED;
		return 1;
	}
	at = (scratch->at - length - 1) & (TEXT_BYTES - 1);
	scratch->at = at;
	scratch->text[at] = '/';
	bpf_probe_read_kernel(&scratch->text[at + 1], length, name);
	return 0;
}

struct path_text {
	char bytes[TEXT_BYTES];
};

/*
 * Writes the path as text, without its front if it is too long. Returns the length, or'ed with
 * TEXT_CUT if something is missing. `dentry` and `mnt` are addresses.
 */
#define TEXT_CUT 0x8000
__noinline __u32 rt_path_text(struct scratch *scratch, __u64 dentry, __u64 mnt,
			      struct path_text *to)
{
	enum walk_end end;
	__u32 length;

	if (!scratch || !to)
		return 0;
	end = walk(scratch, (void *)dentry, (void *)mnt);
	scratch->end = WALK_ROOT;
	scratch->at = TEXT_BYTES;
	bpf_loop(WALK_COMPONENTS, text_step, &scratch, 0);
	if (scratch->at == TEXT_BYTES) {
		scratch->at = TEXT_BYTES - 1;
		scratch->text[TEXT_BYTES - 1] = '/';
	}
	length = TEXT_BYTES - scratch->at;
	bpf_probe_read_kernel(to, TEXT_BYTES, &scratch->text[scratch->at & (TEXT_BYTES - 1)]);
	return end == WALK_UNRESOLVED || scratch->end == WALK_UNRESOLVED ? length | TEXT_CUT
									 : length;
}

#endif
