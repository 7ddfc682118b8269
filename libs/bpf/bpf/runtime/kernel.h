/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Types of the kernel, each with the fields that the programs read. CO-RE resolves their offsets in
 * the running kernel.
 *
 * All other files of runtime/ read the kernel through these types. There is no generated vmlinux.h,
 * so this file lists what the programs depend on. A field that kernels spell differently is in a
 * second type with a `___` suffix. A family of hooks may declare its own types; types that two
 * families need are here.
 */
#ifndef BAILIFF_RUNTIME_KERNEL_H
#define BAILIFF_RUNTIME_KERNEL_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define EPERM	1
#define EAGAIN	11
#define SIGKILL 9

#define S_IFMT	 0170000
#define S_IFSOCK 0140000
#define S_IFREG	 0100000
#define S_IFDIR	 0040000
#define S_IFCHR	 0020000

#define PROT_EXEC 0x4
#define VM_EXEC	  0x4UL

#define OVERLAYFS_MAGIC 0x794c7630
#define TMPFS_MAGIC	0x01021994
#define RAMFS_MAGIC	0x858458f6
#define HUGETLBFS_MAGIC 0x958458f6
#define SB_RDONLY	1UL

/* Inode number of every detached mount namespace since 6.18; before, it is 0. */
#define ANONYMOUS_MOUNT_NS 0xEFFFFFF7

#define MAX_ERRNO 4095UL
#define IS_ERR_OR_NULL(pointer) \
	(!(pointer) || (unsigned long)(pointer) >= (unsigned long)-MAX_ERRNO)

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	__u32 val;
} kuid_t;
typedef struct {
	__u32 val;
} kgid_t;

struct qstr {
	__u32 len;
	const unsigned char *name;
};

struct hlist_bl_node {
	struct hlist_bl_node *next, **pprev;
};

struct super_block {
	__u32 s_dev;
	unsigned long s_flags;
	unsigned long s_magic;
	struct dentry *s_root;
};

struct inode {
	__u16 i_mode;
	__u32 i_rdev;
	struct super_block *i_sb;
	unsigned long i_ino;
	__u32 i_nlink;
};

struct dentry {
	__u32 d_flags;
	struct hlist_bl_node d_hash;
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
	struct super_block *d_sb;
};

struct vfsmount {
	struct dentry *mnt_root;
	struct super_block *mnt_sb;
	int mnt_flags;
};

struct ns_common {
	__u32 inum;
};

struct mnt_namespace {
	struct ns_common ns;
};

struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
	struct mnt_namespace *mnt_ns;
};

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct file {
	__u32 f_mode;
	__u32 f_flags;
	struct path f_path;
	struct inode *f_inode;
};

/* Since 6.8, f_path of a file below an overlay is the lower file's; the overlay's path is here. */
struct backing_file {
	struct path user_path;
};

struct fs_struct {
	struct path root;
};

struct nsproxy {
	struct mnt_namespace *mnt_ns;
};

/* One number since 6.3; before, two halves, the lower first. CAPABILITIES reads it whole. */
struct kernel_cap_struct {
	__u64 whole;
};

struct user_namespace {
	int level;
};

struct cred {
	kuid_t uid;
	kgid_t gid;
	struct kernel_cap_struct cap_permitted;
	struct kernel_cap_struct cap_effective;
	struct kernel_cap_struct cap_bset;
	struct user_namespace *user_ns;
};

struct mm_struct {
	struct file *exe_file;
	unsigned long arg_start;
	unsigned long arg_end;
};

struct task_struct {
	int pid;
	int tgid;
	struct task_struct *real_parent;
	struct mm_struct *mm;
	const struct cred *cred;
	struct fs_struct *fs;
	struct nsproxy *nsproxy;
};

struct linux_binprm {
	struct file *file;
};

struct vm_area_struct {
	unsigned long vm_flags;
	struct file *vm_file;
};

struct kernfs_node {
	const char *name;
	__u64 id;
};

struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
};

struct cgroup {
	struct cgroup_subsys_state self;
	int level; /* 0: the root */
	struct kernfs_node *kn;
};

#pragma clang attribute pop

/* Since 6.2. */
extern void *bpf_rdonly_cast(const void *object, __u32 type) __ksym __weak;

/*
 * Reads a field of a kernel object whose address is just a number to the verifier. Returns zero if
 * the address is invalid. A plain load if the kernel lets a program cast it to the type, otherwise
 * a copy by helper, which costs many times as much.
 */
#define LOAD(type, object, field) \
	({ \
		typeof(((struct type *)0)->field) loaded; \
		if (bpf_ksym_exists(bpf_rdonly_cast)) \
			loaded = ((struct type *)bpf_rdonly_cast( \
					  object, bpf_core_type_id_kernel(struct type))) \
					 ->field; \
		else \
			loaded = BPF_CORE_READ((const struct type *)(object), field); \
		loaded; \
	})

/*
 * A capability set of a task: `CAPABILITIES(task, cred, cap_bset)`. It does not name the field of
 * the set, which was renamed.
 */
#define CAPABILITIES(object, ...) \
	({ \
		__u64 set = 0; \
		BPF_CORE_READ_INTO(&set, object, __VA_ARGS__); \
		set; \
	})

#endif
