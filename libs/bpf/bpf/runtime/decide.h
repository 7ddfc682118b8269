/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The decision: collects the matching rules and applies them.
 *
 * Place in the data path: hook → identify() → decide_*() → EPERM or 0. This file decides about
 * values and addresses, decide-path.h about paths. Each decide_*() returns 0 (allow) or 1 (refuse),
 * after it counted and sampled. The hook branches to `return -EPERM`, because the verifier wants a
 * constant.
 * All matching rules are collected first. A block or kill refuses: the stronger action, then the
 * lower index. An audit is counted in addition. Without a denial, allow rules and postures decide
 * (rt_decide()). libs/runtime/src/model/model.ts is the same decision in TypeScript.
 * Limits: VALUE_RULES and ADDRESS_RULES per entry.
 */
#ifndef BAILIFF_RUNTIME_DECIDE_H
#define BAILIFF_RUNTIME_DECIDE_H

#include <stdbool.h>

#include "identity.h"
#include "maps.h"
#include "sample.h"
#include "state.h"

#define NO_RULE (~0U)

/*
 * Hides from the compiler that a decision is 0 or 1. Otherwise it returns the negated value instead
 * of a constant, and the verifier rejects that. Every decide_*() uses it; so must a function of a
 * hook that is not inlined.
 */
static __always_inline int refused(int decision)
{
	barrier_var(decision);
	return decision;
}

enum source_match { SOURCE_NO_MATCH, SOURCE_MATCH, SOURCE_MAY_MATCH };

struct matches {
	__u32 rule;   /* of the strongest denial; NO_RULE: none */
	__u32 action; /* action of that rule */
	__u32 audit_rule;
	__u32 allowed;	  /* bits RULE_ALLOW_AUDIT and RULE_ALLOW */
	__u32 unresolved; /* 1: not all names or addresses are known; an earlier denial still holds */
	__u32 has_source; /* 1: a rule was met that depends on the program */
};

#define NO_MATCHES ((struct matches){ .rule = NO_RULE, .audit_rule = NO_RULE })

/* Returns enum source_match: whether a rule's group of programs names the current task. */
__noinline int rt_match_source(__u32 set, __u32 source)
{
	const struct task_state *task = state_of(bpf_get_current_task_btf());
	struct source_key key = { .set = set, .source = source };
	const __u32 *flags;

	if (!task)
		return SOURCE_NO_MATCH;
	for (__u32 i = 0; i < SOURCE_CHAIN; i++) {
		if (i >= task->chain_count)
			break;
		key.program = task->chain[i];
		if (!key.program)
			continue;
		flags = bpf_map_lookup_elem(&rt_sources, &key);
		if (flags && *flags & (i ? SOURCE_CHILDREN : SOURCE_SELF))
			return SOURCE_MATCH;
	}
	if (!(task->flags & TASK_CHAIN_CUT))
		return SOURCE_NO_MATCH;
	key.program = 0;
	flags = bpf_map_lookup_elem(&rt_sources, &key);
	return flags && *flags & SOURCE_CHILDREN ? SOURCE_MAY_MATCH : SOURCE_NO_MATCH;
}

static __always_inline void collect(const struct identity *identity, struct matches *matches,
				    __u32 rule, __u32 source, __u32 action)
{
	if (source) {
		enum source_match match = rt_match_source(identity->subject.set, source);

		matches->has_source = 1;
		if (match == SOURCE_NO_MATCH || (match == SOURCE_MAY_MATCH && action <= RULE_ALLOW))
			return;
	}
	if (action <= RULE_ALLOW) {
		matches->allowed |= 1U << action;
	} else if (action == RULE_AUDIT) {
		if (rule < matches->audit_rule)
			matches->audit_rule = rule;
	} else if (action > matches->action ||
		   (action == matches->action && rule < matches->rule)) {
		matches->action = action;
		matches->rule = rule;
	}
}

/* Index of an extra cell, after those of the rules. */
static __always_inline __u32 extra_cell(const struct identity *identity, __u32 extra)
{
	return identity->subject.counter_count - COUNTER_EXTRA + extra;
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
	return POSTURE_CLASSES; /* no posture */
}

/* Result of a decision: the counter cell, and the action of the rule. */
struct outcome {
	__u32 cell;
	__u32 action; /* 0: nothing to count */
	__u32 flags;  /* RT_SAMPLE_* */
};

static __always_inline struct outcome posture_outcome(const struct identity *identity,
						      const struct set_head *head, enum op op,
						      __u32 allowed)
{
	enum posture_class class = class_of(op);
	struct outcome outcome = { .flags = RT_SAMPLE_POSTURE };

	if (class >= POSTURE_CLASSES || allowed & 1U << RULE_ALLOW)
		return outcome;
	if (head->posture_block[class]) {
		outcome.cell = extra_cell(identity, EXTRA_POSTURE + class * 2 + 1);
		outcome.action = RULE_BLOCK;
	} else if (head->posture_audit[class] && !(allowed & 1U << RULE_ALLOW_AUDIT)) {
		outcome.cell = extra_cell(identity, EXTRA_POSTURE + class * 2);
		outcome.action = RULE_AUDIT;
	}
	return outcome;
}

static __always_inline struct outcome unresolved_outcome(const struct identity *identity,
							 const struct set_head *head, enum op op)
{
	bool block = (class_of(op) == POSTURE_NETWORK ? head->unresolved_address
						      : head->unresolved) >= RULE_BLOCK;

	return (struct outcome){
		.cell = extra_cell(identity, EXTRA_UNRESOLVED + block),
		.action = block ? RULE_BLOCK : RULE_AUDIT,
		.flags = RT_SAMPLE_POSTURE,
	};
}

/* Counts the outcome, as an audit during break-glass. Returns whether it refuses. */
static __always_inline int carry_out(const struct identity *identity, enum op op,
				     struct outcome outcome, const struct event *event)
{
	if (!outcome.action)
		return 0;
	if (outcome.action >= RULE_BLOCK && is_disarmed(identity))
		outcome.action = RULE_AUDIT;
	rt_record_violation(identity, event, outcome.cell,
			    EVENT_CODE(op, outcome.action) | EVENT_CODE_FLAGS(outcome.flags));
	return outcome.action >= RULE_BLOCK;
}

/* Whether no rule denies or counts, and no posture does. */
static __always_inline bool has_no_effect(const struct matches *matches,
					  const struct set_head *head, enum op op)
{
	enum posture_class class = class_of(op);

	if (matches->rule != NO_RULE || matches->audit_rule != NO_RULE || matches->unresolved)
		return false;
	if (class >= POSTURE_CLASSES || matches->allowed & 1U << RULE_ALLOW)
		return true;
	return !head->posture_block[class] &&
	       (!head->posture_audit[class] || matches->allowed & 1U << RULE_ALLOW_AUDIT);
}

/* Applies the collected rules and the posture. Returns 0 or 1. */
__noinline int rt_decide(const struct identity *identity, const struct matches *matches,
			 const struct event *event, enum op op)
{
	const struct set_head *head;
	struct outcome outcome = {};
	__u32 set;

	if (!identity || !matches || !event)
		return 1;
	set = identity->subject.set;
	head = bpf_map_lookup_elem(&rt_sets, &set);
	if (!head)
		return 1;
	if (matches->audit_rule != NO_RULE)
		rt_record_violation(identity, event, matches->audit_rule,
				    EVENT_CODE(op, RULE_AUDIT));
	if (matches->rule != NO_RULE) {
		outcome.cell = matches->rule;
		outcome.action = matches->action;
	} else if (matches->unresolved) {
		outcome = unresolved_outcome(identity, head, op);
	} else {
		outcome = posture_outcome(identity, head, op, matches->allowed);
	}
	return carry_out(identity, op, outcome, event);
}

/* Denies by guard_aliases; the caller checked that it applies. */
static __always_inline int deny_alias(struct policy_ctx *policy, enum op op, struct event *event)
{
	struct outcome outcome = {};

	if (!policy->head)
		return 1;
	outcome.cell = policy->head->guard_rule;
	outcome.action = policy->head->guard_aliases >= RULE_AUDIT ? policy->head->guard_aliases
								   : RULE_BLOCK;
	return refused(carry_out(&policy->identity, op, outcome, event));
}

/* ---- values ---- */

__noinline int rt_collect_value(const struct identity *identity, struct matches *matches,
				enum op op, __u64 value)
{
	const struct value_rules *rules;
	struct value_key key = {};

	if (!identity || !matches)
		return 0;
	key.set = identity->subject.set;
	key.op = op;
	key.value = value;
	rules = bpf_map_lookup_elem(&rt_values, &key);
	for (__u32 i = 0; i < VALUE_RULES && rules; i++) {
		const struct value_rule *rule = &rules->rules[i];

		if (i >= rules->count)
			break;
		collect(identity, matches, rule->rule, rule->source, rule->action);
	}
	return 0;
}

#define SOCKET_PARTS 3

/* A socket is looked up with each of its parts, and with SOCKET_ANY instead. */
static __always_inline __u64 with_any(__u64 value, __u32 parts)
{
	for (__u32 part = 0; part < SOCKET_PARTS; part++) {
		if (parts >> part & 1)
			value |= SOCKET_ANY << (part * 16);
	}
	return value;
}

__noinline int rt_match_value(const struct identity *identity, struct matches *matches, enum op op,
			      __u64 value)
{
	if (!identity || !matches)
		return 0;
	for (__u32 parts = 0; parts < 1 << SOCKET_PARTS; parts++) {
		rt_collect_value(identity, matches, op, with_any(value, parts));
		if (op != OP_SOCKET)
			break;
	}
	if (op == OP_DRIFT && value == DRIFT_MEMORY)
		rt_collect_value(identity, matches, op, DRIFT_LAYER);
	return 0;
}

/* Decides about `event->value`; the other fields are for the sample. */
static __always_inline int decide_event(struct policy_ctx *policy, enum op op,
					const struct event *event)
{
	struct matches matches = NO_MATCHES;

	if (!policy->head)
		return 1;
	rt_match_value(&policy->identity, &matches, op, event->value);
	if (has_no_effect(&matches, policy->head, op))
		return 0;
	return refused(rt_decide(&policy->identity, &matches, event, op));
}

static __always_inline int decide_value(struct policy_ctx *policy, enum op op, __u64 value)
{
	struct event event = { .value = value };

	return decide_event(policy, op, &event);
}

/* Decides about a value of a file: its drift, or that it is on a mount of the host. */
static __always_inline int decide_value_of(struct policy_ctx *policy, enum op op, __u64 value,
					   const struct path *path)
{
	struct event event = {
		.value = value,
		.dentry = BPF_CORE_READ(path, dentry),
		.mnt = BPF_CORE_READ(path, mnt),
	};

	return decide_event(policy, op, &event);
}

/* ---- addresses ---- */

#define ADDRESS_KEY_BITS (32 + 128)

/*
 * A socket that listens without a bind has no port yet. The kernel chooses one, which the program can
 * determine (IP_LOCAL_PORT_RANGE, or by trying again). So denials of any port match. What only counts
 * names its own ports: a record says what was done.
 */
static __always_inline bool matches_port(const struct address_rule *rule, __u16 port, enum op op)
{
	if (op == OP_LISTEN && !port && rule->action >= RULE_BLOCK)
		return true;
	return port >= rule->port_first && port <= rule->port_last;
}

__noinline int rt_match_endpoint(const struct identity *identity, struct matches *matches,
				 const struct endpoint *endpoint, enum op op)
{
	struct rt_address_key key = { .prefixlen = ADDRESS_KEY_BITS };
	const struct address_rules *rules;

	if (!identity || !matches || !endpoint)
		return 0;
	key.set = identity->subject.set;
	__builtin_memcpy(key.address, endpoint->address, sizeof(key.address));
	rules = bpf_map_lookup_elem(&rt_addresses, &key);
	for (__u32 i = 0; i < ADDRESS_RULES && rules; i++) {
		const struct address_rule *rule = &rules->rules[i];

		if (i >= rules->count)
			break;
		if (!(rule->ops >> (op - OP_CONNECT) & 1) ||
		    !matches_port(rule, endpoint->port, op))
			continue;
		if (!rule->protocol || rule->protocol == endpoint->protocol)
			collect(identity, matches, rule->rule, rule->source, rule->action);
	}
	return 0;
}

/* `unresolved`: `endpoint` stands for further addresses of the call, which no hook sees. */
static __always_inline int decide_endpoints(struct policy_ctx *policy, enum op op,
					    const struct endpoint *endpoint, bool unresolved)
{
	struct matches matches = NO_MATCHES;
	struct event event = { .has_endpoint = 1, .endpoint = *endpoint };

	if (!policy->head)
		return 1;
	matches.unresolved = unresolved;
	if (!unresolved)
		rt_match_endpoint(&policy->identity, &matches, &event.endpoint, op);
	policy->effects |= matches.has_source;
	if (has_no_effect(&matches, policy->head, op))
		return 0;
	policy->effects = 1;
	return refused(rt_decide(&policy->identity, &matches, &event, op));
}

static __always_inline int decide_endpoint(struct policy_ctx *policy, enum op op,
					   const struct endpoint *endpoint)
{
	return decide_endpoints(policy, op, endpoint, false);
}

#endif
