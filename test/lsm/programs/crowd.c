// SPDX-License-Identifier: Apache-2.0
/*
 * Takes many of what all pods of a node share: `crowd <kind> <number> <path> [wait]`.
 *   threads   open the path once and then wait
 *   children  processes that wait
 *   sockets   raw sockets
 * Prints `made <n> refused <n> errno <last> failed <opens> first <cookie> last <cookie>` and waits for a line.
 * With `wait`, it prints `ready` and waits for a line first.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define STACK_BYTES (32 << 10)

struct outcome {
	int made, refused, error, failed;
	uint64_t first, last;
};

static const char *path;
static atomic_int opened, failed;

static void *open_and_wait(void *unused)
{
	int fd = open(path, O_RDONLY);

	(void)unused;
	if (fd < 0)
		failed++;
	else
		close(fd);
	opened++;
	pause();
	return NULL;
}

static void refuse(struct outcome *outcome, int error)
{
	outcome->refused++;
	outcome->error = error;
}

static void make_threads(struct outcome *outcome, int count)
{
	pthread_attr_t attributes;
	pthread_t thread;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	pthread_attr_setguardsize(&attributes, 0);
	for (int i = 0; i < count; i++) {
		int error = pthread_create(&thread, &attributes, open_and_wait, NULL);

		if (error)
			refuse(outcome, error);
		else
			outcome->made++;
	}
	while (opened < outcome->made)
		usleep(1000);
	outcome->failed = failed;
}

static void make_children(struct outcome *outcome, int count)
{
	for (int i = 0; i < count; i++) {
		pid_t child = fork();

		if (child == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			pause();
			_exit(0);
		}
		if (child < 0)
			refuse(outcome, errno);
		else
			outcome->made++;
	}
}

static void make_sockets(struct outcome *outcome, int count)
{
	struct rlimit limit = { count + 64, count + 64 };

	if (setrlimit(RLIMIT_NOFILE, &limit)) exit(4);
	for (int i = 0; i < count; i++) {
		int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
		socklen_t length = sizeof(outcome->last);

		if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_COOKIE, &outcome->last, &length)) {
			refuse(outcome, errno);
			continue;
		}
		if (!outcome->made++) outcome->first = outcome->last;
	}
}

int main(int argc, char **argv)
{
	struct outcome outcome = {};
	const char *kind = argc > 2 ? argv[1] : "";
	int count = argc > 2 ? atoi(argv[2]) : 0;

	path = argc > 3 ? argv[3] : "/bin/crowd";
	if (argc > 4) {
		puts("ready");
		fflush(stdout);
		if (getchar() == EOF) return 5;
	}
	if (!strcmp(kind, "threads"))
		make_threads(&outcome, count);
	else if (!strcmp(kind, "children"))
		make_children(&outcome, count);
	else if (!strcmp(kind, "sockets"))
		make_sockets(&outcome, count);
	else
		return 2;
	printf("made %d refused %d errno %d failed %d first %llu last %llu\n", outcome.made,
	       outcome.refused, outcome.error, outcome.failed, (unsigned long long)outcome.first,
	       (unsigned long long)outcome.last);
	fflush(stdout);
	return getchar() == EOF ? 5 : 0;
}
