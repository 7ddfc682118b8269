// Mounts in every way, and files reached through mounts of the host, each way in a separate process
// and mount namespace. Prints `ready`. For each line on stdin it tries everything, prints `<way>
// <kind> landed | refused | failed <errno>` for each way, then `done`. /volume is a separate mount,
// descriptor 9 a leaked directory of the host.
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRY(call) \
	do { \
		if ((long)(call) < 0) return errno; \
	} while (0)
#define LEAKED 9

static int attach(int tree)
{
	return syscall(SYS_move_mount, tree, "", AT_FDCWD, "/mnt/a", MOVE_MOUNT_F_EMPTY_PATH);
}
static int clone_tree(const char *path)
{
	return syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE);
}
static int opened(int dir, const char *path)
{
	int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);

	TRY(fd);
	return 0;
}
static int create_by_api(const char *type, const char *key, const char *value)
{
	int context = syscall(SYS_fsopen, type, 0), tree;

	TRY(context);
	if (key) TRY(syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, key, value, 0));
	TRY(syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
	tree = syscall(SYS_fsmount, context, 0, 0);
	TRY(tree);
	TRY(attach(tree));
	return 0;
}

static int new_tmpfs(void)
{
	TRY(mount("tmpfs", "/mnt/a", "tmpfs", 0, NULL));
	return 0;
}
static int new_by_api(void) { return create_by_api("tmpfs", NULL, NULL); }
static int new_proc_by_api(void) { return create_by_api("proc", NULL, NULL); }
static int new_overlay(void)
{
	TRY(mount("overlay", "/mnt/a", "overlay", 0, "lowerdir=/volume:/mnt"));
	return 0;
}
static int new_overlay_by_api(void) { return create_by_api("overlay", "lowerdir", "/volume:/mnt"); }
static int bind(void)
{
	TRY(mount("/volume", "/mnt/a", NULL, MS_BIND, NULL));
	return 0;
}
static int bind_all(void)
{
	TRY(mount("/", "/mnt/a", NULL, MS_BIND | MS_REC, NULL));
	return 0;
}
static int bind_by_api(void)
{
	int tree = clone_tree("/volume");

	TRY(tree);
	TRY(attach(tree));
	return 0;
}
static int use_detached(void)
{
	int tree = clone_tree("/volume");

	TRY(tree);
	return opened(tree, "file");
}
static int move(void)
{
	TRY(mount("/volume", "/mnt/a", NULL, MS_MOVE, NULL));
	return 0;
}
static int move_by_api(void)
{
	TRY(syscall(SYS_move_mount, AT_FDCWD, "/volume", AT_FDCWD, "/mnt/a", 0));
	return 0;
}
static int remount(void)
{
	TRY(mount(NULL, "/volume", NULL, MS_REMOUNT, "size=8m"));
	return 0;
}
static int remount_bind(void)
{
	TRY(mount(NULL, "/volume", NULL, MS_REMOUNT | MS_BIND | MS_NOEXEC, NULL));
	return 0;
}
static int remount_by_api(void)
{
	int context = syscall(SYS_fspick, AT_FDCWD, "/volume", 0);

	TRY(context);
	TRY(syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, "size", "8m", 0));
	TRY(syscall(SYS_fsconfig, context, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0));
	return 0;
}
static int set_attributes(void)
{
	struct mount_attr attributes = { .attr_set = MOUNT_ATTR_NOEXEC };

	TRY(syscall(SYS_mount_setattr, AT_FDCWD, "/volume", 0, &attributes, sizeof attributes));
	return 0;
}
static int unmount(void)
{
	TRY(umount("/volume"));
	return 0;
}
static int unmount_lazily(void)
{
	TRY(umount2("/volume", MNT_DETACH));
	return 0;
}
static int pivot(void)
{
	TRY(syscall(SYS_pivot_root, "/volume", "/volume/old"));
	return 0;
}
static int share(void)
{
	TRY(mount(NULL, "/volume", NULL, MS_SHARED, NULL));
	return 0;
}
static int new_ipc(void)
{
	TRY(unshare(CLONE_NEWIPC));
	return 0;
}

static int exit_of(pid_t child)
{
	int status;

	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}
static int run_at(int dir, const char *path)
{
	char *argv[] = { "quick", "quick", NULL }, *envp[] = { NULL };
	pid_t child = fork();

	if (child == 0) {
		syscall(SYS_execveat, dir, path, argv, envp, 0);
		_exit(errno);
	}
	return exit_of(child);
}
static int enter_host(void)
{
	int fd = open("/proc/1/ns/mnt", O_RDONLY | O_CLOEXEC);

	TRY(fd);
	TRY(setns(fd, CLONE_NEWNS));
	return 0;
}
static int host_leaked(void) { return opened(LEAKED, "hostname"); }
static int host_leaked_up(void)
{
	TRY(fchdir(LEAKED));
	return opened(AT_FDCWD, "../hostname");
}
static int host_leaked_run(void) { return run_at(LEAKED, "quick"); }
static int host_leaked_unlink(void)
{
	TRY(unlinkat(LEAKED, "gone", 0));
	return 0;
}
static int host_proc_root(void) { return opened(AT_FDCWD, "/proc/1/root/etc/hostname"); }
static int host_proc_cwd(void) { return opened(AT_FDCWD, "/proc/1/cwd/etc/hostname"); }
static int host_entered(void)
{
	int error = enter_host();

	return error ? error : opened(AT_FDCWD, "/etc/hostname");
}
static int host_entered_run(void)
{
	int error = enter_host();

	return error ? error : run_at(AT_FDCWD, "/bin/true");
}
static int own_file(void) { return opened(AT_FDCWD, "/volume/file"); }
static int own_proc_root(void) { return opened(AT_FDCWD, "/proc/self/root/volume/file"); }
static int own_run(void)
{
	char *argv[] = { "mount-ops", "quick", NULL }, *envp[] = { NULL };
	pid_t child = fork();

	if (child == 0) {
		execve("/proc/self/exe", argv, envp);
		_exit(errno);
	}
	return exit_of(child);
}

static const struct way {
	const char *name, *kind;
	int (*run)(void);
} ways[] = {
	{ "tmpfs", "new", new_tmpfs },
	{ "tmpfs-by-api", "new", new_by_api },
	{ "proc-by-api", "new", new_proc_by_api },
	{ "overlay", "overlay", new_overlay },
	{ "overlay-by-api", "overlay", new_overlay_by_api },
	{ "bind", "bind", bind },
	{ "bind-all", "bind", bind_all },
	{ "bind-by-api", "bind", bind_by_api },
	{ "use-detached", "bind", use_detached },
	{ "move", "move", move },
	{ "move-by-api", "move", move_by_api },
	{ "remount", "remount", remount },
	{ "remount-bind", "remount", remount_bind },
	{ "remount-by-api", "remount", remount_by_api },
	{ "set-attributes", "no-hook", set_attributes },
	{ "umount", "umount", unmount },
	{ "umount-lazy", "umount", unmount_lazily },
	{ "pivot", "pivot", pivot },
	{ "share", "propagation", share },
	{ "new-ipc", "kernel-own", new_ipc },
	{ "leaked", "host-mounts", host_leaked },
	{ "leaked-up", "host-mounts", host_leaked_up },
	{ "leaked-run", "host-mounts", host_leaked_run },
	{ "leaked-unlink", "host-mounts", host_leaked_unlink },
	{ "proc-root", "host-mounts", host_proc_root },
	{ "proc-cwd", "host-mounts", host_proc_cwd },
	{ "entered", "host-mounts", host_entered },
	{ "entered-run", "host-mounts", host_entered_run },
	{ "own-file", "own", own_file },
	{ "own-proc-root", "own", own_proc_root },
	{ "own-run", "own", own_run },
};

int main(int argc, char **argv)
{
	if (argc > 1 && argv[1][0] == 'q') return 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
	mkdir("/mnt", 0755), mkdir("/mnt/a", 0755), mkdir("/volume/old", 0755);
	close(open("/volume/file", O_WRONLY | O_CREAT, 0644));
	mkdir("/protected", 0755);
	puts("ready");
	while (getchar() != EOF) {
		for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
			pid_t child = fork();

			if (child == 0) _exit(unshare(CLONE_NEWNS) ? 97 : ways[i].run());
			int code = exit_of(child);
			printf("%s %s ", ways[i].name, ways[i].kind);
			if (code == 0)
				puts("landed");
			else if (code == EPERM || code == EACCES)
				puts("refused");
			else
				printf("failed %d\n", code);
		}
		puts("done");
	}
	return 0;
}
