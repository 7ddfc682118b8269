/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The decision: which rules match, and what follows from them.
 *
 * Place in the path: hook → identify() → decide_*() → EPERM or not. Every decide_* returns 0 (go on) or 1 (refuse), with all
 * that follows done already; a hook branches to `return -EPERM`, because the verifier wants to see the constant.
 * All matching rules are collected first. A block or kill refuses, the stronger one before the lower index; an audit counts
 * beside it. Only without one do allows and postures matter (settle()). The same in TypeScript: libs/runtime/src/model.ts.
 * Bounds: PATH_RULES, VALUE_RULES, ADDRESS_RULES an entry; one look-up a component of the path, another for each suffix length.
 */
#ifndef BAILIFF_RUNTIME_DECIDE_H
#define BAILIFF_RUNTIME_DECIDE_H

#define NO_RULE		(~0U)
#define MAX_SUFFIX	63

enum held { HELD_NOT, HELD, HELD_PERHAPS };

struct verdict {
	__u32 rule;		/* of the strongest denial; NO_RULE = none */
	__u32 action;		/* its own */
	__u32 audit_rule;
	__u32 allowed;		/* bit per RULE_ALLOW_AUDIT, RULE_ALLOW */
	__u32 unresolved;	/* 1: the object has no path within the bounds; a denial found before holds all the same */
	__u32 reserved;
};

#define NO_VERDICT ((struct verdict){ .rule = NO_RULE, .audit_rule = NO_RULE })

/* Whether the task is one that a rule's group of programs names. */
static __noinline enum held source_held(const struct who *who, __u32 source)
{
	struct source_key key = { .set = who->subject.set, .source = source };
	const struct task_state *task = who->task;
	const __u32 *flags;

	if (!task)
		return HELD_NOT;
	for (__u32 i = 0; i < SOURCE_CHAIN; i++) {
		if (i >= task->chain_count)
			break;
		key.program = task->chain[i];
		if (!key.program)
			continue;
		flags = bpf_map_lookup_elem(&rt_sources, &key);
		if (flags && *flags & (i ? SOURCE_CHILDREN : SOURCE_SELF))
			return HELD;
	}
	if (!(task->flags & TASK_CHAIN_CUT))
		return HELD_NOT;
	key.program = 0;
	flags = bpf_map_lookup_elem(&rt_sources, &key);
	return flags && *flags & SOURCE_CHILDREN ? HELD_PERHAPS : HELD_NOT;
}

static __always_inline void collect(const struct who *who, struct verdict *verdict, __u32 rule, __u32 source, __u32 action)
{
	if (source) {
		enum held held = source_held(who, source);

		if (held == HELD_NOT || (held == HELD_PERHAPS && action <= RULE_ALLOW))
			return;
	}
	if (action <= RULE_ALLOW) {
		verdict->allowed |= 1U << action;
	} else if (action == RULE_AUDIT) {
		if (rule < verdict->audit_rule)
			verdict->audit_rule = rule;
	} else if (action > verdict->action || (action == verdict->action && rule < verdict->rule)) {
		verdict->action = action;
		verdict->rule = rule;
	}
}

/* Number of cells before the extra ones. */
static __always_inline __u32 extra_cell(const struct who *who, __u32 extra)
{
	return who->subject.counter_count - COUNTER_EXTRA + extra;
}

static __always_inline enum posture_class class_of(enum op op)
{
	if (op <= OP_MAP_EXECUTE)
		return POSTURE_EXECUTE;
	if (op <= OP_UNIX_BIND)
		return POSTURE_FILE;
	if (op <= OP_SOCKET)
		return POSTURE_NETWORK;
	if (op == OP_CAPABILITY)
		return POSTURE_CAPABILITY;
	if (op == OP_MOUNT || op == OP_KERNEL)
		return POSTURE_KERNEL;
	return POSTURE_CLASSES;	/* none */
}

#define WITH_POSTURE	(RT_SAMPLE_POSTURE << 8)

/* What a decision comes to: the cell it counts in, and the action as the rule has it. */
struct outcome {
	__u32 cell;
	__u32 action_and_flags;	/* 0 = nothing to count */
};

static __always_inline struct outcome posture_outcome(const struct who *who, enum op op, __u32 allowed)
{
	enum posture_class class = class_of(op);
	struct outcome outcome = {};

	if (class >= POSTURE_CLASSES || allowed & 1U << RULE_ALLOW)
		return outcome;
	if (who->head->posture_block[class]) {
		outcome.cell = extra_cell(who, EXTRA_POSTURE + class * 2 + 1);
		outcome.action_and_flags = RULE_BLOCK | WITH_POSTURE;
	} else if (who->head->posture_audit[class] && !(allowed & 1U << RULE_ALLOW_AUDIT)) {
		outcome.cell = extra_cell(who, EXTRA_POSTURE + class * 2);
		outcome.action_and_flags = RULE_AUDIT | WITH_POSTURE;
	}
	return outcome;
}

static __always_inline struct outcome unresolved_outcome(const struct who *who)
{
	bool block = who->head->unresolved >= RULE_BLOCK;

	return (struct outcome){
		.cell = extra_cell(who, EXTRA_UNRESOLVED + block),
		.action_and_flags = (block ? RULE_BLOCK : RULE_AUDIT) | WITH_POSTURE,
	};
}

/* Counts the outcome, under break-glass as an audit; whether it refuses. */
static __always_inline int carry_out(const struct who *who, enum op op, struct outcome outcome, const struct show *show)
{
	__u32 action = outcome.action_and_flags & 0xff;

	if (!action)
		return 0;
	if (action >= RULE_BLOCK && is_disarmed(who)) {
		outcome.action_and_flags += RULE_AUDIT - action;
		action = RULE_AUDIT;
	}
	breach(who, op, outcome.cell, outcome.action_and_flags, show);
	return action >= RULE_BLOCK;
}

/* What follows from all that matched. */
static __noinline int settle(const struct who *who, enum op op, const struct verdict *verdict, const struct show *show)
{
	struct outcome outcome = { .cell = verdict->rule, .action_and_flags = verdict->action };

	if (verdict->audit_rule != NO_RULE)
		breach(who, op, verdict->audit_rule, RULE_AUDIT, show);
	if (verdict->unresolved && verdict->rule == NO_RULE)
		outcome = unresolved_outcome(who);
	else if (verdict->rule == NO_RULE)
		outcome = posture_outcome(who, op, verdict->allowed);
	return carry_out(who, op, outcome, show);
}

/* ---- paths ---- */

struct judging {
	struct scratch *scratch;
	struct who *who;
	struct verdict *verdict;
	__u64 ops;		/* bits: one of them in a rule is enough */
};

static __always_inline bool matches(__u32 match, __u32 above)
{
	switch (match) {
	case PATH_RECURSIVE:
		return true;
	case PATH_DIRECTORY:
		return above <= 1;
	default:
		return above == 0;
	}
}

/* Rules at one hash; `above`: how many components the object lies beneath it. */
static __noinline void collect_path(const struct judging *judging, __u32 kind, __u64 hash, __u32 above)
{
	struct path_key key = { .set = judging->who->subject.set, .kind = kind, .hash = hash };
	const struct path_rules *rules = bpf_map_lookup_elem(&rt_paths, &key);

	if (!rules)
		return;
	for (__u32 i = 0; i < PATH_RULES; i++) {
		const struct path_rule *rule = &rules->rules[i];

		if (i >= rules->count)
			break;
		if (rule->ops & judging->ops && matches(rule->match, above))
			collect(judging->who, judging->verdict, rule->rule, rule->source, rule->action);
	}
}

static long judge_step(__u32 step, void *context)
{
	struct judging *judging = context;
	struct scratch *scratch = judging->scratch;
	__u32 above = scratch->count - 1 - step;

	if (above >= WALK_COMPONENTS)
		return 1;
	scratch->hash = hash_component(scratch, scratch->hash, scratch->components[above]);
	collect_path(judging, PATH_PREFIX, scratch->hash, above);
	return 0;
}

static long suffix_step(__u32 step, void *context)
{
	struct judging *judging = context;
	struct scratch *scratch = judging->scratch;
	__u32 length = (step + 1) & MAX_SUFFIX, whole;
	const unsigned char *name;
	struct dentry *dentry;

	if (!(judging->who->head->suffix_lengths >> length & 1))
		return 0;
	dentry = scratch->components[0];
	whole = BPF_CORE_READ(dentry, d_name.len);
	name = BPF_CORE_READ(dentry, d_name.name);
	if (length > whole)
		return 1;
	if (bpf_probe_read_kernel(scratch->words, length, name + whole - length))
		return 1;
	collect_path(judging, PATH_SUFFIX, siphash(scratch, length), 0);
	return 0;
}

/* The path that the components of scratch are. */
static __always_inline void judge_path(struct judging *judging, enum walk_end end)
{
	struct scratch *scratch = judging->scratch;

	scratch->hash = hash_root(scratch, end);
	collect_path(judging, PATH_PREFIX, scratch->hash, scratch->count);
	bpf_loop(WALK_COMPONENTS, judge_step, judging, 0);
}

static __noinline void judge_object(struct who *who, __u64 ops, struct verdict *verdict, const struct show *show)
{
	struct judging judging = { .scratch = claim(), .who = who, .verdict = verdict, .ops = ops };
	struct scratch *scratch = judging.scratch;
	enum walk_end end;

	verdict->unresolved = 1;
	if (!scratch)
		return;
	end = walk(scratch, show->dentry, show->mnt);
	if (end != WALK_UNRESOLVED) {
		verdict->unresolved = 0;
		judge_path(&judging, end);
		if (who->head->suffix_lengths && scratch->count)
			bpf_loop(MAX_SUFFIX, suffix_step, &judging, 0);
		if (who->task && walk_own_place(scratch, who->task->root_device, (void *)who->task->root_dentry)) {
			if (scratch->end == WALK_STOP)
				judge_path(&judging, WALK_ROOT);
			else
				verdict->unresolved = 1;
		}
	}
	release(scratch);
	if (verdict->unresolved)
		rt_lose(RT_LOSS_UNRESOLVED);
}

/* `dentry` need not exist; it lies in the mount `mnt`. */
static __noinline int decide_object(struct who *who, enum op op, struct dentry *dentry, struct vfsmount *mnt)
{
	struct verdict verdict = NO_VERDICT;
	struct show show = { .dentry = dentry, .mnt = mnt };

	if (!who->head)
		return 1;
	judge_object(who, OP_BIT(op), &verdict, &show);
	return settle(who, op, &verdict, &show);
}

/* The path of an existing object. */
static __always_inline int decide_path(struct who *who, enum op op, const struct path *path)
{
	return decide_object(who, op, BPF_CORE_READ(path, dentry), BPF_CORE_READ(path, mnt));
}

static __always_inline int decide_file(struct who *who, enum op op, const struct file *file)
{
	return decide_object(who, op, BPF_CORE_READ(file, f_path.dentry), BPF_CORE_READ(file, f_path.mnt));
}

/* What the path_* hooks give: an entry, there or not, of a directory. */
static __always_inline int decide_child(struct who *who, enum op op, const struct path *directory, struct dentry *dentry)
{
	return decide_object(who, op, dentry, BPF_CORE_READ(directory, mnt));
}

/* Whether some block or kill names the object, for any of `ops`: for what would make an alias of it. Neither counts nor shows. */
static __noinline bool is_protected(struct who *who, __u64 ops, struct dentry *dentry, struct vfsmount *mnt)
{
	struct verdict verdict = NO_VERDICT;
	struct show show = { .dentry = dentry, .mnt = mnt };

	if (!who->head)
		return true;
	judge_object(who, ops, &verdict, &show);
	return verdict.unresolved || verdict.rule != NO_RULE;
}

/* A denial by guard_aliases, which the caller has found to hold. */
static __noinline int deny_alias(struct who *who, enum op op, struct show *show)
{
	struct outcome outcome;

	if (!who->head)
		return 1;
	outcome.cell = who->head->guard_rule;
	outcome.action_and_flags = who->head->guard_aliases >= RULE_AUDIT ? who->head->guard_aliases : RULE_BLOCK;
	return carry_out(who, op, outcome, show);
}

/* ---- values ---- */

static __always_inline void collect_value(const struct who *who, struct verdict *verdict, enum op op, __u64 value)
{
	struct value_key key = { .set = who->subject.set, .op = op, .value = value };
	const struct value_rules *rules = bpf_map_lookup_elem(&rt_values, &key);

	if (!rules)
		return;
	for (__u32 i = 0; i < VALUE_RULES; i++) {
		const struct value_rule *rule = &rules->rules[i];

		if (i >= rules->count)
			break;
		collect(who, verdict, rule->rule, rule->source, rule->action);
	}
}

#define SOCKET_PARTS	3

/* A socket is looked up with each of its parts as it is and as SOCKET_ANY. */
static __always_inline __u64 with_any(__u64 value, __u32 parts)
{
	for (__u32 part = 0; part < SOCKET_PARTS; part++) {
		if (parts >> part & 1)
			value |= SOCKET_ANY << (part * 16);
	}
	return value;
}

static __noinline void judge_value(const struct who *who, enum op op, __u64 value, struct verdict *verdict)
{
	if (op != OP_SOCKET) {
		collect_value(who, verdict, op, value);
		return;
	}
	for (__u32 parts = 0; parts < 1 << SOCKET_PARTS; parts++)
		collect_value(who, verdict, op, with_any(value, parts));
}

/* `show->value` is what is judged; the rest of it what a sample shows. */
static __always_inline int decide_shown(struct who *who, enum op op, const struct show *show)
{
	struct verdict verdict = NO_VERDICT;

	if (!who->head)
		return 1;
	judge_value(who, op, show->value, &verdict);
	return settle(who, op, &verdict, show);
}

static __always_inline int decide_value(struct who *who, enum op op, __u64 value)
{
	struct show show = { .value = value };

	return decide_shown(who, op, &show);
}

/* A value about a file: drift, a mount of the host. */
static __always_inline int decide_value_of(struct who *who, enum op op, __u64 value, const struct path *path)
{
	struct show show = {
		.value = value, .dentry = BPF_CORE_READ(path, dentry), .mnt = BPF_CORE_READ(path, mnt),
	};

	return decide_shown(who, op, &show);
}

/* ---- addresses and names ---- */

#define ADDRESS_KEY_BITS	(32 + 128)

static __noinline int decide_endpoint(struct who *who, enum op op, const struct endpoint *endpoint)
{
	struct rt_address_key key = { .prefixlen = ADDRESS_KEY_BITS, .set = who->subject.set };
	struct verdict verdict = NO_VERDICT;
	struct show show = { .endpoint = endpoint };
	const struct address_rules *rules;

	if (!who->head)
		return 1;
	__builtin_memcpy(key.address, endpoint->address, sizeof(key.address));
	rules = bpf_map_lookup_elem(&rt_addresses, &key);
	for (__u32 i = 0; i < ADDRESS_RULES && rules; i++) {
		const struct address_rule *rule = &rules->rules[i];

		if (i >= rules->count)
			break;
		if (!(rule->ops >> (op - OP_CONNECT) & 1) || endpoint->port < rule->port_first || endpoint->port > rule->port_last)
			continue;
		if (!rule->protocol || rule->protocol == endpoint->protocol)
			collect(who, &verdict, rule->rule, rule->source, rule->action);
	}
	return settle(who, op, &verdict, &show);
}

#define ABSTRACT_BYTES	127	/* a mask; sun_path has 108 */

/* An abstract unix name in kernel memory, without its leading zero. */
static __noinline int decide_name(struct who *who, enum op op, const char *name, __u32 length)
{
	struct verdict verdict = NO_VERDICT;
	struct show show = { .text = name, .length = length };
	struct judging judging = { .who = who, .verdict = &verdict, .ops = OP_BIT(op) };

	if (!who->head)
		return 1;
	judging.scratch = claim();
	if (judging.scratch) {
		length &= ABSTRACT_BYTES;
		if (!bpf_probe_read_kernel(judging.scratch->words, length, name))
			collect_path(&judging, PATH_ABSTRACT, siphash(judging.scratch, length), 0);
		release(judging.scratch);
	} else {
		verdict.unresolved = 1;
	}
	return settle(who, op, &verdict, &show);
}

#endif
