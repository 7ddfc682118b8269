/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Unix sockets: connecting and sending to a peer, and binding of abstract names.
 *
 * Place in the path: LSM hooks here → rt_judge_object() and rt_judge_bound(), or decide_name(). A peer is judged by what it is bound
 * to, in the mount namespace where it was bound, so no link, mount or descriptor that led there matters. Denials hold for the name that
 * it was bound by as well, which stays with the socket when its file, or a directory above it, is renamed or removed. A path that is
 * bound to comes to path_mknod (file.h). socket_bind itself is in net.h.
 */
#ifndef BAILIFF_RUNTIME_UNIX_H
#define BAILIFF_RUNTIME_UNIX_H

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

#define UNIX_NAME_OFFSET	2	/* of sun_path */
#define UNIX_NAME_BYTES		108
#define BOUND_NAME_BYTES	128	/* a power of two above it, so that a mask bounds an index */

/* An abstract name: what follows the first zero, which is not part of it. */
static __noinline int decide_unix_name(struct who *who, enum op op, const void *name, __u32 length)
{
	if (length <= UNIX_NAME_OFFSET + 1 || length > UNIX_NAME_OFFSET + UNIX_NAME_BYTES)
		return 0;
	return decide_name(who, op, name + UNIX_NAME_OFFSET + 1, length - UNIX_NAME_OFFSET - 1);
}

/* ---- the name that a socket was bound by ---- */

/* Of scratch: at = bytes of the component that is read, count = components to come, words = the hash above it, then its name. */

/* Counts the components, and the bytes in `end`. */
static long count_bound(__u32 step, void *context)
{
	struct scratch *scratch = ((struct judging *)context)->scratch;
	__u8 c = scratch->text[step & (TEXT_BYTES - 1)], next = scratch->text[(step + 1) & (TEXT_BYTES - 1)];

	if (!c)
		return 1;
	scratch->end = step + 1;
	if (c == '/' && next && next != '/')
		scratch->count++;
	return 0;
}

static long judge_bound_step(__u32 step, void *context)
{
	struct judging *judging = context;
	struct scratch *scratch = judging->scratch;
	__u8 c = scratch->text[step & (TEXT_BYTES - 1)];

	if (c && c != '/') {
		((__u8 *)scratch->words)[sizeof(__u64) + (scratch->at & (BOUND_NAME_BYTES - 1))] = c;
		scratch->at++;
		return 0;
	}
	if (scratch->at) {
		scratch->words[0] = scratch->hash;
		scratch->hash = rt_siphash(scratch, sizeof(__u64) + (scratch->at & (BOUND_NAME_BYTES - 1)));
		scratch->count--;
		scratch->at = 0;
		collect_path(judging, PATH_PREFIX, scratch->hash, scratch->count);
	}
	return !c;
}

static long judge_bound_end(__u32 step, void *context)
{
	struct judging *judging = context;
	struct scratch *scratch = judging->scratch;
	__u32 length = (step + 1) & MAX_SUFFIX, end = scratch->end & (TEXT_BYTES - 1);

	if (!(judging->who->suffix_lengths >> length & 1))
		return 0;
	if (length > end)
		return 1;
	bpf_probe_read_kernel(scratch->words, length, &scratch->text[(end - length) & (TEXT_BYTES - 1)]);
	collect_path(judging, PATH_SUFFIX, rt_siphash(scratch, length), 0);
	return 0;
}

/* Collects the denials that match the absolute name `show->text`: an allow must hold for the object itself. */
__noinline int rt_judge_bound(const struct identity *who, struct verdict *verdict, const struct show *show, __u64 ops)
{
	struct judging judging = { .who = who, .verdict = verdict, .ops = ops };
	struct scratch *scratch;
	__u32 allowed;

	if (!who || !verdict || !show)
		return 0;
	scratch = claim();
	if (!scratch)
		return 0;
	allowed = verdict->allowed;
	judging.scratch = scratch;
	scratch->count = 0;
	scratch->end = 0;
	scratch->at = 0;
	if (bpf_probe_read_kernel_str(scratch->text, BOUND_NAME_BYTES, show->text) > 1 && scratch->text[0] == '/') {
		scratch->hash = hash_root(scratch, WALK_ROOT);
		bpf_loop(BOUND_NAME_BYTES, count_bound, &judging, 0);
		bpf_loop(BOUND_NAME_BYTES, judge_bound_step, &judging, 0);
		if (who->suffix_lengths)
			bpf_loop(MAX_SUFFIX, judge_bound_end, &judging, 0);
	}
	verdict->allowed = allowed;
	release(scratch);
	return 0;
}

/* A peer that has a path: by where it lies now, and by the name that it was bound by. */
static __noinline int decide_bound_peer(struct who *who, enum op op, const struct unix_sock *peer)
{
	struct show show = { .dentry = BPF_CORE_READ(peer, path.dentry), .mnt = BPF_CORE_READ(peer, path.mnt) };
	const struct unix_address *address = BPF_CORE_READ(peer, addr);
	struct verdict verdict = NO_VERDICT;

	if (!who->head)
		return 1;
	rt_judge_object(&who->identity, &verdict, &show, OP_BIT(op));
	if (address) {
		show.text = __builtin_preserve_access_index((const void *)&address->name) + UNIX_NAME_OFFSET;
		rt_judge_bound(&who->identity, &verdict, &show, OP_BIT(op));
		show.text = NULL;
	}
	return is_nothing(&verdict, who->head, op) ? 0 : rt_settle(&who->identity, &verdict, &show, op);
}

/* An unnamed peer is the other end of a pair: whoever made the pair had both. */
static __always_inline int decide_unix_peer(struct who *who, enum op op, const struct sock *other)
{
	const struct unix_sock *peer = (const void *)other;
	const struct unix_address *address;

	if (BPF_CORE_READ(peer, path.dentry))
		return refused(decide_bound_peer(who, op, peer));
	address = BPF_CORE_READ(peer, addr);
	return address ? decide_unix_name(who, op, __builtin_preserve_access_index(&address->name), BPF_CORE_READ(address, len)) : 0;
}

/* Stream and seqpacket. */
SEC("lsm/unix_stream_connect")
int BPF_PROG(handle_unix_stream_connect, struct sock *sk, struct sock *other, struct sock *made)
{
	struct who who;

	if (!identify(&who, OP_UNIX_CONNECT))
		return 0;
	if (decide_unix_peer(&who, OP_UNIX_CONNECT, other))
		return -EPERM;
	return 0;
}

/* Datagrams: at connect and at every send. */
SEC("lsm/unix_may_send")
int BPF_PROG(handle_unix_may_send, struct socket *socket, struct socket *other)
{
	struct sock *peer = other->sk;
	struct who who;

	if (!peer || !identify(&who, OP_UNIX_SEND))
		return 0;
	if (decide_unix_peer(&who, OP_UNIX_SEND, peer))
		return -EPERM;
	return 0;
}

/* Abstract names; a path comes to path_mknod with the kind of a socket. */
static __always_inline int decide_unix_bind(const void *name, __u32 length)
{
	struct who who;
	char first = 1;

	if (length <= UNIX_NAME_OFFSET + 1 || !identify(&who, OP_UNIX_BIND))
		return 0;
	if (bpf_probe_read_kernel(&first, sizeof(first), name + UNIX_NAME_OFFSET) || first)
		return 0;
	return decide_unix_name(&who, OP_UNIX_BIND, name, length);
}

#endif
