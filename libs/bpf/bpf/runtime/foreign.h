/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Whether the kernel works in the current task under credentials that are not the task's.
 *
 * Place in the path: file.h and kernel-ops.h ask before they judge. Overlayfs copies a file up as whoever mounted it: it asks
 * for CAP_SYS_ADMIN and sets attributes on the way, none of which the pod did. access(2) asks with fewer rights than the task has.
 * Invariant: what a task can choose is never foreign. io_uring lets it choose among credentials it once had (personalities, and
 * those of its worker threads), so beside a ring they count as foreign only if their bounding set is one that the task
 * can never have had; a pod with a full one is then judged for what overlayfs does, too.
 */
#ifndef BAILIFF_RUNTIME_FOREIGN_H
#define BAILIFF_RUNTIME_FOREIGN_H

#define PF_IO_WORKER	0x10	/* of io_uring; such a thread has no ring of its own */

struct user_namespace;

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct cred___rights {
	struct kernel_cap_struct cap_bset;
	struct user_namespace *user_ns;
};

struct task_struct___rights {
	unsigned int flags;
	const struct cred *real_cred;
	const struct cred *cred;
	void *io_uring;
};

#pragma clang attribute pop

/* Whether a task that is now bounded by `own` could ever have had `used`. */
static __always_inline bool is_within(const struct cred___rights *used, const struct cred___rights *own)
{
	return BPF_CORE_READ(used, user_ns) != BPF_CORE_READ(own, user_ns) ||
	       !(BPF_CORE_READ(used, cap_bset.val) & ~BPF_CORE_READ(own, cap_bset.val));
}

static __always_inline bool is_foreign(const struct task_struct *of)
{
	const struct task_struct___rights *task = (const void *)of;
	const struct cred *used = BPF_CORE_READ(task, cred), *own = BPF_CORE_READ(task, real_cred);

	if (used == own)
		return false;
	return (!BPF_CORE_READ(task, io_uring) && !(BPF_CORE_READ(task, flags) & PF_IO_WORKER)) ||
	       !is_within((const void *)used, (const void *)own);
}

#endif
