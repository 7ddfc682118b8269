// Starts a program in a container as a runtime does: contain <cgroup> <root> <program> [argument…]
//
// One process joins the cgroup, creates its mount namespace, mounts /proc in the root, pivots into
// it and executes the program. Until then its executable is a file of the host, as a runtime's is.
// The root is a directory of the host with `proc` in it. A descriptor 9, if open, stays open, like
// one that a runtime leaks.
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

static void must(long result, const char *what)
{
	if (result >= 0) return;
	perror(what);
	exit(120);
}

int main(int argc, char **argv)
{
	char path[4096];
	int procs;

	if (argc < 4) return 2;
	snprintf(path, sizeof path, "%s/cgroup.procs", argv[1]);
	procs = open(path, O_WRONLY | O_CLOEXEC);
	must(procs, path);
	must(write(procs, "0", 1), "join cgroup");
	must(unshare(CLONE_NEWNS), "unshare");
	must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "private");
	must(mount(argv[2], argv[2], NULL, MS_BIND | MS_REC, NULL), "bind root");
	must(chdir(argv[2]), "chdir");
	must(mount("proc", "proc", "proc", 0, NULL), "proc");
	must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
	must(umount2(".", MNT_DETACH), "umount");
	must(chdir(getenv("WORKDIR") ? getenv("WORKDIR") : "/"), "chdir");
	execv(argv[3], argv + 3);
	perror(argv[3]);
	return 121;
}
