// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Holds each pod to its policy: one generic program at each LSM hook, with rules in maps.
 *
 * A hook asks who the task is (identity.h), what the operation is about (walk.h), what the rules say (decide.h), and counts
 * and shows a breach (sample.h). Programs do not sleep and may be preempted, so working memory is the task's, never per CPU.
 * Each returns a constant 0 or an error. Needs Linux 5.19 (flags of path_rename; bpf_loop is of 5.17), cgroup v2 and `bpf` among the active LSMs; hooks that
 * came later are left out where they are missing; before 6.2 loads are by helper (kernel.h) and tasks are in a hash (state.h). docs/install.md says
 * where they were run.
 *
 * Read on in this order: runtime/layout.h (what is shared), kernel.h, maps.h, state.h, walk.h, identity.h, sample.h, decide.h,
 * decide-path.h; then the families of hooks.
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
#include "runtime/state.h"
#include "runtime/walk.h"
#include "runtime/identity.h"
#include "runtime/sample.h"
#include "runtime/decide.h"
#include "runtime/decide-path.h"
#include "runtime/creds.h"
#include "runtime/lifecycle.h"
#include "runtime/exec.h"
#include "runtime/file.h"
#include "runtime/mount.h"
#include "runtime/endpoint.h"
#include "runtime/unix.h"
#include "runtime/net.h"
#include "runtime/kernel-ops.h"

/* What user space reads from the BTF and no map mentions. */
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
	enum subject_flag subject_flag;
	enum counter_extra counter_extra;
	enum task_flag task_flag;
	enum source_flag source_flag;
	enum rt_loss rt_loss;
	enum rt_sample_flag rt_sample_flag;
	struct path_rule path_rule;
	struct address_rule address_rule;
	struct value_rule value_rule;
	struct runtime_sample runtime_sample;
};
const union rt_abi_types *rt_abi_types __attribute__((unused));

char _license[] SEC("license") = "Dual BSD/GPL";
