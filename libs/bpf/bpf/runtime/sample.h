/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Counts violations exactly and samples some of them as ring records of kind `lsm`.
 *
 * Place in the data path: decide.h → rt_record_violation() → rt_counters, samples. The decision
 * precedes the call and does not depend on this file. A count is one atomic add into a cell that
 * user space zeroed. The first violation of a cell is sampled without a token while the ring is less
 * than half full. Everything else needs a token of the subject's bucket, so neither a flood nor a set
 * of many rules uses up the samples of others. Violations that are not counted or sampled add to
 * rt_losses. A text that cannot be read is empty.
 */
#ifndef BAILIFF_RUNTIME_SAMPLE_H
#define BAILIFF_RUNTIME_SAMPLE_H

#include <stdbool.h>

#include <bpf/bpf_endian.h>

#include "../token-bucket.h"
#include "identity.h"
#include "kernel.h"
#include "maps.h"
#include "walk.h"

/* The address that a policy decides about. */
struct endpoint {
	__u8 address[16]; /* IPv4 as ::ffff:a.b.c.d */
	__u64 cookie;	  /* of the socket; 0: none yet */
	__u16 port;	  /* host order */
	__u16 family;
	__u16 type;
	__u16 protocol;
};

/*
 * Object of an operation, for the sample; all fields are optional. Self-contained, because global
 * functions take it.
 */
struct event {
	struct dentry *dentry; /* with `mnt`: a path */
	struct vfsmount *mnt;
	const char *text; /* kernel memory of `length` bytes */
	__u64 value;
	__u32 length;
	__u32 has_endpoint;
	struct endpoint endpoint;
};

enum rt_admission { RT_ADMIT_NONE, RT_ADMIT };

/* Whether samples may use the ring without a token: not its second half. */
static __always_inline bool is_ring_free(void)
{
	return bpf_ringbuf_query(&samples, BPF_RB_AVAIL_DATA) <
	       bpf_ringbuf_query(&samples, BPF_RB_RING_SIZE) / 2;
}

/* The lock covers a few instructions and no helper call. */
static __always_inline enum rt_admission rt_admit_sample(const struct identity *identity, __u64 now)
{
	const struct rt_settings *settings = rt_read_settings();
	__u32 index = identity->subject.bucket, generation = identity->subject.generation, burst,
	      rate;
	struct token_bucket *bucket = bpf_map_lookup_elem(&rt_buckets, &index);
	enum rt_admission admission = RT_ADMIT_NONE;
	bool is_due;

	if (!bucket || !settings)
		return RT_ADMIT_NONE;
	is_due = bucket->marks && is_ring_free();
	burst = settings->sample_burst;
	rate = settings->samples_per_second;
	bpf_spin_lock(&bucket->lock);
	refill_tokens(bucket, generation, now, rate, burst);
	if (bucket->marks && is_due) {
		bucket->marks = 0;
		admission = RT_ADMIT;
	} else if (take_token(bucket)) {
		admission = RT_ADMIT;
	}
	bpf_spin_unlock(&bucket->lock);
	return admission;
}

static __always_inline void set_sample_due(const struct identity *identity)
{
	__u32 index = identity->subject.bucket;
	struct token_bucket *bucket = bpf_map_lookup_elem(&rt_buckets, &index);

	if (!bucket)
		return;
	bpf_spin_lock(&bucket->lock);
	bucket->marks = 1;
	bpf_spin_unlock(&bucket->lock);
}

static __always_inline __u16 text_length(struct runtime_sample *sample, __u32 length)
{
	if (length & TEXT_CUT)
		sample->flags |= RT_SAMPLE_CUT;
	return length & ~TEXT_CUT;
}

/* Describes a violation: the operation, the action taken, RT_SAMPLE_* flags. */
#define EVENT_CODE(op, action)	((op) | (action) << 8)
#define EVENT_CODE_FLAGS(flags) ((flags) << 16)
#define EVENT_CODE_OP(code)	((code) & 0xff)
#define EVENT_CODE_ACTION(code) ((code) >> 8 & 0xff)

/*
 * Writes the path of a task's executable to `to`, which has TEXT_BYTES. Returns the length like
 * rt_path_text(), or 0 if the task has no executable.
 */
static __always_inline __u32 executable_text(struct scratch *scratch, struct task_struct *task,
					     char *to)
{
	struct file *file = BPF_CORE_READ(task, mm, exe_file);

	if (!file)
		return 0;
	return rt_path_text(scratch, (__u64)BPF_CORE_READ(file, f_path.dentry),
			    (__u64)BPF_CORE_READ(file, f_path.mnt), (struct path_text *)to);
}

static __always_inline void fill_texts(struct runtime_sample *sample, struct task_struct *task,
				       const struct event *event)
{
	struct scratch *scratch = claim();

	if (!scratch)
		return;
	if (event->dentry && event->mnt) {
		sample->flags |= RT_SAMPLE_PATH;
		sample->subject_length = text_length(
			sample, rt_path_text(scratch, (__u64)event->dentry, (__u64)event->mnt,
					     (struct path_text *)sample->subject));
	}
	sample->program_length =
		text_length(sample, executable_text(scratch, task, sample->program));
	sample->parent_length =
		text_length(sample, executable_text(scratch, BPF_CORE_READ(task, real_parent),
						    sample->parent_program));
	release(scratch);
}

/* Reads the arguments only if the task's memory is resident, because the program must not sleep. */
static __always_inline void fill_args(struct runtime_sample *sample, struct task_struct *task)
{
	unsigned long start = BPF_CORE_READ(task, mm, arg_start),
		      end = BPF_CORE_READ(task, mm, arg_end);
	__u64 length = end - start;

	if (!start || end <= start)
		return;
	if (length > SAMPLE_ARGS_BYTES)
		length = SAMPLE_ARGS_BYTES;
	if (!bpf_probe_read_user(sample->args, length, (void *)start))
		sample->args_length = length;
}

static __always_inline void fill_event(struct runtime_sample *sample, const struct event *event)
{
	sample->value = event->value;
	if (event->has_endpoint) {
		sample->flags |= RT_SAMPLE_ADDRESS;
		sample->family = event->endpoint.family;
		sample->protocol = event->endpoint.protocol;
		sample->port = bpf_htons(event->endpoint.port);
		sample->socket_cookie = event->endpoint.cookie;
		__builtin_memcpy(sample->address, event->endpoint.address, sizeof(sample->address));
	}
	if (event->text) {
		__u32 length =
			event->length < SAMPLE_PATH_BYTES ? event->length : SAMPLE_PATH_BYTES - 1;

		if (!bpf_probe_read_kernel(sample->subject, length & (SAMPLE_PATH_BYTES - 1),
					   event->text))
			sample->subject_length = length;
	}
}

static __always_inline void fill_task(struct runtime_sample *sample, struct task_struct *task)
{
	sample->cgroup_id = bpf_get_current_cgroup_id();
	sample->tgid = task->tgid;
	sample->tid = task->pid;
	sample->parent_tgid = BPF_CORE_READ(task, real_parent, tgid);
	sample->uid = BPF_CORE_READ(task, cred, uid.val);
	sample->gid = BPF_CORE_READ(task, cred, gid.val);
	sample->capabilities = CAPABILITIES(task, cred, cap_effective);
	bpf_get_current_comm(sample->comm, sizeof(sample->comm));
}

/* Volatile, because the compiler otherwise emits a memset, which BPF lacks for this size. */
static __always_inline void clear(struct runtime_sample *sample)
{
	volatile __u64 *words = (void *)sample;

#pragma clang loop unroll(full)
	for (__u32 i = 0; i < sizeof(*sample) / sizeof(*words); i++)
		words[i] = 0;
}

/* `cell` is relative to counter_base; `code` is an EVENT_CODE. */
static __always_inline void emit_event(const struct identity *identity, __u32 cell, __u32 code,
				       const struct event *event)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u64 now = bpf_ktime_get_boot_ns();
	bool first = code & EVENT_CODE_FLAGS(RT_SAMPLE_FIRST);
	struct runtime_sample *sample = NULL;

	if ((first && is_ring_free()) || rt_admit_sample(identity, now) == RT_ADMIT)
		sample = bpf_ringbuf_reserve(&samples, sizeof(*sample), 0);
	else if (!first)
		return;
	if (!sample) {
		rt_count_loss(RT_LOSS_RING_FULL);
		if (first)
			set_sample_due(identity);
		return;
	}
	clear(sample);
	sample->boottime_ns = now;
	sample->container_cgroup_id = identity->container_cgroup_id;
	sample->pod = identity->pod;
	sample->generation = identity->subject.generation;
	sample->rule = code & EVENT_CODE_FLAGS(RT_SAMPLE_POSTURE)
			       ? cell - (identity->subject.counter_count - COUNTER_EXTRA)
			       : cell;
	sample->op = EVENT_CODE_OP(code);
	sample->action = EVENT_CODE_ACTION(code);
	sample->flags = code >> 16;
	fill_task(sample, task);
	fill_event(sample, event);
	fill_texts(sample, task, event);
	fill_args(sample, task);
	bpf_ringbuf_submit(sample, 0);
}

/* Whether break-glass is active: denials act as audit. */
static __always_inline bool is_disarmed(const struct identity *identity)
{
	return identity->subject.audit_until_ns &&
	       bpf_ktime_get_boot_ns() < identity->subject.audit_until_ns;
}

/* Counts, samples and, if the action is kill, kills. */
__noinline int rt_record_violation(const struct identity *identity, const struct event *event,
				   __u32 cell, __u32 code)
{
	__u64 *count;
	__u32 index;

	if (!identity || !event || identity->quiet > QUIET_COUNTED)
		return 0;
	if (!identity->quiet) {
		index = identity->subject.counter_base + cell;
		count = bpf_map_lookup_elem(&rt_counters, &index);
		if (!count || cell >= identity->subject.counter_count)
			rt_count_loss(RT_LOSS_NO_CELL);
		else if (__sync_fetch_and_add(count, 1) == 0)
			code |= EVENT_CODE_FLAGS(RT_SAMPLE_FIRST);
		emit_event(identity, cell, code, event);
	}
	if (EVENT_CODE_ACTION(code) == RULE_KILL)
		bpf_send_signal(SIGKILL);
	return 0;
}

#endif
