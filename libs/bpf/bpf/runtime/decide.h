/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The decision: which rules match, and what follows from them.
 *
 * Place in the path: hook → identify() → decide_*(), here for values and addresses, in decide-path.h for paths → EPERM or not. Every decide_* returns 0 (go on) or 1 (refuse), with all
 * that follows done already; a hook branches to `return -EPERM`, because the verifier wants to see the constant.
 * All matching rules are collected first. A block or kill refuses, the stronger one before the lower index; an audit counts
 * beside it. Only without one do allows and postures matter (settle()). The same in TypeScript: libs/runtime/src/model.ts.
 * Bounds: VALUE_RULES and ADDRESS_RULES an entry.
 */
#ifndef BAILIFF_RUNTIME_DECIDE_H
#define BAILIFF_RUNTIME_DECIDE_H

#define NO_RULE		(~0U)

/*
 * Hides from the compiler that a decision is 0 or 1: it would return the negated value instead of a constant, and the verifier
 * refuses that. Every decide_* passes through it; so must a function of a hook's own that is not inlined.
 */
static __always_inline int refused(int decision)
{
	barrier_var(decision);
	return decision;
}

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

/* Whether the current task is one that a rule's group of programs names: enum held. */
__noinline int rt_source_held(__u32 set, __u32 source)
{
	const struct task_state *task = state_of(bpf_get_current_task_btf());
	struct source_key key = { .set = set, .source = source };
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

static __always_inline void collect(const struct identity *who, struct verdict *verdict, __u32 rule, __u32 source, __u32 action)
{
	if (source) {
		enum held held = rt_source_held(who->subject.set, source);

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
static __always_inline __u32 extra_cell(const struct identity *who, __u32 extra)
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

/* What a decision comes to: the cell it counts in, and the action as the rule has it. */
struct outcome {
	__u32 cell;
	__u32 action;		/* 0: nothing to count */
	__u32 flags;		/* RT_SAMPLE_* */
};

static __always_inline struct outcome posture_outcome(const struct identity *who, const struct set_head *head, enum op op, __u32 allowed)
{
	enum posture_class class = class_of(op);
	struct outcome outcome = { .flags = RT_SAMPLE_POSTURE };

	if (class >= POSTURE_CLASSES || allowed & 1U << RULE_ALLOW)
		return outcome;
	if (head->posture_block[class]) {
		outcome.cell = extra_cell(who, EXTRA_POSTURE + class * 2 + 1);
		outcome.action = RULE_BLOCK;
	} else if (head->posture_audit[class] && !(allowed & 1U << RULE_ALLOW_AUDIT)) {
		outcome.cell = extra_cell(who, EXTRA_POSTURE + class * 2);
		outcome.action = RULE_AUDIT;
	}
	return outcome;
}

static __always_inline struct outcome unresolved_outcome(const struct identity *who, const struct set_head *head)
{
	bool block = head->unresolved >= RULE_BLOCK;

	return (struct outcome){
		.cell = extra_cell(who, EXTRA_UNRESOLVED + block),
		.action = block ? RULE_BLOCK : RULE_AUDIT,
		.flags = RT_SAMPLE_POSTURE,
	};
}

/* Counts the outcome, under break-glass as an audit; whether it refuses. */
static __always_inline int carry_out(const struct identity *who, enum op op, struct outcome outcome, const struct show *show)
{
	if (!outcome.action)
		return 0;
	if (outcome.action >= RULE_BLOCK && is_disarmed(who))
		outcome.action = RULE_AUDIT;
	rt_breach(who, show, outcome.cell, HOW(op, outcome.action) | HOW_FLAGS(outcome.flags));
	return outcome.action >= RULE_BLOCK;
}

/* Nothing matched that counts, and no posture asks: nothing follows. */
static __always_inline bool is_nothing(const struct verdict *verdict, const struct set_head *head, enum op op)
{
	enum posture_class class = class_of(op);

	if (verdict->rule != NO_RULE || verdict->audit_rule != NO_RULE || verdict->unresolved)
		return false;
	return class >= POSTURE_CLASSES || !(head->posture_block[class] | head->posture_audit[class]);
}

/* What follows from all that matched: 0 or 1. */
__noinline int rt_settle(const struct identity *who, const struct verdict *verdict, const struct show *show, enum op op)
{
	const struct set_head *head;
	struct outcome outcome = {};
	__u32 set;

	if (!who || !verdict || !show)
		return 1;
	set = who->subject.set;
	head = bpf_map_lookup_elem(&rt_sets, &set);
	if (!head)
		return 1;
	if (verdict->audit_rule != NO_RULE)
		rt_breach(who, show, verdict->audit_rule, HOW(op, RULE_AUDIT));
	if (verdict->rule != NO_RULE) {
		outcome.cell = verdict->rule;
		outcome.action = verdict->action;
	} else if (verdict->unresolved) {
		outcome = unresolved_outcome(who, head);
	} else {
		outcome = posture_outcome(who, head, op, verdict->allowed);
	}
	return carry_out(who, op, outcome, show);
}

/* A denial by guard_aliases, which the caller has found to hold. */
static __always_inline int deny_alias(struct who *who, enum op op, struct show *show)
{
	struct outcome outcome = {};

	if (!who->head)
		return 1;
	outcome.cell = who->head->guard_rule;
	outcome.action = who->head->guard_aliases >= RULE_AUDIT ? who->head->guard_aliases : RULE_BLOCK;
	return refused(carry_out(&who->identity, op, outcome, show));
}

/* ---- values ---- */

__noinline int rt_collect_value(const struct identity *who, struct verdict *verdict, enum op op, __u64 value)
{
	const struct value_rules *rules;
	struct value_key key = {};

	if (!who || !verdict)
		return 0;
	key.set = who->subject.set;
	key.op = op;
	key.value = value;
	rules = bpf_map_lookup_elem(&rt_values, &key);
	for (__u32 i = 0; i < VALUE_RULES && rules; i++) {
		const struct value_rule *rule = &rules->rules[i];

		if (i >= rules->count)
			break;
		collect(who, verdict, rule->rule, rule->source, rule->action);
	}
	return 0;
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

__noinline int rt_judge_value(const struct identity *who, struct verdict *verdict, enum op op, __u64 value)
{
	if (!who || !verdict)
		return 0;
	for (__u32 parts = 0; parts < 1 << SOCKET_PARTS; parts++) {
		rt_collect_value(who, verdict, op, with_any(value, parts));
		if (op != OP_SOCKET)
			break;
	}
	return 0;
}

/* `show->value` is what is judged; the rest of it what a sample shows. */
static __always_inline int decide_shown(struct who *who, enum op op, const struct show *show)
{
	struct verdict verdict = NO_VERDICT;

	if (!who->head)
		return 1;
	rt_judge_value(&who->identity, &verdict, op, show->value);
	if (is_nothing(&verdict, who->head, op))
		return 0;
	return refused(rt_settle(&who->identity, &verdict, show, op));
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

/* ---- addresses ---- */

#define ADDRESS_KEY_BITS	(32 + 128)

__noinline int rt_judge_endpoint(const struct identity *who, struct verdict *verdict, const struct endpoint *endpoint, enum op op)
{
	struct rt_address_key key = { .prefixlen = ADDRESS_KEY_BITS };
	const struct address_rules *rules;

	if (!who || !verdict || !endpoint)
		return 0;
	key.set = who->subject.set;
	__builtin_memcpy(key.address, endpoint->address, sizeof(key.address));
	rules = bpf_map_lookup_elem(&rt_addresses, &key);
	for (__u32 i = 0; i < ADDRESS_RULES && rules; i++) {
		const struct address_rule *rule = &rules->rules[i];

		if (i >= rules->count)
			break;
		if (!(rule->ops >> (op - OP_CONNECT) & 1) || endpoint->port < rule->port_first || endpoint->port > rule->port_last)
			continue;
		if (!rule->protocol || rule->protocol == endpoint->protocol)
			collect(who, verdict, rule->rule, rule->source, rule->action);
	}
	return 0;
}

static __always_inline int decide_endpoint(struct who *who, enum op op, const struct endpoint *endpoint)
{
	struct verdict verdict = NO_VERDICT;
	struct show show = { .has_endpoint = 1, .endpoint = *endpoint };

	if (!who->head)
		return 1;
	rt_judge_endpoint(&who->identity, &verdict, &show.endpoint, op);
	if (is_nothing(&verdict, who->head, op))
		return 0;
	return refused(rt_settle(&who->identity, &verdict, &show, op));
}

#endif
