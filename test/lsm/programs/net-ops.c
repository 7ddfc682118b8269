// SPDX-License-Identifier: Apache-2.0
/*
 * Socket operations for tests, each causing exactly one event: `net-ops <operation>…` prints a line
 * `<operation> <errno name or ok>` for each. Words of an operation are separated by commas, so that
 * they can contain IPv6 addresses.
 *
 * socket,<family>,<type>,<protocol>
 * connect,<proto>,<address>,<port>		proto: tcp, mptcp, udp, l2tp, raw, smc (a stream socket of protocol 256), af-smc
 * send,<proto>,<address>,<port>		sendto on an unconnected socket
 * sendmmsg,udp,<address>,<port>		two messages; the second has the named address, the first loopback's port 9
 * sendunspec,<proto>,<address>,<port>		sendto with family 0
 * sendunspec6,<proto>,<address>,<port>		the same of an IPv4 address by an IPv6 socket
 * fastopen,tcp,<address>,<port>		MSG_FASTOPEN
 * reconnect,udp,<address>,<port>		connect to loopback, dissolve by AF_UNSPEC, then send to the address
 * bindas,<proto>,<address>,<port>,<family>	with this family in the address; bindas6: an IPv4 address, by an IPv6 socket
 * bind,<proto>,<address>,<port>  listen,tcp,<address>,<port>
 * listenunbound,tcp,<address>,<port>  listenonly,tcp,<address>,<port>: of IPv6 alone	without a bind, at that port of its own range (IP_LOCAL_PORT_RANGE, since 6.3)
 * connectx,<type>,<address>,<port>  bindx,<type>,<address>,<port>  implicit,5,<address>,<port>	SCTP: by a list, and by a first send
 * dstaddr,<type>,<address>,<port>	SCTP: a first send to 127.8.0.1, with the address in an SCTP_DSTADDRV4 control message
 * uconnect,<type>,<name>  usend,dgram,<name>  ubind,<type>,<name>	name: a path, or @ and an abstract one
 * uring-socket,<family>,<type>,<protocol>  uring-connect,tcp,<address>,<port>  uring-send,udp,<address>,<port>
 *	through io_uring; with `uring-async-` by its worker threads
 * serve,<type>,<name>	binds and listens on a unix name, stays until killed (prints its line when it listens)
 * line	waits for a line of input
 * cookie,<family>,<type>,<protocol>	creates a socket and prints its SO_COOKIE in place of `ok`
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_WORDS 5
#ifndef AF_SMC
#define AF_SMC 43
#endif
#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif
#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51
#endif

static char *words[MAX_WORDS];

static struct sockaddr_storage address;
static socklen_t address_length;

static int is(const char *word, const char *text) { return strcmp(word, text) == 0; }

static void name_internet(const char *text, const char *port)
{
	struct sockaddr_in *v4 = (void *)&address;
	struct sockaddr_in6 *v6 = (void *)&address;

	memset(&address, 0, sizeof(address));
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(atoi(port));
		address_length = sizeof(*v4);
		return;
	}
	if (inet_pton(AF_INET6, text, &v6->sin6_addr) != 1) exit(2);
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(atoi(port));
	address_length = sizeof(*v6);
}

static void name_unix(const char *name)
{
	struct sockaddr_un *to = (void *)&address;

	memset(&address, 0, sizeof(address));
	to->sun_family = AF_UNIX;
	strncpy(to->sun_path, name, sizeof(to->sun_path) - 1);
	address_length = offsetof(struct sockaddr_un, sun_path) + strlen(name) + 1;
	if (name[0] == '@') {
		to->sun_path[0] = 0;
		address_length--;
	}
}

static int unix_type(const char *word)
{
	return is(word, "stream")      ? SOCK_STREAM
	       : is(word, "seqpacket") ? SOCK_SEQPACKET
				       : SOCK_DGRAM;
}

/* A socket of the family of `address`. */
static int internet_socket(const char *proto)
{
	if (is(proto, "raw"))
		return socket(address.ss_family, SOCK_RAW,
			      address.ss_family == AF_INET ? 253 : 254);
	if (is(proto, "smc"))
		return socket(address.ss_family, SOCK_STREAM,
			      256); /* IPPROTO_SMC, missing in libc's headers */
	if (is(proto, "mptcp")) return socket(address.ss_family, SOCK_STREAM, IPPROTO_MPTCP);
	if (is(proto, "af-smc")) return socket(AF_SMC, SOCK_STREAM, address.ss_family == AF_INET6);
	return socket(address.ss_family, is(proto, "tcp") ? SOCK_STREAM : SOCK_DGRAM,
		      is(proto, "l2tp") ? IPPROTO_L2TP : 0);
}

/* ---- io_uring, one entry ---- */

static int submit(struct io_uring_sqe *entry, int async)
{
	struct io_uring_params params = {};
	int ring = syscall(SYS_io_uring_setup, 1, &params), result;
	char *sq, *cq;
	struct io_uring_sqe *sqes;

	if (ring < 0) return -errno;
	sq = mmap(0, params.sq_off.array + params.sq_entries * 4, PROT_READ | PROT_WRITE,
		  MAP_SHARED, ring, IORING_OFF_SQ_RING);
	cq = mmap(0, params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe),
		  PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_CQ_RING);
	sqes = mmap(0, params.sq_entries * sizeof(*sqes), PROT_READ | PROT_WRITE, MAP_SHARED, ring,
		    IORING_OFF_SQES);
	if (async) entry->flags |= IOSQE_ASYNC;
	sqes[0] = *entry;
	*(unsigned *)(sq + params.sq_off.array) = 0;
	__atomic_store_n((unsigned *)(sq + params.sq_off.tail), 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
		return -errno;
	result = ((struct io_uring_cqe *)(cq + params.cq_off.cqes))->res;
	close(ring);
	return result;
}

static int uring(const char *what, int async)
{
	static char byte = 'x';
	struct io_uring_sqe entry = {};

	if (is(what, "socket")) {
		entry.opcode = IORING_OP_SOCKET;
		entry.fd = atoi(words[1]);
		entry.off = atoi(words[2]);
		entry.len = atoi(words[3]);
		return submit(&entry, async);
	}
	name_internet(words[2], words[3]);
	entry.fd = internet_socket(words[1]);
	if (is(what, "connect")) {
		entry.opcode = IORING_OP_CONNECT;
		entry.addr = (unsigned long)&address;
		entry.off = address_length;
		return submit(&entry, async);
	}
	entry.opcode = IORING_OP_SEND;
	entry.addr = (unsigned long)&byte;
	entry.len = 1;
	entry.addr2 = (unsigned long)&address;
	entry.addr_len = address_length;
	return submit(&entry, async);
}

/* ---- operations: below 0 an error in errno ---- */

static int send_two(int fd)
{
	struct sockaddr_in other = { .sin_family = AF_INET,
				     .sin_port = htons(9),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct iovec data = { "x", 1 };
	struct mmsghdr both[2] = {
		{ .msg_hdr = { .msg_name = &other,
			       .msg_namelen = sizeof(other),
			       .msg_iov = &data,
			       .msg_iovlen = 1 } },
		{ .msg_hdr = { .msg_name = &address,
			       .msg_namelen = address_length,
			       .msg_iov = &data,
			       .msg_iovlen = 1 } },
	};
	int sent = sendmmsg(fd, both, 2, 0);

	if (sent == 1) /* the next call reports the error of the second message */
		return sendmmsg(fd, both + 1, 1, 0);
	return sent;
}

#define BATCH 10

/* Several messages to one address: the kernel asks the hook once. */
static int send_batch(int fd)
{
	struct iovec data = { "x", 1 };
	struct mmsghdr all[BATCH];

	for (int i = 0; i < BATCH; i++)
		all[i] = (struct mmsghdr){
			.msg_hdr = { .msg_name = &address,
				     .msg_namelen = address_length,
				     .msg_iov = &data,
				     .msg_iovlen = 1 },
		};
	return sendmmsg(fd, all, BATCH, 0) == BATCH ? 0 : -1;
}

static int reconnect(int fd)
{
	struct sockaddr_in first = { .sin_family = AF_INET,
				     .sin_port = htons(9),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr none = { .sa_family = AF_UNSPEC };

	if (connect(fd, (void *)&first, sizeof(first)) || connect(fd, &none, sizeof(none)))
		return -1;
	return sendto(fd, "x", 1, 0, (void *)&address, address_length);
}

static int internet(const char *what)
{
	int fd;

	name_internet(words[2], words[3]);
	if (is(what, "sendunspec6") || is(what, "bindas6")) address.ss_family = AF_INET6;
	fd = internet_socket(words[1]);
	if (fd < 0) return -1;
	if (is(what, "connect")) return connect(fd, (void *)&address, address_length);
	if (is(what, "send")) return sendto(fd, "x", 1, 0, (void *)&address, address_length);
	if (is(what, "sendunspec") || is(what, "sendunspec6")) {
		address.ss_family = AF_UNSPEC;
		return sendto(fd, "x", 1, 0, (void *)&address, address_length);
	}
	if (is(what, "fastopen"))
		return sendto(fd, "x", 1, MSG_FASTOPEN, (void *)&address, address_length);
	if (is(what, "sendmmsg")) return send_two(fd);
	if (is(what, "batch")) return send_batch(fd);
	if (is(what, "reconnect")) return reconnect(fd);
	if (is(what, "bindas") || is(what, "bindas6")) {
		address.ss_family = atoi(words[4]);
		if (is(what, "bindas6")) address_length = sizeof(struct sockaddr_in6);
		return bind(fd, (void *)&address, address_length);
	}
	if (is(what, "bind")) return bind(fd, (void *)&address, address_length);
	if (is(what, "listenunbound") || is(what, "listenonly")) {
		__u32 port = atoi(words[3]), range = port << 16 | port;
		int only = is(what, "listenonly");

		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
		setsockopt(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &range, sizeof(range));
		return listen(fd, 1);
	}
	if (is(what, "listen"))
		return bind(fd, (void *)&address, address_length) ? -1 : listen(fd, 1);
	exit(2);
}

#define SCTP_BINDX_ADD 100 /* linux/sctp.h, missing in libc's headers */
#define SCTP_CONNECTX  110

#define SCTP_DSTADDRV4 7

/* One association with two addresses of the peer: one in the message's name, one in its control
 * message. */
static int send_with_address(int fd)
{
	struct sockaddr_in named = *(struct sockaddr_in *)&address;
	struct in_addr *more = &((struct sockaddr_in *)&address)->sin_addr;
	union {
		char bytes[CMSG_SPACE(sizeof(*more))];
		struct cmsghdr first;
	} control = {};
	struct iovec data = { "x", 1 };
	struct msghdr message = {
		.msg_name = &named,
		.msg_namelen = sizeof(named),
		.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};

	named.sin_addr.s_addr = htonl(0x7f080001);
	control.first.cmsg_len = CMSG_LEN(sizeof(*more));
	control.first.cmsg_level = IPPROTO_SCTP;
	control.first.cmsg_type = SCTP_DSTADDRV4;
	memcpy(CMSG_DATA(&control.first), more, sizeof(*more));
	return sendmsg(fd, &message, 0);
}

#define SCTP_ABORT   0x4
#define SCTP_SENDALL 0x40
#define SCTP_SNDINFO 2

struct sndinfo {
	unsigned short stream, flags;
	unsigned ppid, context, association;
};

/*
 * Two messages with one name that no rule denies. The first reaches no peer: it ends all
 * associations, and there is none. The second starts one, with the address in its control message.
 */
static int send_hidden(int fd)
{
	struct sockaddr_in named = *(struct sockaddr_in *)&address;
	struct in_addr *more = &((struct sockaddr_in *)&address)->sin_addr;
	union {
		char bytes[CMSG_SPACE(sizeof(struct sndinfo))];
		struct cmsghdr first;
	} all = {}, one = {};
	struct iovec data = { "x", 1 };
	struct mmsghdr both[2] = {
		{ .msg_hdr = { .msg_name = &named,
			       .msg_namelen = sizeof(named),
			       .msg_control = &all,
			       .msg_controllen = sizeof(all) } },
		{ .msg_hdr = { .msg_name = &named,
			       .msg_namelen = sizeof(named),
			       .msg_iov = &data,
			       .msg_iovlen = 1,
			       .msg_control = &one,
			       .msg_controllen = CMSG_SPACE(sizeof(*more)) } },
	};
	int sent;

	named.sin_addr.s_addr = htonl(0x7f080001);
	all.first.cmsg_len = CMSG_LEN(sizeof(struct sndinfo));
	all.first.cmsg_level = IPPROTO_SCTP;
	all.first.cmsg_type = SCTP_SNDINFO;
	((struct sndinfo *)CMSG_DATA(&all.first))->flags = SCTP_SENDALL | SCTP_ABORT;
	one.first.cmsg_len = CMSG_LEN(sizeof(*more));
	one.first.cmsg_level = IPPROTO_SCTP;
	one.first.cmsg_type = SCTP_DSTADDRV4;
	memcpy(CMSG_DATA(&one.first), more, sizeof(*more));
	sent = sendmmsg(fd, both, 2, 0);
	if (sent == 1) errno = ENOMSG; /* the association was not started */
	return sent == 2 ? 0 : -1;
}

static int sctp(const char *what)
{
	int fd;

	name_internet(words[2], words[3]);
	fd = socket(address.ss_family, atoi(words[1]), IPPROTO_SCTP);
	if (fd < 0) return -1;
	if (is(what, "implicit")) return sendto(fd, "x", 1, 0, (void *)&address, address_length);
	if (is(what, "dstaddr")) return send_with_address(fd);
	if (is(what, "hidden")) return send_hidden(fd);
	return setsockopt(fd, IPPROTO_SCTP, is(what, "bindx") ? SCTP_BINDX_ADD : SCTP_CONNECTX,
			  &address, address_length);
}

static int local(const char *what)
{
	int type = unix_type(words[1]), fd = socket(AF_UNIX, type, 0);

	name_unix(words[2]);
	if (is(what, "uconnect")) return connect(fd, (void *)&address, address_length);
	if (is(what, "usend")) return sendto(fd, "x", 1, 0, (void *)&address, address_length);
	if (bind(fd, (void *)&address, address_length)) return -1;
	return is(what, "serve") && type != SOCK_DGRAM ? listen(fd, 8) : 0;
}

static int made_cookie(unsigned long long *cookie)
{
	socklen_t length = sizeof(*cookie);
	int fd = socket(atoi(words[1]), atoi(words[2]), atoi(words[3]));

	return fd < 0 ? -1 : getsockopt(fd, SOL_SOCKET, SO_COOKIE, cookie, &length);
}

static int run(const char *what)
{
	int result;

	if (is(what, "socket")) return socket(atoi(words[1]), atoi(words[2]), atoi(words[3]));
	if (strncmp(what, "uring-", 6) == 0) {
		int async = strncmp(what + 6, "async-", 6) == 0;

		result = uring(what + (async ? 12 : 6), async);
		errno = -result;
		return result;
	}
	if (is(what, "connectx") || is(what, "bindx") || is(what, "implicit") ||
	    is(what, "dstaddr") || is(what, "hidden"))
		return sctp(what);
	return what[0] == 'u' || is(what, "serve") ? local(what) : internet(what);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		char *text = strdup(argv[i]);
		unsigned long long cookie;
		int count = 0, result;

		for (char *word = strtok(text, ","); word && count < MAX_WORDS;
		     word = strtok(NULL, ","))
			words[count++] = word;
		if (is(words[0], "cookie") && made_cookie(&cookie) == 0) {
			printf("%s %llu\n", argv[i], cookie);
			continue;
		}
		if (is(words[0], "line"))
			result = getchar() == EOF ? -1 : 0;
		else
			result = is(words[0], "cookie") ? -1 : run(words[0]);
		printf("%s %s\n", argv[i], result < 0 ? strerrorname_np(errno) : "ok");
		fflush(stdout);
		if (is(words[0], "serve") && result >= 0 && i == argc - 1) pause();
		close_range(STDERR_FILENO + 1, ~0U, 0);
	}
	return 0;
}
