/* SPDX-License-Identifier: Apache-2.0 */
/*
 * talk PORT ROUNDS INTERVAL_MS ADDRESS4 ADDRESS6: ordinary traffic of a pod. A round sends one
 * request to a serving pod by each of UDP, TCP and ICMP echo over IPv4 and IPv6, waits for the reply
 * and then prints the counts. ROUNDS 0 = until stdin ends. A request without a reply within ANSWER_MS
 * is lost and not repeated (TCP retransmits by itself).
 */
#define _GNU_SOURCE
#include "labtool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Timeout of a reply: a dropped one never arrives, and a machine may pause for some seconds. */
#define ANSWER_MS 10000
#define KINDS	  6
/* Text of request and reply; the ICMP header precedes it for echo. */
#define TEXT_LENGTH 40

struct channel {
	const char *name;
	int family, type, protocol, fd;
	long sent, received;
};

static union {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
} to4, to6;

static int open_channel(struct channel *channel)
{
	const struct sockaddr *to = channel->family == AF_INET ? &to4.any : &to6.any;
	socklen_t length = channel->family == AF_INET ? sizeof(to4.v4) : sizeof(to6.v6);
	struct timeval patience = { .tv_sec = ANSWER_MS / 1000 };
	int fd = socket(channel->family, channel->type | SOCK_CLOEXEC, channel->protocol);

	if (fd < 0)
		fail(channel->name);
	/* Bounds connect and a send into a full window; reads wait in poll. */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0)
		fail(channel->name);
	/* A raw socket's connect takes the port as a protocol on IPv6: leave it 0 there. */
	if (channel->type == SOCK_RAW && channel->family == AF_INET6) {
		struct sockaddr_in6 bare = to6.v6;

		bare.sin6_port = 0;
		if (connect(fd, (struct sockaddr *)&bare, sizeof(bare)) == 0)
			return fd;
	} else if (connect(fd, to, length) == 0) {
		return fd;
	}
	close(fd);
	return -1;
}

static size_t make_question(const struct channel *channel, uint8_t *question, long round)
{
	size_t head = 0;

	memset(question, 0, 64);
	if (channel->type == SOCK_RAW) {
		/* Both families' echo headers have the same layout: type, code, checksum, id, sequence. */
		struct icmphdr *echo = (struct icmphdr *)question;

		echo->type = channel->family == AF_INET ? ICMP_ECHO : ICMP6_ECHO_REQUEST;
		echo->un.echo.id = htons((uint16_t)getpid());
		echo->un.echo.sequence = htons((uint16_t)round);
		head = sizeof(*echo);
	}
	snprintf((char *)question + head, TEXT_LENGTH, "lab %d %ld", (int)getpid(), round);
	if (channel->type == SOCK_RAW && channel->family == AF_INET) {
		uint32_t sum = 0;

		for (size_t i = 0; i < head + TEXT_LENGTH; i += 2)
			sum += (uint32_t)(question[i] << 8 | question[i + 1]);
		sum = (sum >> 16) + (sum & 0xffff);
		((struct icmphdr *)question)->checksum = htons((uint16_t)~(sum + (sum >> 16)));
	}
	return head + TEXT_LENGTH;
}

/* True if the reply to this request arrived in time; late replies to others are ignored. */
static int await_answer(const struct channel *channel, const uint8_t *question, size_t length)
{
	int64_t until_ns = monotonic_ns() + ANSWER_MS * 1000000LL;
	const uint8_t *text = question + length - TEXT_LENGTH;
	uint8_t answer[2048];

	for (;;) {
		int left_ms = (int)((until_ns - monotonic_ns()) / 1000000);
		struct pollfd wait = { .fd = channel->fd, .events = POLLIN };
		ssize_t got;

		if (left_ms <= 0 || poll(&wait, 1, left_ms) == 0)
			return 0;
		got = recv(channel->fd, answer, sizeof(answer), MSG_DONTWAIT);
		if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
			return 0;
		if (got < 0 || !memmem(answer, (size_t)got, text, TEXT_LENGTH))
			continue;
		/* A raw socket on the target's own address receives the request too; only a reply counts. */
		if (channel->type == SOCK_RAW && channel->family == AF_INET6 &&
		    answer[0] != ICMP6_ECHO_REPLY)
			continue;
		if (channel->type == SOCK_RAW && channel->family == AF_INET &&
		    answer[(answer[0] & 15) * 4] != ICMP_ECHOREPLY)
			continue;
		return 1;
	}
}

static void ask(struct channel *channel, long round)
{
	uint8_t question[64];
	size_t length = make_question(channel, question, round);

	channel->sent++;
	if (channel->fd < 0)
		channel->fd = open_channel(channel);
	if (channel->fd < 0)
		return;
	if (send(channel->fd, question, length, MSG_NOSIGNAL) == (ssize_t)length &&
	    await_answer(channel, question, length)) {
		channel->received++;
		return;
	}
	/* The next request uses a new socket. */
	close(channel->fd);
	channel->fd = -1;
}

static void report(const char *event, const struct channel *channels)
{
	long sent = 0, received = 0;

	for (int i = 0; i < KINDS; i++) {
		sent += channels[i].sent;
		received += channels[i].received;
	}
	printf("{\"event\":\"%s\",\"sent\":%ld,\"received\":%ld,\"byKind\":{", event, sent,
	       received);
	for (int i = 0; i < KINDS; i++)
		printf("%s\"%s\":[%ld,%ld]", i ? "," : "", channels[i].name, channels[i].sent,
		       channels[i].received);
	printf("}}\n");
}

int cmd_talk(int argc, char **argv)
{
	struct channel channels[KINDS] = {
		{ "udp4", AF_INET, SOCK_DGRAM, 0, -1, 0, 0 },
		{ "udp6", AF_INET6, SOCK_DGRAM, 0, -1, 0, 0 },
		{ "tcp4", AF_INET, SOCK_STREAM, 0, -1, 0, 0 },
		{ "tcp6", AF_INET6, SOCK_STREAM, 0, -1, 0, 0 },
		{ "icmp4", AF_INET, SOCK_RAW, IPPROTO_ICMP, -1, 0, 0 },
		{ "icmp6", AF_INET6, SOCK_RAW, IPPROTO_ICMPV6, -1, 0, 0 },
	};
	long port, rounds, interval_ms;

	if (argc != 6)
		usage("talk PORT ROUNDS INTERVAL_MS ADDRESS4 ADDRESS6");
	port = number_or_exit(argv[1], "PORT", 1, 65535);
	rounds = number_or_exit(argv[2], "ROUNDS", 0, 1000000000);
	interval_ms = number_or_exit(argv[3], "INTERVAL_MS", 0, 3600000);
	to4.v4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	to6.v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6,
					.sin6_port = htons((uint16_t)port) };
	if (inet_pton(AF_INET, argv[4], &to4.v4.sin_addr) != 1 ||
	    inet_pton(AF_INET6, argv[5], &to6.v6.sin6_addr) != 1)
		usage("talk PORT ROUNDS INTERVAL_MS ADDRESS4 ADDRESS6");
	for (long round = 0; rounds == 0 || round < rounds; round++) {
		int64_t next_ns = monotonic_ns() + interval_ms * 1000000LL;
		struct pollfd wait = { .fd = STDIN_FILENO, .events = POLLIN };
		int left_ms;

		for (int i = 0; i < KINDS; i++)
			ask(&channels[i], round);
		report("progress", channels);
		left_ms = (int)((next_ns - monotonic_ns()) / 1000000);
		if (poll(&wait, 1, left_ms > 0 ? left_ms : 0) > 0)
			break;
	}
	report("done", channels);
	return 0;
}
