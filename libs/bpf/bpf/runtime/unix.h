/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Unix sockets: connecting and sending to a peer, and binding of abstract names.
 *
 * Place in the data path: LSM hooks here → rt_match_object() and rt_match_bound_name(), or
 * decide_name(). A peer is identified by the object that it is bound to, in the mount namespace of
 * the bind, so links, mounts and descriptors on the way do not matter. Denials also hold for the
 * name of the bind, which the socket keeps if its file or a directory above is renamed or removed.
 * A bind to a path reaches path_mknod (file.h); socket_bind itself is in net.h.
 */
#ifndef BAILIFF_RUNTIME_UNIX_H
#define BAILIFF_RUNTIME_UNIX_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_tracing.h>

#include "decide.h"
#include "decide-path.h"
#include "endpoint.h"
#include "identity.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct sockaddr_un {
	unsigned short sun_family;
};

struct unix_address {
	int len;
	struct sockaddr_un name[0];
};

struct unix_sock {
	struct unix_address *addr;
	struct path path;
};

#pragma clang attribute pop

#define UNIX_NAME_OFFSET 2 /* of sun_path */
#define UNIX_NAME_BYTES	 108
#define BOUND_NAME_BYTES 128 /* a power of two, so a mask bounds an index */

/* Decides about an abstract name: the bytes after the leading zero; there may be none. */
static __noinline int decide_unix_name(struct policy_ctx *policy, enum op op, const void *name,
				       __u32 length)
{
	if (length <= UNIX_NAME_OFFSET || length > UNIX_NAME_OFFSET + UNIX_NAME_BYTES)
		return 0;
	return decide_name(policy, op, name + UNIX_NAME_OFFSET + 1, length - UNIX_NAME_OFFSET - 1);
}

/* ---- the name of the bind ---- */

/*
 * In scratch: at: bytes of the current component; count: remaining components; words: the parent's
 * hash, then the component.
 */

/* Counts the components, and the bytes in `end`. */
static long count_bound(__u32 step, void *context)
{
	struct scratch *scratch = ((struct matching *)context)->scratch;
	__u8 c = scratch->text[step & (TEXT_BYTES - 1)],
	     next = scratch->text[(step + 1) & (TEXT_BYTES - 1)];

	if (!c)
		return 1;
	scratch->end = step + 1;
	if (c == '/' && next && next != '/')
		scratch->count++;
	return 0;
}

static long match_bound_step(__u32 step, void *context)
{
	struct matching *matching = context;
	struct scratch *scratch = matching->scratch;
	__u8 c = scratch->text[step & (TEXT_BYTES - 1)];

	if (c && c != '/') {
		((__u8 *)scratch->words)[sizeof(__u64) + (scratch->at & (BOUND_NAME_BYTES - 1))] =
			c;
		scratch->at++;
		return 0;
	}
	if (scratch->at) {
		scratch->words[0] = scratch->hash;
		scratch->hash =
			rt_siphash(scratch, sizeof(__u64) + (scratch->at & (BOUND_NAME_BYTES - 1)));
		scratch->count--;
		scratch->at = 0;
		collect_path(matching, PATH_PREFIX, scratch->hash, scratch->count);
	}
	return !c;
}

static long match_bound_suffix(__u32 step, void *context)
{
	struct matching *matching = context;
	struct scratch *scratch = matching->scratch;
	__u32 length = (step + 1) & MAX_SUFFIX, end = scratch->end & (TEXT_BYTES - 1);
	__u64 lengths = scratch->suffix_lengths >> length;

	if (!(lengths & 1))
		return !lengths;
	if (length > end)
		return 1;
	bpf_probe_read_kernel(scratch->words, length,
			      &scratch->text[(end - length) & (TEXT_BYTES - 1)]);
	collect_path(matching, PATH_SUFFIX, rt_siphash(scratch, length), 0);
	return 0;
}

/*
 * Collects the denials that match the absolute name `event->text`. Allow rules must match the
 * object itself.
 */
__noinline int rt_match_bound_name(const struct identity *identity, struct matches *matches,
				   const struct event *event, __u64 ops)
{
	struct matching matching = { .identity = identity, .matches = matches, .ops = ops };
	struct scratch *scratch;
	__u32 allowed;

	if (!identity || !matches || !event)
		return 0;
	scratch = claim();
	if (!scratch)
		return 0;
	allowed = matches->allowed;
	matching.scratch = scratch;
	scratch->count = 0;
	scratch->end = 0;
	scratch->at = 0;
	if (bpf_probe_read_kernel_str(scratch->text, BOUND_NAME_BYTES, event->text) > 1 &&
	    scratch->text[0] == '/') {
		scratch->hash = hash_root(scratch, WALK_ROOT);
		bpf_loop(BOUND_NAME_BYTES, count_bound, &matching, 0);
		bpf_loop(BOUND_NAME_BYTES, match_bound_step, &matching, 0);
		scratch->suffix_lengths = suffix_lengths_of(identity, ops);
		if (scratch->suffix_lengths)
			bpf_loop(MAX_SUFFIX, match_bound_suffix, &matching, 0);
	}
	matches->allowed = allowed;
	release(scratch);
	return 0;
}

/* Decides about a peer with a path: by its current location, and by the name of its bind. */
static __noinline int decide_bound_peer(struct policy_ctx *policy, enum op op,
					const struct unix_sock *peer)
{
	struct event event = { .dentry = BPF_CORE_READ(peer, path.dentry),
			       .mnt = BPF_CORE_READ(peer, path.mnt) };
	const struct unix_address *address = BPF_CORE_READ(peer, addr);
	struct matches matches = NO_MATCHES;

	if (!policy->head)
		return 1;
	rt_match_object(&policy->identity, &matches, &event, OP_BIT(op));
	if (address) {
		event.text = __builtin_preserve_access_index((const void *)&address->name) +
			     UNIX_NAME_OFFSET;
		rt_match_bound_name(&policy->identity, &matches, &event, OP_BIT(op));
		event.text = NULL;
	}
	return has_no_effect(&matches, policy->head, op)
		       ? 0
		       : rt_decide(&policy->identity, &matches, &event, op);
}

/* An unnamed peer is the other end of a socketpair, whose creator had both ends. */
static __always_inline int decide_unix_peer(struct policy_ctx *policy, enum op op,
					    const struct sock *other)
{
	const struct unix_sock *peer = (const void *)other;
	const struct unix_address *address;

	if (BPF_CORE_READ(peer, path.dentry))
		return refused(decide_bound_peer(policy, op, peer));
	address = BPF_CORE_READ(peer, addr);
	return address ? decide_unix_name(policy, op,
					  __builtin_preserve_access_index(&address->name),
					  BPF_CORE_READ(address, len))
		       : 0;
}

/* Stream and seqpacket. */
SEC("lsm/unix_stream_connect")
int BPF_PROG(handle_unix_stream_connect, struct sock *sk, struct sock *other, struct sock *made)
{
	struct policy_ctx policy;

	if (!identify(&policy, OP_UNIX_CONNECT))
		return 0;
	if (decide_unix_peer(&policy, OP_UNIX_CONNECT, other))
		return -EPERM;
	return 0;
}

/* Datagrams: on connect and on every send. */
SEC("lsm/unix_may_send")
int BPF_PROG(handle_unix_may_send, struct socket *socket, struct socket *other)
{
	struct sock *peer = other->sk;
	struct policy_ctx policy;

	if (!peer || !identify(&policy, OP_UNIX_SEND))
		return 0;
	if (decide_unix_peer(&policy, OP_UNIX_SEND, peer))
		return -EPERM;
	return 0;
}

/* Abstract names; a path reaches path_mknod with mode S_IFSOCK. */
static __always_inline int decide_unix_bind(const void *name, __u32 length)
{
	struct policy_ctx policy;
	char first = 1;

	if (length <= UNIX_NAME_OFFSET || !identify(&policy, OP_UNIX_BIND))
		return 0;
	if (bpf_probe_read_kernel(&first, sizeof(first), name + UNIX_NAME_OFFSET) || first)
		return 0;
	return decide_unix_name(&policy, OP_UNIX_BIND, name, length);
}

#endif
