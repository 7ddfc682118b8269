/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Operations on the kernel beyond files and addresses: capabilities, namespaces, code for the
 * kernel. Those on other tasks are in other-tasks.h.
 *
 * Place in the data path: kernel → LSM hooks here → decide_value (OP_CAPABILITY by number,
 * OP_KERNEL by enum kernel_value). The capability module decides first, so a hook sees only
 * capabilities that the task holds. A check without audit gets the same decision, but is not
 * counted or sampled and kills nothing, because the task did nothing yet. docs/runtime-hooks.md
 * lists the gaps.
 */
#ifndef BAILIFF_RUNTIME_KERNEL_OPS_H
#define BAILIFF_RUNTIME_KERNEL_OPS_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_tracing.h>

#include "creds.h"
#include "decide.h"
#include "identity.h"
#include "kernel.h"
#include "mount.h"

#define CAP_SYS_ADMIN	21
#define CAP_OPT_NOAUDIT 2

#define PERF_SECURITY_OPEN 0

struct perf_event_attr;

enum loading { LOADING_FIRMWARE = 1, LOADING_MODULE, LOADING_KEXEC_IMAGE, LOADING_KEXEC_INITRAMFS };

/* ---- capabilities ---- */

static __noinline int decide_capability(int capability, unsigned int options)
{
	struct policy_ctx policy;

	if (!identify(&policy, OP_CAPABILITY) || uses_foreign_creds(bpf_get_current_task_btf()))
		return 0;
	policy.quiet = options & CAP_OPT_NOAUDIT;
	return decide_value(&policy, OP_CAPABILITY, capability);
}

/* In any user namespace: most escapes begin as root of one that the pod created. */
SEC("lsm/capable")
int BPF_PROG(handle_capable, const struct cred *cred, struct user_namespace *namespace,
	     int capability, unsigned int options)
{
	if (capability == CAP_SYS_ADMIN && decide_tree_as_namespace())
		return -EPERM;
	if (decide_capability(capability, options))
		return -EPERM;
	return 0;
}

/* ---- namespaces, programs and code for the kernel ---- */

static __always_inline int decide_kernel(enum kernel_value value)
{
	struct policy_ctx policy;

	return identify(&policy, OP_KERNEL) && decide_value(&policy, OP_KERNEL, value);
}

SEC("lsm/userns_create")
int BPF_PROG(handle_userns_create, const struct cred *cred)
{
	if (decide_kernel(KERNEL_USER_NAMESPACE))
		return -EPERM;
	return 0;
}

SEC("lsm/bpf")
int BPF_PROG(handle_bpf, int command)
{
	if (decide_kernel(KERNEL_BPF))
		return -EPERM;
	return 0;
}

/* Numbers of enum kernel_read_file_id and kernel_load_data_id, which are equal since 5.10. */
static __always_inline enum kernel_value loaded(int what)
{
	switch (what) {
	case LOADING_MODULE:
		return KERNEL_MODULE;
	case LOADING_KEXEC_IMAGE:
	case LOADING_KEXEC_INITRAMFS:
		return KERNEL_KEXEC;
	default:
		return KERNEL_FIRMWARE;
	}
}

/* finit_module, kexec_file_load, firmware. */
SEC("lsm/kernel_read_file")
int BPF_PROG(handle_kernel_read_file, struct file *file, int what)
{
	if (decide_kernel(loaded(what)))
		return -EPERM;
	return 0;
}

/* init_module, kexec_load. */
SEC("lsm/kernel_load_data")
int BPF_PROG(handle_kernel_load_data, int what)
{
	if (decide_kernel(loaded(what)))
		return -EPERM;
	return 0;
}

#define MODULE_NAME_BYTES 56 /* as in the kernel, with the zero */

/*
 * Modules that the kernel loads on demand: a socket family, a file system, a program format. If
 * refused, the call ends as without the module. modprobe runs as a task of the kernel, so this is
 * the last hook that knows the caller.
 */
SEC("lsm/kernel_module_request")
int BPF_PROG(handle_kernel_module_request, char *name)
{
	struct event event = { .value = KERNEL_MODULE_REQUEST, .text = name };
	char text[MODULE_NAME_BYTES];
	struct policy_ctx policy;
	long length;

	if (!identify(&policy, OP_KERNEL))
		return 0;
	length = bpf_probe_read_kernel_str(text, sizeof(text), name);
	event.length = length > 0 ? length - 1 : 0;
	if (decide_event(&policy, OP_KERNEL, &event))
		return -EPERM;
	return 0;
}

/*
 * The kernel calls the hook several times in one system call, first for the open itself. Linux
 * dropped the leading attribute pointer of the hook, so the position of the type follows from the
 * kernel's BTF.
 */
union security_list_options___perf_attr {
	int (*perf_event_open)(struct perf_event_attr *attr, int type);
};

SEC("lsm/perf_event_open")
int handle_perf_event_open(__u64 *ctx)
{
	int type;

	/* two loads at constant offsets: Linux 6.1 rejects a variable one */
	if (bpf_core_type_matches(union security_list_options___perf_attr)) {
		type = ctx[1];
		barrier_var(type);
	} else {
		type = ctx[0];
	}
	if (type != PERF_SECURITY_OPEN)
		return 0;
	if (decide_kernel(KERNEL_PERF_EVENT))
		return -EPERM;
	return 0;
}

#endif
