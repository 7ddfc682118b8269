/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serve PORT: the process of a lab pod. Echoes requests on UDP and TCP, IPv4 and IPv6, and prints
 * "ready" once it listens. Ends on SIGTERM.
 */
#define _GNU_SOURCE
#include "labtool.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Limit of concurrent connections; a further one waits in the backlog until one ends. */
#define MAX_CONNECTIONS	 64
#define FIRST_CONNECTION 2

static int open_socket(int type, uint16_t port)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int fd = socket(AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1, off = 0;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		fail("serve");
	if (type == SOCK_STREAM && listen(fd, 16) < 0)
		fail("listen");
	return fd;
}

static void answer_datagrams(int fd)
{
	char text[2048];
	struct sockaddr_in6 from;

	for (;;) {
		socklen_t from_length = sizeof(from);
		ssize_t length =
			recvfrom(fd, text, sizeof(text), 0, (struct sockaddr *)&from, &from_length);

		if (length < 0 && errno == EINTR)
			continue;
		if (length < 0)
			return;
		/* A datagram that cannot be answered is lost, as on any network; the requesting side counts it. */
		sendto(fd, text, (size_t)length, 0, (struct sockaddr *)&from, from_length);
	}
}

/* Returns 0 when the connection has ended. */
static int answer_stream(int fd)
{
	char text[2048];
	ssize_t length = recv(fd, text, sizeof(text), 0);

	if (length < 0 && (errno == EAGAIN || errno == EINTR))
		return 1;
	return length > 0 && send(fd, text, (size_t)length, MSG_NOSIGNAL) == length;
}

int cmd_serve(int argc, char **argv)
{
	struct pollfd waits[FIRST_CONNECTION + MAX_CONNECTIONS];
	nfds_t held = FIRST_CONNECTION;
	uint16_t port;

	if (argc != 2)
		usage("serve PORT");
	port = (uint16_t)number_or_exit(argv[1], "PORT", 1, 65535);
	waits[0] = (struct pollfd){ .fd = open_socket(SOCK_DGRAM, port), .events = POLLIN };
	waits[1] = (struct pollfd){ .fd = open_socket(SOCK_STREAM, port), .events = POLLIN };
	printf("{\"event\":\"ready\"}\n");
	for (;;) {
		waits[1].events = held < FIRST_CONNECTION + MAX_CONNECTIONS ? POLLIN : 0;
		if (poll(waits, held, -1) < 0) {
			if (errno == EINTR)
				continue;
			fail("poll");
		}
		if (waits[0].revents)
			answer_datagrams(waits[0].fd);
		for (nfds_t i = FIRST_CONNECTION; i < held; i++) {
			if (waits[i].revents && !answer_stream(waits[i].fd)) {
				close(waits[i].fd);
				waits[i--] = waits[--held];
			}
		}
		if (waits[1].revents & POLLIN) {
			int fd = accept4(waits[1].fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

			if (fd >= 0)
				waits[held++] = (struct pollfd){ .fd = fd, .events = POLLIN };
		}
	}
}
