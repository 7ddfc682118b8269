// Starts a program in a container as a runtime does: contain <cgroup> <root> <program> [argument…]
//
// One process joins the cgroup, creates its mount namespace, mounts /proc in the root, pivots into
// it and executes the program. Until then its executable is a file of the host, as a runtime's is.
// With ENTER in the environment it prints `entered <pid>` and waits for a line before the program.
// Its values: join; clone, a child that starts in the cgroup (CLONE_INTO_CGROUP); thread, where
// another thread of the process executes the program.
// The root is a directory of the host with `proc` in it. A descriptor 9, if open, stays open, like
// one that a runtime leaks.
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "setup.h"

static void join(const char *cgroup)
{
	char path[4096];
	int procs;

	snprintf(path, sizeof path, "%s/cgroup.procs", cgroup);
	procs = open(path, O_WRONLY | O_CLOEXEC);
	must(procs, path);
	must(write(procs, "0", 1), "join cgroup");
}

// The child goes on; its parent waits for it and ends with its code.
static void start_in(const char *cgroup)
{
	struct clone_args arguments = { .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD };
	int status;

	arguments.cgroup = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	pid_t child = syscall(SYS_clone3, &arguments, sizeof arguments);
	must(child, "clone3");
	if (child == 0) return;
	must(waitpid(child, &status, 0), "waitpid");
	exit(WEXITSTATUS(status));
}

static void *execute(void *argv)
{
	char **words = argv;

	execv(words[0], words);
	perror(words[0]);
	exit(121);
}

int main(int argc, char **argv)
{
	const char *how = getenv("ENTER");
	pthread_t thread;
	char line;

	if (argc < 4) return 2;
	if (how && !strcmp(how, "clone"))
		start_in(argv[1]);
	else
		join(argv[1]);
	must(unshare(CLONE_NEWNS), "unshare");
	must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "private");
	must(mount(argv[2], argv[2], NULL, MS_BIND | MS_REC, NULL), "bind root");
	must(chdir(argv[2]), "chdir");
	must(mount("proc", "proc", "proc", 0, NULL), "proc");
	must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
	must(umount2(".", MNT_DETACH), "umount");
	must(chdir(getenv("WORKDIR") ? getenv("WORKDIR") : "/"), "chdir");
	if (how) {
		printf("entered %d\n", getpid());
		fflush(stdout);
		must(read(0, &line, 1), "read");
	}
	if (!how || strcmp(how, "thread")) execute(argv + 3);
	must(-pthread_create(&thread, NULL, execute, argv + 3), "thread");
	pthread_join(thread, NULL);
	return 121;
}
