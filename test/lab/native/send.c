/* SPDX-License-Identifier: Apache-2.0 */
/*
 * send IFNAME RATE COUNT: sends prepared frames from stdin (16-bit big-endian length, then the
 * bytes) in turn: COUNT in total or until SIGTERM, RATE per second (0 = unlimited). "sent" counts the
 * frames that the kernel accepted, which on a veth reached the other end. SIGTERM ends it early with
 * the exact count.
 */
#define _GNU_SOURCE
#include "labtool.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Limit of frames in memory; a demo uses four, a fuzz corpus some hundreds. */
#define MAX_FRAMES 4096
/* Minimum interval of progress lines; retries of a full queue before a frame counts as refused. */
#define REPORT_EVERY_NS 200000000LL
#define MAX_RETRIES	1000

static volatile sig_atomic_t stopping;

static void on_term(int signal)
{
	(void)signal;
	stopping = 1;
}

struct frame {
	uint16_t length;
	uint8_t bytes[MAX_FRAME];
};

static int read_frames(struct frame *frames)
{
	uint8_t head[2];
	int held = 0;

	while (fread(head, 1, 2, stdin) == 2) {
		uint16_t length = (uint16_t)(head[0] << 8 | head[1]);

		if (held == MAX_FRAMES || length == 0 || length > MAX_FRAME) {
			fprintf(stderr,
				"labtool: frame %d: too many frames or a length outside 1-%d\n",
				held, MAX_FRAME);
			exit(EXIT_USAGE);
		}
		if (fread(frames[held].bytes, 1, length, stdin) != length) {
			fprintf(stderr, "labtool: frame %d is cut short\n", held);
			exit(EXIT_USAGE);
		}
		frames[held++].length = length;
	}
	return held;
}

static int send_frame(int fd, const struct frame *frame)
{
	for (int attempt = 0; attempt < MAX_RETRIES; attempt++) {
		if (send(fd, frame->bytes, frame->length, 0) == frame->length)
			return 1;
		if (errno != ENOBUFS && errno != EAGAIN && errno != EINTR)
			fail("send");
		usleep(100);
	}
	return 0;
}

int cmd_send(int argc, char **argv)
{
	struct frame *frames = calloc(MAX_FRAMES, sizeof(*frames));
	struct sigaction action = { .sa_handler = on_term };
	long rate, count, sent = 0, refused = 0;
	int64_t begun_ns, reported_ns;
	int fd, held;

	if (argc != 4)
		usage("send IFNAME RATE COUNT <frames");
	rate = number_or_exit(argv[2], "RATE", 0, 10000000);
	count = number_or_exit(argv[3], "COUNT", 1, 1000000000);
	if (!frames)
		fail("frames");
	held = read_frames(frames);
	if (held == 0)
		usage("send IFNAME RATE COUNT <frames");
	fd = open_packet_socket(argv[1], 0);
	sigaction(SIGTERM, &action, NULL);
	begun_ns = reported_ns = monotonic_ns();
	printf("{\"event\":\"first\",\"atMicros\":%lld}\n", (long long)now_micros());
	for (long turn = 0; turn < count && !stopping; turn++) {
		int64_t now_ns;

		if (rate > 0)
			sleep_until_ns(begun_ns + turn * 1000000000LL / rate);
		if (send_frame(fd, &frames[turn % held]))
			sent++;
		else
			refused++;
		now_ns = monotonic_ns();
		if (now_ns - reported_ns >= REPORT_EVERY_NS) {
			reported_ns = now_ns;
			printf("{\"event\":\"progress\",\"sent\":%ld}\n", sent);
		}
	}
	printf("{\"event\":\"done\",\"sent\":%ld,\"refused\":%ld,\"atMicros\":%lld}\n", sent,
	       refused, (long long)now_micros());
	return 0;
}
