// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Enforces runtime policies: one generic program at each LSM hook, with the rules in maps.
 *
 * A hook identifies the task and its policy (identity.h), walks to the name of the object (walk.h),
 * decides (decide.h), and counts and samples violations (sample.h). Programs do not sleep but may
 * be preempted, so working memory is claimed (state.h). They allocate no memory. Each program
 * returns the constant 0 or an error.
 * They need Linux 5.19 (flags of path_rename), cgroup v2, and `bpf` among the active LSMs. Hooks
 * that a kernel lacks are left out. Before 6.2, loads use a helper (kernel.h). docs/install.md
 * lists the kernels that were tried.
 * A __noinline function that is not static is a global function. The verifier checks it once, and
 * knows nothing about its arguments; hence the checks for NULL, and the prefix rt_.
 * Read in this order: layout.h, kernel.h, maps.h, shares.h, state.h, naming.h, walk.h, entry.h,
 * arming.h, identity.h, sample.h, decide.h, decide-path.h, then the families of hooks.
 */
#include <stdbool.h>
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "runtime/layout.h"
#include "runtime/kernel.h"
#include "runtime/maps.h"
#include "runtime/shares.h"
#include "runtime/state.h"
#include "runtime/naming.h"
#include "runtime/walk.h"
#include "runtime/entry.h"
#include "runtime/arming.h"
#include "runtime/identity.h"
#include "runtime/sample.h"
#include "runtime/decide.h"
#include "runtime/decide-path.h"
#include "runtime/creds.h"
#include "runtime/lifecycle.h"
#include "runtime/exec.h"
#include "runtime/other-tasks.h"
#include "runtime/open-cache.h"
#include "runtime/file.h"
#include "runtime/attributes.h"
#include "runtime/mount.h"
#include "runtime/endpoint.h"
#include "runtime/unix.h"
#include "runtime/net.h"
#include "runtime/send.h"
#include "runtime/kernel-ops.h"
#include "runtime/netlink.h"

/* Types that user space reads from the BTF and that no map has. */
union rt_abi_types {
	enum runtime_abi runtime_abi;
	enum op op;
	enum mount_value mount_value;
	enum kernel_value kernel_value;
	enum drift_value drift_value;
	enum rule_action rule_action;
	enum posture_class posture_class;
	enum path_match path_match;
	enum path_kind path_kind;
	enum path_class path_class;
	enum subject_flag subject_flag;
	enum counter_extra counter_extra;
	enum task_flag task_flag;
	enum source_flag source_flag;
	enum cache_epoch cache_epoch;
	enum rt_loss rt_loss;
	enum rt_sample_flag rt_sample_flag;
	struct path_rule path_rule;
	struct address_rule address_rule;
	struct value_rule value_rule;
	struct runtime_sample runtime_sample;
};
const union rt_abi_types *rt_abi_types __attribute__((unused));

char _license[] SEC("license") = "Dual BSD/GPL";
