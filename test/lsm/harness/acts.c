// Carries out its arguments, one act after the other, and prints how each ended: `<act> <object>:
// ok | <errno> | signal <n>`. Statically linked, so that it runs in an empty root. Without
// arguments it does nothing and succeeds, so a copy of it is a program for tests to run. Acts that
// change the process or its namespaces affect the later ones. A lone `,` ends the words of `run`.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void report(const char *act, const char *object, int error)
{
	printf("%s %s: %s\n", act, object, error == 0 ? "ok" : strerrorname_np(error));
	fflush(stdout);
}

static int copy_to(int to, const char *path)
{
	char bytes[65536];
	int from = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (from < 0)
		return errno;
	while ((n = read(from, bytes, sizeof bytes)) > 0)
		if (write(to, bytes, n) != n)
			return errno;
	close(from);
	return n < 0 ? errno : 0;
}

static int copy(const char *from, const char *to)
{
	int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);

	if (fd < 0)
		return errno;
	int error = copy_to(fd, from);
	close(fd);
	return error;
}

// Runs a program by path, or by descriptor when `fd` is not negative. The pipe distinguishes a
// failed execve from a failed program.
static void run(const char *act, char **words, int fd)
{
	int failure[2], error = 0, status;

	if (pipe2(failure, O_CLOEXEC))
		exit(1);
	pid_t child = fork();
	if (child < 0) {
		report(act, words[0], errno);
		return;
	}
	if (child == 0) {
		if (fd >= 0)
			fexecve(fd, words, environ);
		else
			execve(words[0], words, environ);
		error = errno;
		if (write(failure[1], &error, sizeof error) < 0)
			_exit(1);
		_exit(0);
	}
	close(failure[1]);
	if (read(failure[0], &error, sizeof error) < 0)
		exit(1);
	close(failure[0]);
	waitpid(child, &status, 0);
	if (error == 0 && WIFSIGNALED(status))
		printf("%s %s: signal %d\n", act, words[0], WTERMSIG(status));
	else if (error == 0 && WEXITSTATUS(status))
		printf("%s %s: exit %d\n", act, words[0], WEXITSTATUS(status));
	else
		report(act, words[0], error);
	fflush(stdout);
}

static int map(const char *path, int protection, int later)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), error = 0;

	if (fd < 0)
		return errno;
	void *at = mmap(NULL, 4096, protection, MAP_PRIVATE, fd, 0);
	close(fd);
	if (at == MAP_FAILED)
		return errno;
	if (later && mprotect(at, 4096, later))
		error = errno;
	munmap(at, 4096);
	return error;
}

static int map_anonymous(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
			       MAP_FAILED
		       ? errno
		       : 0;
}

// Maps memory that the kernel backs with an internal file; `later`: protection set by mprotect.
static int map_memory(const char *kind, int protection, int later)
{
	int flags = strcmp(kind, "private") ? MAP_SHARED | MAP_ANONYMOUS
					    : MAP_PRIVATE | MAP_ANONYMOUS,
	    error = 0;
	size_t bytes = 4096;

	if (!strcmp(kind, "huge"))
		flags |= MAP_HUGETLB, bytes = 2 << 20;
	void *at = mmap(NULL, bytes, protection, flags, -1, 0);
	if (at == MAP_FAILED)
		return errno;
	if (later && mprotect(at, bytes, later))
		error = errno;
	munmap(at, bytes);
	return error;
}

static void run_memfd(const char *path)
{
	int fd = memfd_create("act", MFD_CLOEXEC);
	char *words[] = { "memfd", NULL };

	if (fd < 0 || copy_to(fd, path))
		exit(1);
	run("memfd", words, fd);
	close(fd);
}

// Keeps a copy of a program in memory open at HELD_FD, across later programs too.
#define HELD_FD 77

static int hold(const char *path)
{
	int fd = memfd_create("held", 0);

	if (fd < 0)
		return errno;
	int error = copy_to(fd, path);
	if (!error && dup2(fd, HELD_FD) < 0)
		error = errno;
	close(fd);
	return error;
}

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), error = 0;

	if (fd < 0)
		return errno;
	if (write(fd, text, strlen(text)) < 0)
		error = errno;
	close(fd);
	return error;
}

static int create(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	return fd < 0 ? errno : (close(fd), 0);
}

static void run_deleted(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *words[] = { "deleted", NULL };

	if (fd < 0 || unlink(path))
		exit(1);
	run("deleted", words, fd);
	close(fd);
}

// The middle process ends before the innermost continues, so that the innermost has another parent.
static void double_fork(void)
{
	for (int i = 0; i < 2; i++) {
		pid_t child = fork();

		if (child < 0)
			exit(1);
		if (child > 0) {
			if (i == 0)
				waitpid(child, NULL, 0);
			_exit(0);
		}
		if (i == 0 && setsid() < 0)
			exit(1);
	}
}

// A child performs the remaining acts; its parent waits for it and prints its number.
static void in_child(void)
{
	char number[16];
	pid_t child = fork();

	if (child < 0)
		exit(1);
	if (child == 0)
		return;
	snprintf(number, sizeof number, "%d", child);
	report("child", number, 0);
	waitpid(child, NULL, 0);
	exit(0);
}

static int enter(const char *pid)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%s/ns/mnt", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	return setns(fd, CLONE_NEWNS) ? errno : 0;
}

// Moves itself out of the pod's cgroup, as root with a cgroup mount can.
static int leave_cgroup(const char *path)
{
	mkdir("/tmp/cgroup", 0755);
	if (mount("cgroup2", "/tmp/cgroup", "cgroup2", 0, NULL))
		return errno;
	char full[PATH_MAX];
	snprintf(full, sizeof full, "/tmp/cgroup/%s", path);
	mkdir(full, 0755);
	strncat(full, "/cgroup.procs", sizeof full - strlen(full) - 1);
	int fd = open(full, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	int error = write(fd, "0", 1) == 1 ? 0 : errno;
	close(fd);
	return error;
}

// A child that starts in another cgroup performs the remaining acts; its parent waits for it.
static void into_cgroup(const char *path)
{
	struct clone_args arguments = { .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD };

	arguments.cgroup = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	pid_t child = syscall(SYS_clone3, &arguments, sizeof arguments);
	if (child < 0)
		exit(1);
	if (child == 0) {
		report("into-cgroup", path, 0);
		return;
	}
	waitpid(child, NULL, 0);
	exit(0);
}

static int connect_to(const char *text)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(150) };

	inet_pton(AF_INET, text, &address.sin_addr);
	return connect(socket(AF_INET, SOCK_DGRAM, 0), (void *)&address, sizeof address) ? errno
											 : 0;
}

static int bind_abstract(const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	strncpy(address.sun_path + 1, name, sizeof address.sun_path - 2);
	return bind(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&address,
		    offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name))
		       ? errno
		       : 0;
}

static int wait_for_line(void)
{
	char c;

	puts("ready");
	fflush(stdout);
	while (read(0, &c, 1) == 1)
		if (c == '\n')
			return 0;
	return EPIPE;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *act = argv[i], *next = i + 1 < argc ? argv[i + 1] : "";

		if (!strcmp(act, ",") || act[0] == '/')
			continue; // an interpreter also gets the path of its script
		if (!strcmp(act, "run")) {
			char **words = argv + i + 1;
			for (i++; i < argc && strcmp(argv[i], ","); i++)
				;
			if (i < argc)
				argv[i] = NULL;
			run("run", words, -1);
		} else if (!strcmp(act, "become")) {
			execv(next, argv + i + 1);
			report("become", next, errno);
			return 1;
		} else if (!strcmp(act, "map"))
			report(act, next, map(argv[++i], PROT_READ | PROT_EXEC, 0));
		else if (!strcmp(act, "map-plain"))
			report(act, next, map(argv[++i], PROT_READ, 0));
		else if (!strcmp(act, "mprotect"))
			report(act, next, map(argv[++i], PROT_READ, PROT_READ | PROT_EXEC));
		else if (!strcmp(act, "map-anonymous"))
			report(act, "memory", map_anonymous());
		else if (!strcmp(act, "map-memory"))
			report(act, next, map_memory(argv[++i], PROT_READ | PROT_EXEC, 0));
		else if (!strcmp(act, "mprotect-memory"))
			report(act, next, map_memory(argv[++i], PROT_READ, PROT_READ | PROT_EXEC));
		else if (!strcmp(act, "memfd"))
			run_memfd(argv[++i]);
		else if (!strcmp(act, "hold"))
			report(act, next, hold(argv[++i]));
		else if (!strcmp(act, "write"))
			report(act, next, write_text(argv[i + 1], argv[i + 2])), i += 2;
		else if (!strcmp(act, "create"))
			report(act, next, create(argv[++i]));
		else if (!strcmp(act, "create-to-read"))
			report(act, next,
			       open(argv[++i], O_RDONLY | O_CREAT, 0644) < 0 ? errno : 0);
		else if (!strcmp(act, "deleted"))
			run_deleted(argv[++i]);
		else if (!strcmp(act, "copy"))
			report(act, argv[i + 2], copy(argv[i + 1], argv[i + 2])), i += 2;
		else if (!strcmp(act, "mkdir"))
			report(act, next, mkdir(argv[++i], 0755) ? errno : 0);
		else if (!strcmp(act, "tmpfs"))
			report(act, next, mount("tmpfs", argv[++i], "tmpfs", 0, NULL) ? errno : 0);
		else if (!strcmp(act, "proc"))
			report(act, next, mount("proc", argv[++i], "proc", 0, NULL) ? errno : 0);
		else if (!strcmp(act, "overlay"))
			report(act, argv[i + 2],
			       mount("overlay", argv[i + 2], "overlay", 0, argv[i + 1]) ? errno
											: 0),
				i += 2;
		else if (!strcmp(act, "move"))
			report(act, argv[i + 2],
			       mount(argv[i + 1], argv[i + 2], NULL, MS_MOVE, NULL) ? errno : 0),
				i += 2;
		else if (!strcmp(act, "bind"))
			report(act, argv[i + 2],
			       mount(argv[i + 1], argv[i + 2], NULL, MS_BIND, NULL) ? errno : 0),
				i += 2;
		else if (!strcmp(act, "rbind"))
			report(act, argv[i + 2],
			       mount(argv[i + 1], argv[i + 2], NULL, MS_BIND | MS_REC, NULL) ? errno
											     : 0),
				i += 2;
		else if (!strcmp(act, "read-only"))
			report(act, next,
			       mount(NULL, argv[++i], NULL, MS_REMOUNT | MS_RDONLY, NULL) ? errno
											  : 0);
		else if (!strcmp(act, "rename"))
			report(act, argv[i + 2], rename(argv[i + 1], argv[i + 2]) ? errno : 0),
				i += 2;
		else if (!strcmp(act, "link"))
			report(act, argv[i + 2], link(argv[i + 1], argv[i + 2]) ? errno : 0),
				i += 2;
		else if (!strcmp(act, "unshare-mnt"))
			report(act, "", unshare(CLONE_NEWNS) ? errno : 0);
		else if (!strcmp(act, "unshare-user"))
			report(act, "", unshare(CLONE_NEWUSER | CLONE_NEWNS) ? errno : 0);
		else if (!strcmp(act, "double-fork"))
			double_fork();
		else if (!strcmp(act, "child"))
			in_child();
		else if (!strcmp(act, "into-cgroup"))
			into_cgroup(argv[++i]);
		else if (!strcmp(act, "connect"))
			report(act, next, connect_to(argv[++i]));
		else if (!strcmp(act, "abstract"))
			report(act, next, bind_abstract(argv[++i]));
		else if (!strcmp(act, "raw-socket"))
			report(act, "", socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) < 0 ? errno : 0);
		else if (!strcmp(act, "nice"))
			report(act, "", setpriority(PRIO_PROCESS, 0, -5) ? errno : 0);
		else if (!strcmp(act, "setns"))
			report(act, next, enter(argv[++i]));
		else if (!strcmp(act, "cgroup"))
			report(act, next, leave_cgroup(argv[++i]));
		else if (!strcmp(act, "wait"))
			report(act, "", wait_for_line());
		else
			return 2;
	}
	return 0;
}
