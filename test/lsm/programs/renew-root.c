// SPDX-License-Identifier: Apache-2.0
/*
 * Leaves the root file system of its container, and runs a program from a new file system that has the
 * device number of the former one: renew-root [ran]
 *
 * Runs from a volume, so that nothing holds the root. Prints `ready`, waits for a line, then prints
 * `number <reused or new>` and `run <error>`.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "setup.h"

#define TRIES 16

static void copy(const char *from, const char *to)
{
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT, 0755);
	struct stat file;

	must(in, from);
	must(out, to);
	must(fstat(in, &file), from);
	must(sendfile(out, in, NULL, file.st_size), to);
	close(in);
	close(out);
}

static int run(const char *program)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		execl(program, program, "ran", NULL);
		_exit(errno);
	}
	must(waitpid(child, &status, 0), "waitpid");
	return WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
	struct stat former, now = {};
	char dir[32], program[48];

	if (argc == 2) return 0;
	must(stat("/", &former), "/");
	puts("ready");
	fflush(stdout);
	getchar();
	must(mount("new", "/tmp", "tmpfs", 0, NULL), "tmpfs");
	copy(argv[0], "/tmp/program");
	must(mkdir("/tmp/former", 0700), "mkdir");
	must(chdir("/tmp"), "chdir");
	must(syscall(SYS_pivot_root, ".", "former"), "pivot_root");
	must(chdir("/"), "chdir");
	must(umount2("/former", MNT_DETACH), "umount");
	for (int i = 0; i < TRIES && now.st_dev != former.st_dev; i++) {
		snprintf(dir, sizeof dir, "/again-%d", i);
		must(mkdir(dir, 0700), dir);
		must(mount("again", dir, "tmpfs", 0, NULL), dir);
		must(stat(dir, &now), dir);
	}
	snprintf(program, sizeof program, "%s/program", dir);
	copy("/program", program);
	printf("number %s\n", now.st_dev == former.st_dev ? "reused" : "new");
	printf("run %s\n", strerrorname_np(run(program)));
	return 0;
}
