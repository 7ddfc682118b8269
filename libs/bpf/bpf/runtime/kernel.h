/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The kernel's own types, each with only the fields that are read here: CO-RE finds where they lie in the running kernel.
 *
 * Place in the path: every other file of runtime/ reads the kernel through these. No generated vmlinux.h, so what the
 * programs depend on is what stands here. A field that kernels spell differently comes as a second type with a `___`.
 * Each family of hooks may add types of its own next to itself; what two of them need belongs here.
 */
#ifndef BAILIFF_RUNTIME_KERNEL_H
#define BAILIFF_RUNTIME_KERNEL_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define EPERM	1
#define ENOMEM	12
#define SIGKILL	9

#define S_IFMT		0170000
#define S_IFSOCK	0140000
#define S_IFREG		0100000
#define S_IFCHR		0020000

#define PROT_EXEC	0x4
#define VM_EXEC		0x4UL

#define OVERLAYFS_MAGIC	0x794c7630
#define TMPFS_MAGIC	0x01021994
#define RAMFS_MAGIC	0x858458f6
#define HUGETLBFS_MAGIC	0x958458f6
#define SB_RDONLY	1UL

/* Inode numbers that kernels of 6.18 and later give to every detached mount namespace; before, it is 0. */
#define ANONYMOUS_MOUNT_NS	0xEFFFFFF7

#define MAX_ERRNO	4095UL
#define IS_ERR_OR_NULL(pointer) (!(pointer) || (unsigned long)(pointer) >= (unsigned long)-MAX_ERRNO)

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct { __u32 val; } kuid_t;
typedef struct { __u32 val; } kgid_t;

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

/* From 6.8 on f_path of a file beneath an overlay is its own, and the overlay's is here. */
struct backing_file {
	struct path user_path;
};

struct fs_struct {
	struct path root;
};

struct nsproxy {
	struct mnt_namespace *mnt_ns;
};

/* One number since 6.3, before two halves of it, the lower first: read whole, by CAPABILITIES. */
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
	int level;	/* 0: the root */
	struct kernfs_node *kn;
};

#pragma clang attribute pop

/* From 6.2 on. */
extern void *bpf_rdonly_cast(const void *object, __u32 type) __ksym __weak;

/*
 * A field of an object of the kernel's, whose address is just a number here: zero where the address leads nowhere. A plain load where the
 * kernel lets a program name the object's type; else a copy by helper, which costs many times that.
 */
#define LOAD(type, object, field) ({									\
	typeof(((struct type *)0)->field) loaded;							\
	if (bpf_ksym_exists(bpf_rdonly_cast))								\
		loaded = ((struct type *)bpf_rdonly_cast(object, bpf_core_type_id_kernel(struct type)))->field;	\
	else												\
		loaded = BPF_CORE_READ((const struct type *)(object), field);				\
	loaded;												\
})

/* A set of capabilities of a task: `CAPABILITIES(task, cred, cap_bset)`. Not by a field of the set, whose name changed. */
#define CAPABILITIES(object, ...) ({					\
	__u64 set = 0;							\
	BPF_CORE_READ_INTO(&set, object, __VA_ARGS__);			\
	set;								\
})

#endif
