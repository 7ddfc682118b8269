/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Decisions about objects with a path or a unix name.
 *
 * Place in the data path: hook → identify() → here → rt_decide() in decide.h. An object is matched
 * by its path from the root of its mount namespace. If a part of the container's root is mounted
 * elsewhere, its own location is matched as well (walk.h). A denial at either location holds. An
 * allow needs both, because a pod could otherwise mount its own file over an allowed name.
 * Limits: PATH_RULES per entry; one look-up per component, and one per suffix length of the set.
 */
#ifndef BAILIFF_RUNTIME_DECIDE_PATH_H
#define BAILIFF_RUNTIME_DECIDE_PATH_H

#include <stdbool.h>

#include "decide.h"
#include "walk.h"

#define MAX_SUFFIX 63

struct matching {
	struct scratch *scratch;
	const struct identity *identity;
	struct matches *matches;
	__u64 ops;    /* bits; a rule needs one of them. And OWN_NAME */
	__u32 depths; /* as in struct path_masks, of these operations */
};

/* All operations on paths except running. */
#define GUARDED_OPS (OP_BIT(OP_CONNECT) - OP_BIT(OP_READ))
/* In a set of operations: without rules that name a directory above the object. */
#define OWN_NAME OP_BIT(63)

#define MAX_DEPTH 31
/* Operations that the markers above a denied path refuse. */
#define ANCESTOR_OPS (OP_BIT(OP_RENAME) | OP_BIT(OP_MOUNT_POINT))

/* The masks are of all rules if the task was identified for other operations. */
static __always_inline __u32 depths_of(const struct identity *identity, __u64 ops)
{
	return ops & ANCESTOR_OPS || path_classes_of(ops) & ~identity->path_classes
		       ? ~0U
		       : identity->depths;
}

static __always_inline __u64 suffix_lengths_of(const struct identity *identity, __u64 ops)
{
	return path_classes_of(ops) & ~identity->path_classes ? ~0ULL : identity->suffix_lengths;
}

static __always_inline __u32 at_depth(__u32 depth)
{
	return 1U << (depth < MAX_DEPTH ? depth : MAX_DEPTH);
}

/* Bits of all depths from `depth` on. */
static __always_inline __u32 from_depth(__u32 depth)
{
	return ~0U << (depth < MAX_DEPTH ? depth : MAX_DEPTH);
}

static __always_inline bool path_match_holds(__u32 match, __u32 above)
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

/*
 * Collects the rules at one hash that cover one of `ops`. `place`: the path_kind, and from bit 8 on
 * the distance to the object.
 */
__noinline int rt_collect_path(const struct identity *identity, struct matches *matches, __u64 hash,
			       __u64 ops, __u32 place)
{
	const struct path_rules *rules;
	struct path_key key = {};

	if (!identity || !matches)
		return 0;
	key.set = identity->subject.set;
	key.kind = place & 0xff;
	key.hash = hash;
	rules = bpf_map_lookup_elem(&rt_paths, &key);
	for (__u32 i = 0; i < PATH_RULES && rules; i++) {
		const struct path_rule *rule = &rules->rules[i];

		if (i >= rules->count)
			break;
		if (rule->ops & ops && path_match_holds(rule->match, place >> 8))
			collect(identity, matches, rule->rule, rule->source, rule->action);
	}
	return 0;
}

/*
 * At the root of a mount whose names are not unique: unresolved if a rule denies one of `ops` on a
 * path below, because the object may have that name too.
 */
__noinline int rt_collect_foreign(const struct identity *identity, struct matches *matches,
				  __u64 hash, __u64 ops)
{
	struct path_key key = { .kind = PATH_PREFIX, .hash = hash };
	const struct path_rules *rules;

	if (!identity || !matches)
		return 0;
	key.set = identity->subject.set;
	rules = bpf_map_lookup_elem(&rt_paths, &key);
	if (rules && rules->below & ops)
		matches->unresolved = 1;
	return 0;
}

static __always_inline void collect_path(const struct matching *matching, enum path_kind kind,
					 __u64 hash, __u32 above)
{
	if (above && matching->ops & OWN_NAME)
		return;
	rt_collect_path(matching->identity, matching->matches, hash, matching->ops,
			kind | above << 8);
}

static long match_step(__u32 step, void *context)
{
	struct matching *matching = context;
	struct scratch *scratch = matching->scratch;
	__u32 above = scratch->count - 1 - step;

	if (above >= WALK_COMPONENTS || !(matching->depths & from_depth(step + 1)))
		return 1;
	scratch->hash = hash_component(scratch, scratch->hash, scratch->components[above]);
	if (above == scratch->foreign)
		scratch->foreign_hash = scratch->hash;
	/*
	 * Computed again: a variable kept over the calls would exceed the stack of the longest call
	 * chain.
	 */
	if (matching->depths & at_depth(scratch->count - above))
		collect_path(matching, PATH_PREFIX, scratch->hash, above);
	return 0;
}

static long suffix_step(__u32 step, void *context)
{
	struct matching *matching = context;
	struct scratch *scratch = matching->scratch;
	__u32 length = (step + 1) & MAX_SUFFIX, whole;
	__u64 lengths = scratch->suffix_lengths >> length;
	const unsigned char *name;
	struct dentry *dentry;

	if (!(lengths & 1))
		return !lengths;
	dentry = scratch->components[0];
	whole = LOAD(dentry, dentry, d_name.len);
	name = LOAD(dentry, dentry, d_name.name);
	if (length > whole)
		return 1;
	if (bpf_probe_read_kernel(scratch->words, length, name + whole - length))
		return 1;
	collect_path(matching, PATH_SUFFIX, rt_siphash(scratch, length), 0);
	return 0;
}

/* Matches the path in scratch->components, and the suffixes of its last name. */
static __always_inline void match_path(struct matching *matching, enum walk_end end)
{
	struct scratch *scratch = matching->scratch;

	if (scratch->foreign)
		matching->depths = ~0U;
	/* Paths above all rules, and components below the deepest rule, are not hashed. */
	if (matching->depths & ~(scratch->count < MAX_DEPTH ? from_depth(scratch->count + 1) : 0)) {
		scratch->hash = hash_root(scratch, end);
		if (matching->depths & 1)
			collect_path(matching, PATH_PREFIX, scratch->hash, scratch->count);
		scratch->foreign_hash = scratch->hash;
		bpf_loop(WALK_COMPONENTS, match_step, matching, 0);
		if (scratch->foreign)
			rt_collect_foreign(matching->identity, matching->matches,
					   scratch->foreign_hash, matching->ops);
	}
	scratch->suffix_lengths = suffix_lengths_of(matching->identity, matching->ops);
	if (scratch->suffix_lengths && scratch->count)
		bpf_loop(MAX_SUFFIX, suffix_step, matching, 0);
}

/* An allow for any posture includes an audited one. */
static __always_inline __u32 widened(__u32 allowed)
{
	return allowed & 1U << RULE_ALLOW ? allowed | 1U << RULE_ALLOW_AUDIT : allowed;
}

/* Matches the own location, after the location that the object was reached by. */
static __always_inline void match_own_location(struct matching *matching)
{
	struct matches *matches = matching->matches;
	__u32 allowed = widened(matches->allowed);

	if (matching->scratch->end != WALK_STOP) {
		matches->unresolved = 1;
		return;
	}
	matches->allowed = 0;
	match_path(matching, WALK_ROOT);
	matches->allowed = widened(matches->allowed) & allowed;
}

/* Collects into `matches` the rules that match the object of `event` and one of `ops`. */
__noinline int rt_match_object(const struct identity *identity, struct matches *matches,
			       const struct event *event, __u64 ops)
{
	struct matching matching = { .identity = identity, .matches = matches, .ops = ops };
	struct scratch *scratch;
	enum walk_end end;

	if (!identity || !matches || !event)
		return 0;
	matching.depths = depths_of(identity, ops);
	matches->unresolved = 1;
	scratch = claim();
	if (!scratch)
		return 0;
	matching.scratch = scratch;
	end = walk(scratch, event->dentry, event->mnt);
	if (end != WALK_UNRESOLVED) {
		matches->unresolved = 0;
		match_path(&matching, end);
		if (walk_own_location(scratch, identity->root_device,
				      (void *)identity->root_dentry))
			match_own_location(&matching);
	}
	release(scratch);
	if (matches->unresolved)
		rt_count_loss(RT_LOSS_UNRESOLVED);
	return 0;
}

/* Decides about the object of `event`. */
static __noinline int decide_object_event(struct policy_ctx *policy, enum op op,
					  const struct event *event)
{
	struct matches matches = NO_MATCHES;

	if (!policy->head)
		return 1;
	rt_match_object(&policy->identity, &matches, event, OP_BIT(op));
	if (has_no_effect(&matches, policy->head, op)) {
		policy->effects |= matches.has_source;
		return 0;
	}
	policy->effects = 1;
	return rt_decide(&policy->identity, &matches, event, op);
}

/* `dentry` is in the mount `mnt` and may be negative. */
static __always_inline int decide_object(struct policy_ctx *policy, enum op op,
					 struct dentry *dentry, struct vfsmount *mnt)
{
	struct event event = { .dentry = dentry, .mnt = mnt };

	return refused(decide_object_event(policy, op, &event));
}

/* Decides about an existing object. */
static __always_inline int decide_path(struct policy_ctx *policy, enum op op,
				       const struct path *path)
{
	return decide_object(policy, op, LOAD(path, path, dentry), LOAD(path, path, mnt));
}

static __always_inline int decide_file(struct policy_ctx *policy, enum op op,
				       const struct file *file)
{
	return decide_object(policy, op, LOAD(file, file, f_path.dentry),
			     LOAD(file, file, f_path.mnt));
}

/* Decides about an entry of a directory, as the path_* hooks pass it; it may be negative. */
static __always_inline int decide_child(struct policy_ctx *policy, enum op op,
					const struct path *directory, struct dentry *dentry)
{
	return decide_object(policy, op, dentry, LOAD(path, directory, mnt));
}

/* ---- abstract unix names ---- */

#define ABSTRACT_BYTES 127 /* a mask; sun_path has 108 */

/* Decides about an abstract unix name in kernel memory, without its leading zero. */
static __always_inline int decide_name(struct policy_ctx *policy, enum op op, const char *name,
				       __u32 length)
{
	struct matches matches = NO_MATCHES;
	struct event event = { .text = name, .length = length };
	struct matching matching = { .identity = &policy->identity,
				     .matches = &matches,
				     .ops = OP_BIT(op) };

	if (!policy->head)
		return 1;
	matching.scratch = claim();
	if (matching.scratch) {
		length &= ABSTRACT_BYTES;
		if (!bpf_probe_read_kernel(matching.scratch->words, length, name))
			collect_path(&matching, PATH_ABSTRACT, rt_siphash(matching.scratch, length),
				     0);
		release(matching.scratch);
	} else {
		matches.unresolved = 1;
	}
	return refused(rt_decide(&policy->identity, &matches, &event, op));
}

#endif
