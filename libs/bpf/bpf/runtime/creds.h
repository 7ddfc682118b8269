/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Whether the kernel works in the current task with credentials of another subject.
 *
 * Place in the data path: file.h and kernel-ops.h call it before they decide. Overlayfs copies a
 * file up with the credentials of its mounter: it needs CAP_SYS_ADMIN and sets attributes, and the
 * pod did neither. access(2) uses fewer capabilities than the task has.
 * Invariant: credentials that a task can choose are never foreign. io_uring lets a task choose
 * credentials that it had before (personalities, worker threads). A task with a ring therefore uses
 * foreign credentials only if they exceed what any task of the container could have. In a container
 * with all capabilities, or with a user namespace of its own, operations of overlayfs are decided
 * as well.
 */
#ifndef BAILIFF_RUNTIME_CREDS_H
#define BAILIFF_RUNTIME_CREDS_H

#include <stdbool.h>

#include "kernel.h"
#include "state.h"

#define PF_IO_WORKER 0x10 /* a worker of io_uring, which has no ring of its own */

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

/*
 * Capabilities are relative to a user namespace; a task has all of them in a namespace that it
 * created.
 */
static __always_inline bool exceeds_bounding(const struct cred *used, const struct cred *own,
					     const struct task_state *state)
{
	return state && !BPF_CORE_READ(used, user_ns, level) &&
	       !BPF_CORE_READ(own, user_ns, level) &&
	       CAPABILITIES(used, cap_permitted) & ~state->bounding;
}

static __always_inline bool has_overridden_creds(const struct task_struct *of)
{
	const struct task_struct___creds *task = (const void *)of;

	return BPF_CORE_READ(task, cred) != BPF_CORE_READ(task, real_cred);
}

/* Checks the current task. */
static __always_inline bool uses_foreign_creds(struct task_struct *current)
{
	const struct task_struct___creds *task = (const void *)current;
	const struct cred *used = BPF_CORE_READ(task, cred), *own = BPF_CORE_READ(task, real_cred);

	if (used == own)
		return false;
	return !has_io_uring(task) || exceeds_bounding(used, own, state_of(current));
}

#endif
