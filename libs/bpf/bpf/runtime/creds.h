/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Whether the kernel works in the current task under credentials that are not the task's.
 *
 * Place in the path: file.h and kernel-ops.h ask before they judge. Overlayfs copies a file up as whoever mounted it: it asks
 * for CAP_SYS_ADMIN and sets attributes on the way, none of which the pod did. access(2) asks with fewer rights than the task has.
 * Invariant: what a task can choose is never foreign. io_uring lets it choose among credentials it once had (personalities, and
 * those of its worker threads), so beside a ring they count as foreign only if they hold what no task of the container could
 * ever have had. A container that has every capability, or a user namespace of its own, is then judged for overlayfs, too.
 */
#ifndef BAILIFF_RUNTIME_CREDS_H
#define BAILIFF_RUNTIME_CREDS_H

#include <stdbool.h>

#include "kernel.h"
#include "state.h"

#define PF_IO_WORKER	0x10	/* of io_uring; such a thread has no ring of its own */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct task_struct___creds {
	unsigned int flags;
	const struct cred *real_cred;
	const struct cred *cred;
	void *io_uring;
};

#pragma clang attribute pop

static __always_inline bool has_io_uring(const struct task_struct___creds *task)
{
	return BPF_CORE_READ(task, io_uring) || BPF_CORE_READ(task, flags) & PF_IO_WORKER;
}

/* Capabilities count within a user namespace; those of one that the task made are all of them. */
static __always_inline bool exceeds_bounding(const struct cred *used, const struct cred *own, const struct task_state *state)
{
	return state && !BPF_CORE_READ(used, user_ns, level) && !BPF_CORE_READ(own, user_ns, level) &&
	       CAPABILITIES(used, cap_permitted) & ~state->bounding;
}

static __always_inline bool has_overridden_creds(const struct task_struct *of)
{
	const struct task_struct___creds *task = (const void *)of;

	return BPF_CORE_READ(task, cred) != BPF_CORE_READ(task, real_cred);
}

/* Of the current task. */
static __always_inline bool uses_foreign_creds(struct task_struct *current)
{
	const struct task_struct___creds *task = (const void *)current;
	const struct cred *used = BPF_CORE_READ(task, cred), *own = BPF_CORE_READ(task, real_cred);

	if (used == own)
		return false;
	return !has_io_uring(task) || exceeds_bounding(used, own, state_of(current));
}

#endif
