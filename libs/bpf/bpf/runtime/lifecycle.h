/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Identity of tasks: cgroups that the kubelet creates, programs that a container runs, and forks.
 *
 * cgroup_mkdir		binds a pod's cgroup to the UID in its name before a task can run in it
 * cgroup_rmdir		removes the binding, and what is recorded of the pod or container
 * bprm_committed_creds	arms at the first exec outside the runtimes' mount namespace, and records
 * 			each further program
 * task_alloc		copies the parent's state; refuses the fork beyond the pod's share of states
 * task_free		deletes the state
 *
 * Names of pod cgroups: `pod<uid>` (cgroupfs driver), `…-pod<uid with _ for ->.slice` (systemd
 * driver); the UID has 32 hex digits, with or without dashes. A kubelet creates them in a cgroup
 * `kubepods` or in one of its QoS classes. A cgroup elsewhere, below a pod's cgroup, or made by an
 * armed task binds nothing; nor does one of another hierarchy than the unified one.
 */
#ifndef BAILIFF_RUNTIME_LIFECYCLE_H
#define BAILIFF_RUNTIME_LIFECYCLE_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

#include "identity.h"
#include "kernel.h"
#include "maps.h"
#include "walk.h"

#define CGROUP_NAME_BYTES 128
#define UID_DIGITS	  32

/* Reads a UID digit by digit after the marker `pod`. scratch->words has the name. */
struct uid_parser {
	struct scratch *scratch;
};
/*
 * In scratch: hash: last four characters; count: digits; crossings: 1 after a marker; end: 1 if the
 * UID is complete.
 */
#define PARSED_HIGH (NAME_BYTES / 8 - 1)
#define PARSED_LOW  (NAME_BYTES / 8)

static __always_inline int hex_value(__u8 c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

static __always_inline void look_for_marker(struct scratch *scratch, __u32 step, __u8 c)
{
	__u32 window = (__u32)scratch->hash << 8 | c;
	__u32 before = window >> 24;

	scratch->hash = window;
	if ((window & 0xffffff) != ('p' << 16 | 'o' << 8 | 'd') || (step != 2 && before != '-'))
		return;
	scratch->crossings = 1;
	scratch->count = 0;
	scratch->words[PARSED_HIGH] = 0;
	scratch->words[PARSED_LOW] = 0;
}

static long parse_step(__u32 step, void *context)
{
	struct scratch *scratch = ((struct uid_parser *)context)->scratch;
	__u8 c = ((__u8 *)scratch->words)[step & (CGROUP_NAME_BYTES - 1)];
	bool whole = scratch->count == UID_DIGITS;
	int digit = hex_value(c);

	if (!c || (c == '.' && scratch->crossings && whole)) {
		scratch->end = scratch->crossings && whole;
		return 1;
	}
	if (scratch->crossings && digit >= 0 && !whole) {
		scratch->words[PARSED_HIGH] =
			scratch->words[PARSED_HIGH] << 4 | scratch->words[PARSED_LOW] >> 60;
		scratch->words[PARSED_LOW] = scratch->words[PARSED_LOW] << 4 | digit;
		scratch->count++;
		return 0;
	}
	if (scratch->crossings && (c == '-' || c == '_') && !whole)
		return 0;
	scratch->crossings = 0;
	look_for_marker(scratch, step, c);
	return 0;
}

static __noinline bool parse_pod_name(const char *name, struct pod_uid *pod)
{
	struct uid_parser parser = { .scratch = claim() };
	struct scratch *scratch = parser.scratch;
	__u64 halves[2];
	bool found;

	if (!scratch)
		return false;
	scratch->hash = 0;
	scratch->count = 0;
	scratch->crossings = 0;
	scratch->end = 0;
	if (bpf_probe_read_kernel_str(scratch->words, CGROUP_NAME_BYTES, name) > 0)
		bpf_loop(CGROUP_NAME_BYTES - 1, parse_step, &parser, 0);
	found = scratch->end;
	halves[0] = bpf_cpu_to_be64(scratch->words[PARSED_HIGH]);
	halves[1] = bpf_cpu_to_be64(scratch->words[PARSED_LOW]);
	__builtin_memcpy(pod, halves, sizeof(*pod));
	release(scratch);
	return found;
}

#define KUBEPODS   0x6b756265706f6473ULL /* eight letters, the first in the highest byte */
#define QOS_LEVELS 2			 /* maximum from a pod's cgroup to `kubepods` */

/*
 * Sets scratch->end if the name is `kubepods` or `<prefix>-kubepods`, with an optional suffix after
 * `.` or `-`.
 */
static long seek_kubepods(__u32 step, void *context)
{
	struct scratch *scratch = ((struct uid_parser *)context)->scratch;
	__u8 c = ((__u8 *)scratch->words)[step & (CGROUP_NAME_BYTES - 1)];
	__u8 before = scratch->hash >> 56;

	if (scratch->crossings && (!c || c == '.' || c == '-'))
		scratch->end = 1;
	if (scratch->end || !c)
		return 1;
	scratch->hash = scratch->hash << 8 | c;
	scratch->crossings = scratch->hash == KUBEPODS && (!before || before == '-');
	return 0;
}

/* Whether a kubelet creates pod cgroups in this one. */
static __noinline bool is_kubelet_cgroup(struct cgroup_subsys_state *css)
{
	struct uid_parser parser = { .scratch = claim() };
	struct scratch *scratch = parser.scratch;
	bool found;

	if (!scratch)
		return false;
	scratch->end = 0;
	for (int up = 0; up < QOS_LEVELS && css && !scratch->end; up++) {
		scratch->hash = 0;
		scratch->crossings = 0;
		if (bpf_probe_read_kernel_str(scratch->words, CGROUP_NAME_BYTES,
					      BPF_CORE_READ(css, cgroup, kn, name)) > 0)
			bpf_loop(CGROUP_NAME_BYTES, seek_kubepods, &parser, 0);
		css = BPF_CORE_READ(css, parent);
	}
	found = scratch->end;
	release(scratch);
	return found;
}

#define NAME_START 4

/* Compares the first letters of both drivers' names. */
static __always_inline bool looks_like_pod(const char *name)
{
	char start[NAME_START] = {};

	bpf_probe_read_kernel(start, sizeof(start), name);
	return !__builtin_memcmp(start, "pod", 3) || !__builtin_memcmp(start, "kube", 4);
}

/* Levels up to the next pod cgroup; 0: none. */
static __always_inline int levels_to_pod(struct cgroup *cgroup)
{
	struct cgroup_subsys_state *css = BPF_CORE_READ(cgroup, self.parent);

	for (int up = 1; up <= CGROUP_LEVELS && css; up++) {
		__u64 id = BPF_CORE_READ(css, cgroup, kn, id);

		if (bpf_map_lookup_elem(&rt_cgroups, &id))
			return up;
		css = BPF_CORE_READ(css, parent);
	}
	return 0;
}

SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(handle_cgroup_mkdir, struct cgroup *cgroup, const char *name)
{
	__u64 id = BPF_CORE_READ(cgroup, kn, id);
	struct pod_uid pod;
	int up;

	if (!is_unified(cgroup))
		return 0;
	if (is_current_armed()) {
		if (looks_like_pod(BPF_CORE_READ(cgroup, kn, name)))
			rt_count_loss(RT_LOSS_CGROUP_REFUSED);
		return 0;
	}
	up = levels_to_pod(cgroup);
	if (up == 1) {
		struct rt_birth birth = { .ns = bpf_ktime_get_boot_ns() };

		if (bpf_map_update_elem(&rt_born, &id, &birth, BPF_ANY))
			rt_count_loss(RT_LOSS_NO_RECORD);
	}
	if (up || !parse_pod_name(BPF_CORE_READ(cgroup, kn, name), &pod))
		return 0;
	if (BPF_CORE_READ(cgroup, level) > CGROUP_LEVELS ||
	    !is_kubelet_cgroup(BPF_CORE_READ(cgroup, self.parent))) {
		rt_count_loss(RT_LOSS_CGROUP_REFUSED);
		return 0;
	}
	if (bpf_map_update_elem(&rt_cgroups, &id, &pod, BPF_ANY))
		rt_count_loss(RT_LOSS_CGROUPS_FULL);
	return 0;
}

SEC("tp_btf/cgroup_rmdir")
int BPF_PROG(handle_cgroup_rmdir, struct cgroup *cgroup, const char *name)
{
	__u64 id = BPF_CORE_READ(cgroup, kn, id);
	const struct pod_uid *pod;
	struct rt_birth *birth;

	if (!is_unified(cgroup))
		return 0;
	pod = bpf_map_lookup_elem(&rt_cgroups, &id);
	birth = bpf_map_lookup_elem(&rt_born, &id);
	if (pod) {
		rt_end_share(pod);
		bpf_map_delete_elem(&rt_cgroups, &id);
	}
	for (int i = 0; i < BORN_MOUNTS && birth; i++)
		bpf_map_delete_elem(&rt_mounts, &birth->mounts[i]);
	if (birth)
		bpf_map_delete_elem(&rt_born, &id);
	return 0;
}

SEC("lsm/task_alloc")
int BPF_PROG(handle_task_alloc, struct task_struct *task, unsigned long clone_flags)
{
	struct task_struct *parent = bpf_get_current_task_btf();
	struct task_state *state = state_of(parent);
	struct rt_share *share;

	delete_state(task); /* of an earlier task at this address */
	if (!is_armed(parent, state))
		return 0;
	share = share_of(&state->pod);
	if (!has_room(share)) {
		rt_count_loss(RT_LOSS_TASK_SHARE);
		return -EAGAIN;
	}
	if (make_state(task, share, state))
		return 0;
	rt_count_loss(RT_LOSS_NO_STATE);
	return -EAGAIN;
}

SEC("lsm/task_free")
int BPF_PROG(handle_task_free, struct task_struct *task)
{
	delete_state(task);
	return 0;
}

/* The exec can no longer fail, and the new program has not run yet. */
SEC("lsm/bprm_committed_creds")
int BPF_PROG(handle_bprm_committed_creds, struct linux_binprm *bprm)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct task_state *state = state_of(task);
	struct file *program = bprm->file;
	struct rt_origin origin = {};

	if (!state || !(state->flags & TASK_ARMED)) {
		if (!find_origin_at_exec(&origin))
			return 0;
		record_origin(task, &origin);
		state = arm(task, &origin);
	}
	if (state)
		push_program(state, rt_hash_file(&(struct file_at){ program }));
	return 0;
}

#endif
