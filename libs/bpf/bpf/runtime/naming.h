/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * File systems on which one object has several names: those that compare names without case or have
 * short names, and those whose server resolves names. There the name of a dentry is only the one by
 * which the object was looked up first. And file systems on which a removal gives an open file another
 * name.
 *
 * Place in the data path: walk.h and file.h → here. decide-path.h takes what a rule denies below a mount
 * with several names as unresolved; file.h decides about a removal as about a rename.
 * Limits: names on NFS are otherwise taken as they are. A suffix is compared with the name that was
 * given.
 */
#ifndef BAILIFF_RUNTIME_NAMING_H
#define BAILIFF_RUNTIME_NAMING_H

#include <stdbool.h>

#include "kernel.h"
#include "maps.h"

#define DCACHE_OP_COMPARE 2
#define NTFS3_MAGIC	  0x7366746e /* short names, without a comparison */
#define FUSE_MAGIC	  0x65735546 /* virtiofs too */
#define V9FS_MAGIC	  0x01021997
#define SMB1_MAGIC	  0xff534d42
#define SMB2_MAGIC	  0xfe534d42
#define NFS_MAGIC	  0x6969
#define AFS_MAGIC	  0x6b414653 /* the kernel's own client */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct super_block___encoding {
	void *s_encoding; /* casefold: ext4, f2fs, tmpfs */
};

#pragma clang attribute pop

static __always_inline bool is_naming_unique(struct dentry *root)
{
	struct super_block *sb = LOAD(dentry, root, d_sb);
	struct super_block___encoding *encoded = (void *)sb;
	__u32 magic;

	if (LOAD(dentry, root, d_flags) & DCACHE_OP_COMPARE)
		return false;
	if (bpf_core_field_exists(encoded->s_encoding) &&
	    LOAD(super_block___encoding, encoded, s_encoding))
		return false;
	magic = LOAD(super_block, sb, s_magic);
	return magic != NTFS3_MAGIC && magic != FUSE_MAGIC && magic != V9FS_MAGIC &&
	       magic != SMB1_MAGIC && magic != SMB2_MAGIC;
}

/* Notes the components that were collected below the root of a mount. */
static __always_inline void note_naming(struct scratch *scratch, struct dentry *root)
{
	if (!is_naming_unique(root))
		scratch->foreign = scratch->count;
}

/*
 * Whether the kernel gives the file another name in its directory instead of removing it, while it is
 * open. It compares the dentry's references later, so a hook cannot know whether the file is open then.
 * Not inlined, because the stack of 6.1 has no room for it.
 */
static __noinline bool is_renamed_on_removal(struct dentry *dentry)
{
	struct super_block *sb = LOAD(dentry, dentry, d_sb);
	struct inode *inode = LOAD(dentry, dentry, d_inode);
	__u32 magic = LOAD(super_block, sb, s_magic);

	if (magic != NFS_MAGIC && magic != AFS_MAGIC)
		return false;
	return inode && (LOAD(inode, inode, i_mode) & S_IFMT) != S_IFDIR;
}

#endif
