/* SPDX-License-Identifier: Apache-2.0 */
/*
 * labtool [--netns PATH] [--cgroup DIR] [--die-with-parent] COMMAND ...
 *
 * Joins the cgroup, then the network namespace, and then starts the command. So everything that it
 * opens belongs to the pod (sockets carry the pod's cgroup). Unlike `ip netns exec` it creates no
 * mount namespace, so bpffs and cgroup2 stay visible. Statically linked: it also runs in an image
 * without libraries.
 */
#define _GNU_SOURCE
#include "labtool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

void fail(const char *what)
{
	fprintf(stderr, "labtool: %s: %s\n", what, strerror(errno));
	exit(1);
}

void usage(const char *line)
{
	fprintf(stderr, "usage: labtool [--netns PATH] [--cgroup DIR] [--die-with-parent] %s\n",
		line);
	exit(EXIT_USAGE);
}

long number_or_exit(const char *text, const char *what, long min, long max)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(text, &end, 10);
	if (errno || *text == '\0' || *end != '\0' || value < min || value > max) {
		fprintf(stderr, "labtool: %s must be a number from %ld to %ld, not \"%s\"\n", what,
			min, max, text);
		exit(EXIT_USAGE);
	}
	return value;
}

int64_t now_micros(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t monotonic_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

void sleep_until_ns(int64_t at_ns)
{
	struct timespec ts = { .tv_sec = at_ns / 1000000000, .tv_nsec = at_ns % 1000000000 };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		;
}

int open_packet_socket(const char *ifname, int receive)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = receive ? htons(ETH_P_ALL) : 0,
		.sll_ifindex = (int)if_nametoindex(ifname),
	};
	int fd;

	if (address.sll_ifindex == 0)
		fail(ifname);
	/* Protocol 0 until bound: a socket made with ETH_P_ALL would first see the traffic of every interface. */
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (fd < 0)
		fail("packet socket");
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		fail("bind packet socket");
	return fd;
}

static void join_cgroup(const char *dir)
{
	char path[4096];
	int fd;

	if (snprintf(path, sizeof(path), "%s/cgroup.procs", dir) >= (int)sizeof(path))
		usage("COMMAND");
	fd = open(path, O_WRONLY | O_CLOEXEC);
	/* "0" means the writing process. */
	if (fd < 0 || write(fd, "0\n", 2) != 2)
		fail(path);
	close(fd);
}

static void join_netns(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		fail(path);
	close(fd);
}

static void die_with_parent(void)
{
	pid_t parent = getppid();

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		fail("PR_SET_PDEATHSIG");
	/* The parent may have ended before the signal was armed. */
	if (getppid() != parent)
		exit(1);
}

int main(int argc, char **argv)
{
	const char *commands = "run -- PROGRAM ... | send | count | serve | talk";
	const char *netns = NULL, *cgroup = NULL;
	int at = 1;

	for (; at < argc && argv[at][0] == '-'; at++) {
		if (!strcmp(argv[at], "--die-with-parent"))
			die_with_parent();
		else if (!strcmp(argv[at], "--netns") && at + 1 < argc)
			netns = argv[++at];
		else if (!strcmp(argv[at], "--cgroup") && at + 1 < argc)
			cgroup = argv[++at];
		else
			usage(commands);
	}
	if (at >= argc)
		usage(commands);
	if (cgroup)
		join_cgroup(cgroup);
	if (netns)
		join_netns(netns);
	/* One unbuffered line per report, because the reader waits for it. */
	setvbuf(stdout, NULL, _IOLBF, 0);
	argc -= at;
	argv += at;
	if (!strcmp(argv[0], "run") && argc >= 3 && !strcmp(argv[1], "--")) {
		execvp(argv[2], argv + 2);
		fail(argv[2]);
	}
	if (!strcmp(argv[0], "send"))
		return cmd_send(argc, argv);
	if (!strcmp(argv[0], "count"))
		return cmd_count(argc, argv);
	if (!strcmp(argv[0], "serve"))
		return cmd_serve(argc, argv);
	if (!strcmp(argv[0], "talk"))
		return cmd_talk(argc, argv);
	usage(commands);
}
