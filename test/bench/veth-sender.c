// SPDX-License-Identifier: Apache-2.0
/*
 * veth-sender ROUNDS SLICE FRAME-HEX IFNAME…: sends one frame SLICE times to each interface in turn, ROUNDS
 * times. Prints one line per round: nanoseconds per packet of each interface, in the order of the arguments.
 *
 * A veth calls the hook of its peer within the sender's system call, so the time per packet is the CPU time
 * of sending, hook and reception. Slices are short and adjacent, so that drift affects all interfaces alike;
 * each round starts with another interface. Uses the real-time class if permitted, so that other processes do
 * not lengthen a slice.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <net/if.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_INTERFACES 16
#define MAX_FRAME      1514
/* Pause between rounds, so that a real-time sender leaves CPU to others. */
#define PAUSE_US 2000

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static int open_interface(const char *name)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
				  .sll_ifindex = (int)if_nametoindex(name) };
	int fd = socket(AF_PACKET, SOCK_RAW, 0);

	if (fd < 0 || to.sll_ifindex == 0 || bind(fd, (struct sockaddr *)&to, sizeof(to)))
		fail(name);
	return fd;
}

int main(int argc, char **argv)
{
	struct sched_param priority = { .sched_priority = 1 };
	int interfaces = argc - 4, fds[MAX_INTERFACES];
	double ns[MAX_INTERFACES];
	uint8_t frame[MAX_FRAME];
	long rounds, slice;
	size_t length = 0;

	if (interfaces < 1 || interfaces > MAX_INTERFACES)
		return 2;
	rounds = atol(argv[1]);
	slice = atol(argv[2]);
	for (const char *hex = argv[3]; hex[0] && hex[1] && length < MAX_FRAME; hex += 2) {
		unsigned int byte;

		if (sscanf(hex, "%2x", &byte) != 1)
			return 2;
		frame[length++] = (uint8_t)byte;
	}
	for (int i = 0; i < interfaces; i++)
		fds[i] = open_interface(argv[4 + i]);
	if (sched_setscheduler(0, SCHED_FIFO, &priority))
		fprintf(stderr, "veth-sender: not in the real-time class\n");
	for (long round = 0; round < rounds; round++) {
		for (int turn = 0; turn < interfaces; turn++) {
			int i = (int)((turn + round) % interfaces);
			int64_t begun = now_ns();

			for (long n = 0; n < slice; n++)
				if (send(fds[i], frame, length, 0) != (ssize_t)length)
					fail("send");
			ns[i] = (double)(now_ns() - begun) / (double)slice;
		}
		for (int i = 0; i < interfaces; i++)
			printf("%.1f%c", ns[i], i == interfaces - 1 ? '\n' : ' ');
		usleep(PAUSE_US);
	}
	return 0;
}
