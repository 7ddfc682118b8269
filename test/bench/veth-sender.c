// SPDX-License-Identifier: Apache-2.0
/*
 * veth-sender ROUNDS SLICE FRAME-HEX IFNAME…: sends one frame SLICE times to each interface in turn, ROUNDS times over, and prints for
 * each round one line with the nanoseconds a packet of each interface, in the order of the arguments.
 *
 * A veth hands a packet to the other side's hook within the system call of the sender, so that the time a packet takes is the CPU time that
 * sending, hook and reception cost together. Slices are short and lie side by side, so that a drift of the machine meets all interfaces alike;
 * each round begins with another. Runs in the real-time class where it may: whoever else runs here then costs no slice its time.
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
#define MAX_FRAME 1514
/* Between rounds, so that a real-time sender leaves others their share of the CPU. */
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
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(name) };
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
