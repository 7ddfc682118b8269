/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Unix sockets: connecting and sending to a peer, and binding of abstract names.
 *
 * Place in the path: LSM hooks here → decide_path() or decide_name(). A peer is judged by what it is bound to, in the mount
 * namespace where it was bound, so no link, mount or descriptor that led there matters. A path that is bound to comes
 * to path_mknod (file.h). socket_bind itself is in net.h.
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

/* An abstract name: what follows the first zero, which is not part of it. */
static __noinline int decide_unix_name(struct who *who, enum op op, const void *name, __u32 length)
{
	if (length <= UNIX_NAME_OFFSET + 1 || length > UNIX_NAME_OFFSET + UNIX_NAME_BYTES)
		return 0;
	return decide_name(who, op, name + UNIX_NAME_OFFSET + 1, length - UNIX_NAME_OFFSET - 1);
}

/* An unnamed peer is the other end of a pair: whoever made the pair had both. */
static __always_inline int decide_unix_peer(struct who *who, enum op op, const struct sock *other)
{
	const struct unix_sock *peer = (const void *)other;
	const struct unix_address *address;

	if (BPF_CORE_READ(peer, path.dentry))
		return decide_path(who, op, __builtin_preserve_access_index(&peer->path));
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
