// SPDX-License-Identifier: Apache-2.0
/*
 * Measures an operation: `cost <operation> <count> [file]`. Prints `ready` when it is warm. For each line of
 * input it repeats the operation `count` times and prints `<nanoseconds> <count>`, of CPU time. Ends with its
 * input. Without arguments it ends at once, as the program that `exec` runs.
 *
 * open     opens and closes the file, or DEFAULT_FILE, for reading
 * exec     vfork, runs this program without arguments, waits for its end
 * connect  connects a UDP socket to another peer
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_FILE "/data/app/config/settings"
#define OWN_PATH     "/bin/cost"

static int udp;
static const char *file = DEFAULT_FILE;

static int open_once(void)
{
	int fd = open(file, O_RDONLY);

	return fd < 0 || close(fd);
}

static int exec_once(void)
{
	char *argv[] = { OWN_PATH, NULL }, *env[] = { NULL };
	pid_t child = vfork();
	int status;

	if (child == 0) {
		execve(OWN_PATH, argv, env);
		_exit(1);
	}
	return child < 0 || waitpid(child, &status, 0) < 0 || status;
}

static int connect_once(void)
{
	struct sockaddr_in peer = { .sin_family = AF_INET,
				    .sin_port = htons(9),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	return connect(udp, (void *)&peer, sizeof(peer));
}

/*
 * CPU time of this process and of the children that it waited for. Wall time has that of the test
 * runner too: both share the CPU, and its garbage collector still runs after it has written a policy.
 */
static long long now(void)
{
	struct timespec own;
	struct rusage children;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own);
	getrusage(RUSAGE_CHILDREN, &children);
	return own.tv_sec * 1000000000LL + own.tv_nsec +
	       (children.ru_utime.tv_sec + children.ru_stime.tv_sec) * 1000000000LL +
	       (children.ru_utime.tv_usec + children.ru_stime.tv_usec) * 1000LL;
}

static bool next_line(void)
{
	int c;

	do
		c = getchar();
	while (c != '\n' && c != EOF);
	return c == '\n';
}

int main(int argc, char **argv)
{
	int (*once)(void) = NULL;
	long count;

	if (argc == 1) return 0;
	if (argc != 3 && argc != 4) return 2;
	if (argc == 4) file = argv[3];
	if (!strcmp(argv[1], "open"))
		once = open_once;
	else if (!strcmp(argv[1], "exec"))
		once = exec_once;
	else if (!strcmp(argv[1], "connect"))
		once = connect_once;
	count = atol(argv[2]);
	udp = socket(AF_INET, SOCK_DGRAM, 0);
	if (!once || udp < 0) return 2;
	for (int i = 0; i < 10; i++)
		if (once()) return perror(argv[1]), 3;
	puts("ready");
	fflush(stdout);
	while (next_line()) {
		long long began = now();

		for (long i = 0; i < count; i++)
			if (once()) return perror(argv[1]), 3;
		printf("%lld %ld\n", now() - began, count);
		fflush(stdout);
	}
	return 0;
}
