/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Counting a breach exactly, and showing some of them: the ring record of kind `lsm`.
 *
 * Place in the path: decide.h → breach() → rt_counters, samples. Invariants: the decision is made before and reads nothing
 * of what happens here; a count is one atomic add into a cell that user space zeroed. The first breach that a cell counts is
 * always sampled, further ones by the subject's token bucket, so a flood costs its own subject's samples only.
 * What is not counted or shown adds to rt_losses. Texts that cannot be had (no scratch) are empty.
 */
#ifndef BAILIFF_RUNTIME_SAMPLE_H
#define BAILIFF_RUNTIME_SAMPLE_H

#define RT_NSEC_PER_SEC		1000000000ULL
#define RT_MAX_REFILL_NS	(10 * RT_NSEC_PER_SEC)	/* keeps elapsed × rate within 64 bits */

/* An internet address as it is judged. */
struct endpoint {
	__u8 address[16];	/* IPv4 as ::ffff:a.b.c.d */
	__u64 cookie;		/* of the socket; 0 = none yet */
	__u16 port;		/* host order */
	__u16 family;
	__u16 type;
	__u16 protocol;
};

/* What a sample shows of the object; all may be unset. Self-contained, as it goes to global functions. */
struct show {
	struct dentry *dentry;	/* with `mnt`: a path */
	struct vfsmount *mnt;
	const char *text;	/* kernel memory, `length` bytes */
	__u64 value;
	__u32 length;
	__u32 has_endpoint;
	struct endpoint endpoint;
};

enum rt_take { RT_TAKE_NONE, RT_TAKE_TOKEN };

static __always_inline void rt_refill(struct rt_bucket *bucket, __u64 now, __u32 rate, __u32 burst)
{
	__u64 elapsed = now - bucket->refilled_ns, more;

	if ((__s64)elapsed <= 0 || rate == 0)
		return;
	if (elapsed > RT_MAX_REFILL_NS) {
		elapsed = RT_MAX_REFILL_NS;
		bucket->refilled_ns = now - elapsed;
	}
	more = elapsed * rate / RT_NSEC_PER_SEC;
	bucket->refilled_ns += more * RT_NSEC_PER_SEC / rate;
	bucket->tokens = more >= burst - bucket->tokens ? burst : bucket->tokens + more;
}

/* The lock is held for a few instructions and never around a helper. */
static __always_inline enum rt_take rt_take_token(const struct identity *who, __u64 now)
{
	const struct rt_settings *settings = rt_read_settings();
	__u32 index = who->subject.bucket, generation = who->subject.generation, burst, rate;
	struct rt_bucket *bucket = bpf_map_lookup_elem(&rt_buckets, &index);
	enum rt_take take = RT_TAKE_NONE;

	if (!bucket || !settings)
		return RT_TAKE_NONE;
	burst = settings->sample_burst;
	rate = settings->samples_per_second;
	bpf_spin_lock(&bucket->lock);
	if (bucket->generation != generation) {
		bucket->generation = generation;
		bucket->tokens = burst;
		bucket->owed = 0;
		bucket->refilled_ns = now;
	}
	if (bucket->tokens > burst)
		bucket->tokens = burst;
	rt_refill(bucket, now, rate, burst);
	if (bucket->owed) {
		bucket->owed = 0;
		take = RT_TAKE_TOKEN;
	} else if (bucket->tokens) {
		bucket->tokens--;
		take = RT_TAKE_TOKEN;
	}
	bpf_spin_unlock(&bucket->lock);
	return take;
}

static __always_inline void owe_first(const struct identity *who)
{
	__u32 index = who->subject.bucket;
	struct rt_bucket *bucket = bpf_map_lookup_elem(&rt_buckets, &index);

	if (!bucket)
		return;
	bpf_spin_lock(&bucket->lock);
	bucket->owed = 1;
	bpf_spin_unlock(&bucket->lock);
}

static __always_inline __u16 note_text(struct runtime_sample *sample, __u32 length)
{
	if (length & TEXT_CUT)
		sample->flags |= RT_SAMPLE_CUT;
	return length & ~TEXT_CUT;
}

/* How a breach is told: the operation, the action as carried out, RT_SAMPLE_* flags. */
#define HOW(op, action)		((op) | (action) << 8)
#define HOW_FLAGS(flags)	((flags) << 16)
#define HOW_OP(how)		((how) & 0xff)
#define HOW_ACTION(how)		((how) >> 8 & 0xff)

/* The executable's path of a task, TEXT_BYTES of it; length as path_text's, 0 when it has none. */
static __always_inline __u32 executable_text(struct scratch *scratch, struct task_struct *task, char *to)
{
	struct file *file = BPF_CORE_READ(task, mm, exe_file);

	if (!file)
		return 0;
	return rt_path_text(scratch, (__u64)BPF_CORE_READ(file, f_path.dentry), (__u64)BPF_CORE_READ(file, f_path.mnt),
			    (struct path_text *)to);
}

static __always_inline void fill_texts(struct runtime_sample *sample, struct task_struct *task, const struct show *show)
{
	struct scratch *scratch = claim();

	if (!scratch)
		return;
	if (show->dentry && show->mnt) {
		sample->flags |= RT_SAMPLE_PATH;
		sample->subject_length = note_text(sample, 
			rt_path_text(scratch, (__u64)show->dentry, (__u64)show->mnt, (struct path_text *)sample->subject));
	}
	sample->program_length = note_text(sample, executable_text(scratch, task, sample->program));
	sample->parent_length = note_text(sample, executable_text(scratch, BPF_CORE_READ(task, real_parent), sample->parent_program));
	release(scratch);
}

/* Only where the task's memory is at hand: this must not sleep. */
static __always_inline void fill_args(struct runtime_sample *sample, struct task_struct *task)
{
	unsigned long start = BPF_CORE_READ(task, mm, arg_start), end = BPF_CORE_READ(task, mm, arg_end);
	__u64 length = end - start;

	if (!start || end <= start)
		return;
	if (length > SAMPLE_ARGS_BYTES)
		length = SAMPLE_ARGS_BYTES;
	if (!bpf_probe_read_user(sample->args, length, (void *)start))
		sample->args_length = length;
}

static __always_inline void fill_show(struct runtime_sample *sample, const struct show *show)
{
	sample->value = show->value;
	if (show->has_endpoint) {
		sample->flags |= RT_SAMPLE_ADDRESS;
		sample->family = show->endpoint.family;
		sample->protocol = show->endpoint.protocol;
		sample->port = bpf_htons(show->endpoint.port);
		sample->socket_cookie = show->endpoint.cookie;
		__builtin_memcpy(sample->address, show->endpoint.address, sizeof(sample->address));
	}
	if (show->text) {
		__u32 length = show->length < SAMPLE_PATH_BYTES ? show->length : SAMPLE_PATH_BYTES - 1;

		if (!bpf_probe_read_kernel(sample->subject, length & (SAMPLE_PATH_BYTES - 1), show->text))
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

/* Volatile, or the compiler makes a memset of it that it then does not have for so many bytes. */
static __always_inline void clear(struct runtime_sample *sample)
{
	volatile __u64 *words = (void *)sample;

	for (__u32 i = 0; i < sizeof(*sample) / sizeof(*words); i++)
		words[i] = 0;
}

/* `cell` counts from counter_base; `how` as of rt_breach. */
static __always_inline void rt_sample(const struct identity *who, __u32 cell, __u32 how, const struct show *show)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u64 now = bpf_ktime_get_boot_ns();
	bool first = how & HOW_FLAGS(RT_SAMPLE_FIRST);
	struct runtime_sample *sample;

	if (!first && rt_take_token(who, now) == RT_TAKE_NONE)
		return;
	sample = bpf_ringbuf_reserve(&samples, sizeof(*sample), 0);
	if (!sample) {
		rt_lose(RT_LOSS_RING_FULL);
		if (first)
			owe_first(who);
		return;
	}
	clear(sample);
	sample->boottime_ns = now;
	sample->container_cgroup_id = who->container_cgroup_id;
	sample->pod = who->pod;
	sample->generation = who->subject.generation;
	sample->rule = how & HOW_FLAGS(RT_SAMPLE_POSTURE) ? cell - (who->subject.counter_count - COUNTER_EXTRA) : cell;
	sample->op = HOW_OP(how);
	sample->action = HOW_ACTION(how);
	sample->flags = how >> 16;
	fill_task(sample, task);
	fill_show(sample, show);
	fill_texts(sample, task, show);
	fill_args(sample, task);
	bpf_ringbuf_submit(sample, 0);
}

/* Break-glass: denials are judged as audit. */
static __always_inline bool is_disarmed(const struct identity *who)
{
	return who->subject.audit_until_ns && bpf_ktime_get_boot_ns() < who->subject.audit_until_ns;
}

/* Counts, samples and, where the action says so, kills. */
__noinline int rt_breach(const struct identity *who, const struct show *show, __u32 cell, __u32 how)
{
	__u64 *count;
	__u32 index;

	if (!who || !show || who->quiet > QUIET_COUNTED)
		return 0;
	if (!who->quiet) {
		index = who->subject.counter_base + cell;
		count = bpf_map_lookup_elem(&rt_counters, &index);
		if (!count || cell >= who->subject.counter_count)
			rt_lose(RT_LOSS_NO_CELL);
		else if (__sync_fetch_and_add(count, 1) == 0)
			how |= HOW_FLAGS(RT_SAMPLE_FIRST);
		rt_sample(who, cell, how, show);
	}
	if (HOW_ACTION(how) == RULE_KILL)
		bpf_send_signal(SIGKILL);
	return 0;
}

#endif
