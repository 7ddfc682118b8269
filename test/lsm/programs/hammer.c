// SPDX-License-Identifier: Apache-2.0
/* `hammer <processes> <path> [<microseconds between two> [fork | near]]` opens a file for
 * reading repeatedly, in this number of processes, until a line arrives on standard input. With
 * `fork`, each open is in a new process; with `near`, the file is opened by its name in its
 * directory, so that the kernel has little to look up. Prints `hammering` when each process has
 * tried, and at its end `tried <n> refused <n> landed <n>`. Exit code 3 if open ends with
 * another errno, or if fork fails. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_PROCESSES 256

struct shared {
	atomic_ulong tried[MAX_PROCESSES], refused, landed;
	atomic_int stop;
};

enum end { REFUSED, LANDED, FAILED };

static enum end attempt(const char *path)
{
	int fd = open(path, O_RDONLY);

	if (fd < 0) return errno == EPERM || errno == EACCES ? REFUSED : FAILED;
	close(fd);
	return LANDED;
}

static enum end attempt_of_child(const char *path)
{
	int status;
	pid_t child = fork();

	if (child == 0) _exit(attempt(path));
	if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status)) return FAILED;
	return WEXITSTATUS(status);
}

static int hammer(struct shared *shared, int own, const char *path, unsigned int pause, int forks)
{
	while (!shared->stop) {
		enum end end = forks ? attempt_of_child(path) : attempt(path);

		if (end == FAILED) return 3;
		atomic_fetch_add(end == REFUSED ? &shared->refused : &shared->landed, 1);
		atomic_fetch_add(&shared->tried[own], 1);
		if (pause) usleep(pause);
	}
	return 0;
}

int main(int argc, char **argv)
{
	int count = argc > 2 ? atoi(argv[1]) : 0, failed = 0, status;
	unsigned long tried = 0;
	struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	const char *path = argv[2], *mode = argc > 4 ? argv[4] : "";

	if (count < 1 || count > MAX_PROCESSES || shared == MAP_FAILED) return 2;
	if (!strcmp(mode, "near")) {
		path = basename(strdup(argv[2]));
		if (chdir(dirname(strdup(argv[2])))) return 2;
	}
	for (int i = 0; i < count; i++) {
		pid_t child = fork();

		if (child < 0) return 2;
		if (child == 0)
			_exit(hammer(shared, i, path, argc > 3 ? atoi(argv[3]) : 0,
				     !strcmp(mode, "fork")));
	}
	for (int i = 0; i < count; i++)
		while (!shared->tried[i])
			usleep(1000);
	puts("hammering");
	fflush(stdout);
	if (getchar() == EOF) failed = 4;
	shared->stop = 1;
	while (wait(&status) > 0)
		if (!WIFEXITED(status) || WEXITSTATUS(status)) failed = 3;
	for (int i = 0; i < count; i++)
		tried += shared->tried[i];
	printf("tried %lu refused %lu landed %lu\n", tried, shared->refused, shared->landed);
	return failed;
}
