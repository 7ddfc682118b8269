/* SPDX-License-Identifier: Apache-2.0 */
/*
 * count IFNAME MARKER...: a witness on the receiving side. Counts the frames that arrive on IFNAME
 * and contain a marker (hex), one count per marker, until stdin ends. Then it drains the socket and
 * prints "done". "ready" is printed after the socket is bound, so later frames can be missed only if
 * the kernel reports an overrun.
 */
#define _GNU_SOURCE
#include "labtool.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_MARKERS 16
#define MAX_MARKER  32
/* Holds about 20,000 small frames while this process is not scheduled. */
#define RECEIVE_BUFFER	(16 * 1024 * 1024)
#define REPORT_EVERY_MS 100
/* The last frames may be queued in the kernel after their sender has ended. */
#define QUIET_MS 200

struct marker {
	size_t length;
	uint8_t bytes[MAX_MARKER];
	long count;
};

static void read_marker(const char *hex, struct marker *marker)
{
	size_t digits = strlen(hex);

	if (digits < 2 || digits % 2 || digits / 2 > MAX_MARKER)
		usage("count IFNAME MARKERHEX...");
	for (size_t i = 0; i < digits / 2; i++) {
		unsigned int byte;

		if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
			usage("count IFNAME MARKERHEX...");
		marker->bytes[i] = (uint8_t)byte;
	}
	marker->length = digits / 2;
}

/* Reads all queued frames; returns how many frames matched. */
static long drain(int fd, struct marker *markers, int held)
{
	uint8_t frame[MAX_FRAME];
	struct sockaddr_ll from;
	long matched = 0;

	for (;;) {
		socklen_t from_length = sizeof(from);
		ssize_t length = recvfrom(fd, frame, sizeof(frame), MSG_DONTWAIT,
					  (struct sockaddr *)&from, &from_length);

		if (length < 0 && (errno == EAGAIN || errno == EINTR))
			return matched;
		if (length < 0 && errno == ENETDOWN)
			return matched;
		if (length < 0)
			fail("receive");
		/* A packet socket also receives sent frames, which did not land. */
		if (from.sll_pkttype == PACKET_OUTGOING)
			continue;
		for (int i = 0; i < held; i++) {
			if (memmem(frame, (size_t)length, markers[i].bytes, markers[i].length)) {
				markers[i].count++;
				matched++;
			}
		}
	}
}

/* Reads frames until no match arrived for QUIET_MS. */
static void drain_until_quiet(int fd, struct marker *markers, int held)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	int64_t until_ns = monotonic_ns() + QUIET_MS * 1000000LL;

	for (;;) {
		int64_t left_ns = until_ns - monotonic_ns();

		if (drain(fd, markers, held) > 0)
			until_ns = monotonic_ns() + QUIET_MS * 1000000LL;
		else if (left_ns <= 0)
			return;
		if (poll(&wait, 1, left_ns > 0 ? (int)(left_ns / 1000000) + 1 : 0) < 0 &&
		    errno != EINTR)
			fail("poll");
	}
}

static void report(const char *event, int fd, const struct marker *markers, int held)
{
	static long overrun;
	struct tpacket_stats stats = { 0 };
	socklen_t length = sizeof(stats);

	/* Reading resets the kernel's value. */
	if (getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &length) == 0)
		overrun += stats.tp_drops;
	printf("{\"event\":\"%s\",\"counts\":[", event);
	for (int i = 0; i < held; i++)
		printf("%s%ld", i ? "," : "", markers[i].count);
	printf("],\"overrun\":%ld}\n", overrun);
}

int cmd_count(int argc, char **argv)
{
	struct marker markers[MAX_MARKERS] = { 0 };
	int held = argc - 2, buffer = RECEIVE_BUFFER, stopping = 0, fd;

	if (held < 1 || held > MAX_MARKERS)
		usage("count IFNAME MARKERHEX...");
	for (int i = 0; i < held; i++)
		read_marker(argv[i + 2], &markers[i]);
	fd = open_packet_socket(argv[1], 1);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer)) < 0)
		fail("receive buffer");
	report("ready", fd, markers, held);
	while (!stopping) {
		struct pollfd waits[2] = { { .fd = fd, .events = POLLIN },
					   { .fd = STDIN_FILENO, .events = POLLIN } };
		int64_t until_ns = monotonic_ns() + REPORT_EVERY_MS * 1000000LL;

		if (poll(waits, 2, -1) < 0 && errno != EINTR)
			fail("poll");
		if (waits[1].revents) {
			char ignored[64];

			if (read(STDIN_FILENO, ignored, sizeof(ignored)) <= 0)
				stopping = 1;
		}
		if (drain(fd, markers, held) > 0 && !stopping) {
			sleep_until_ns(until_ns);
			drain(fd, markers, held);
			report("progress", fd, markers, held);
		}
	}
	drain_until_quiet(fd, markers, held);
	report("done", fd, markers, held);
	return 0;
}
