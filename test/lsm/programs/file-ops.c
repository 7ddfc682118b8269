// Carries out each file operation in every way, once below /only/<operation>, where a policy may
// deny that operation alone, and once below /only/<another>. It creates its files, prints `ready`,
// and waits for a line. Then it prints for each way `<way> <operation> own|other landed | refused |
// failed <errno>`, and `done`. If `own` is /open, no operation is denied.
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define TRY(call) \
	do { \
		if ((long)(call) < 0) return errno; \
	} while (0)

#define ACCESS_LIST "system.posix_acl_access"
static const unsigned char access_list[] = {
	2,    0, 0, 0,			       // version
	1,    0, 6, 0, 0xff, 0xff, 0xff, 0xff, // user::rw-
	2,    0, 4, 0, 1,    0,	   0,	 0,    // user:1:r--
	4,    0, 4, 0, 0xff, 0xff, 0xff, 0xff, // group::r--
	0x10, 0, 4, 0, 0xff, 0xff, 0xff, 0xff, // mask::r--
	0x20, 0, 4, 0, 0xff, 0xff, 0xff, 0xff, // other::r--
};

/* User attributes, which tmpfs and therefore an overlay on it have since Linux 6.6; before that,
 * trusted ones. */
static const char *space = "user.";

static const char *attribute(const char *rest)
{
	static char name[32];

	snprintf(name, sizeof name, "%s%s", space, rest);
	return name;
}

static int open_as(int flags, mode_t mode, const char *name)
{
	int fd = open(name, flags | O_CLOEXEC, mode);

	TRY(fd);
	close(fd);
	return 0;
}

static int read_only(void) { return open_as(O_RDONLY, 0, "file"); }
static int read_dir(void) { return open_as(O_RDONLY | O_DIRECTORY, 0, "."); }
static int write_only(void) { return open_as(O_WRONLY, 0, "file"); }
static int append(void) { return open_as(O_WRONLY | O_APPEND, 0, "file"); }
static int read_write(void) { return open_as(O_RDWR, 0, "file"); }
// both access bits: a descriptor for ioctl alone
static int for_ioctl(void) { return open_as(O_ACCMODE, 0, "file"); }
static int empty_while_reading(void) { return open_as(O_RDONLY | O_TRUNC, 0, "file"); }
static int create(void) { return open_as(O_WRONLY | O_CREAT | O_EXCL, 0644, "created"); }
static int create_tmpfile(void) { return open_as(O_WRONLY | O_TMPFILE, 0644, "."); }
static int create_mknod(void)
{
	TRY(mknod("created-mknod", S_IFREG | 0644, 0));
	return 0;
}
static int create_openat2(void)
{
	struct open_how how = { .flags = O_WRONLY | O_CREAT, .mode = 0644 };

	TRY(syscall(SYS_openat2, AT_FDCWD, "created-openat2", &how, sizeof how));
	return 0;
}
static int make_dir(void)
{
	TRY(mkdir("dir-made", 0755));
	return 0;
}
static int remove_dir(void)
{
	TRY(rmdir("dir"));
	return 0;
}
static int remove_dir_at(void)
{
	TRY(unlinkat(AT_FDCWD, "dir2", AT_REMOVEDIR));
	return 0;
}
static int remove_file(void)
{
	TRY(unlink("gone"));
	return 0;
}
static int make_symlink(void)
{
	TRY(symlink("file", "symlink"));
	return 0;
}
static int make_link(void)
{
	TRY(link("/open/file", "linked"));
	return 0;
}
static int move(void)
{
	TRY(rename("/open/moved", "moved"));
	return 0;
}
static int make_fifo(void)
{
	TRY(mkfifo("fifo", 0644));
	return 0;
}
static int make_device(void)
{
	TRY(mknod("device", S_IFCHR | 0644, makedev(1, 3)));
	return 0;
}
static int bind_socket(void)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "socket" };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	TRY(fd);
	TRY(bind(fd, (void *)&name, sizeof name));
	return 0;
}
static int change_mode(void)
{
	TRY(chmod("file", 0600));
	return 0;
}
static int change_mode_fd(void)
{
	TRY(fchmod(open("file", O_RDONLY | O_CLOEXEC), 0600));
	return 0;
}
static int change_owner(void)
{
	TRY(chown("file", 1, 1));
	return 0;
}
static int change_owner_link(void)
{
	TRY(lchown("link-of-old", 1, 1));
	return 0;
}
static int change_owner_fd(void)
{
	TRY(fchownat(open("file", O_PATH | O_CLOEXEC), "", 1, 1, AT_EMPTY_PATH));
	return 0;
}
static int truncate_path(void)
{
	TRY(truncate("file", 1));
	return 0;
}
static int truncate_fd(void)
{
	TRY(ftruncate(open("file", O_RDWR | O_CLOEXEC), 1));
	return 0;
}
static int truncate_open(void) { return open_as(O_WRONLY | O_TRUNC, 0, "file"); }
static int set_attribute(void)
{
	TRY(setxattr("file", attribute("test"), "x", 1, 0));
	return 0;
}
static int set_attribute_fd(void)
{
	TRY(fsetxattr(open("file", O_RDONLY | O_CLOEXEC), attribute("test2"), "x", 1, 0));
	return 0;
}
static int remove_attribute(void)
{
	TRY(removexattr("file", attribute("old")));
	return 0;
}
static int set_list(void)
{
	TRY(setxattr("file", ACCESS_LIST, access_list, sizeof access_list, 0));
	return 0;
}
static int remove_list(void)
{
	TRY(removexattr("listed", ACCESS_LIST));
	return 0;
}
static int change_root(void)
{
	TRY(chroot("."));
	return 0;
}
static int mount_upon(void)
{
	TRY(mount("tmpfs", "point", "tmpfs", 0, NULL));
	return 0;
}

static int by_ring(struct io_uring_sqe request)
{
	struct io_uring_params params = { 0 };
	int ring = syscall(SYS_io_uring_setup, 4, &params);

	TRY(ring);
	int protection = PROT_READ | PROT_WRITE, shared = MAP_SHARED | MAP_POPULATE;
	char *sq =
		mmap(NULL, params.sq_off.array + 16, protection, shared, ring, IORING_OFF_SQ_RING);
	char *cq = mmap(NULL, params.cq_off.cqes + 8 * sizeof(struct io_uring_cqe), protection,
			shared, ring, IORING_OFF_CQ_RING);
	struct io_uring_sqe *sqes =
		mmap(NULL, 4 * sizeof *sqes, protection, shared, ring, IORING_OFF_SQES);

	if (sq == MAP_FAILED || cq == MAP_FAILED || sqes == MAP_FAILED) return errno;
	sqes[0] = request;
	sqes[0].flags = IOSQE_ASYNC;
	((unsigned *)(sq + params.sq_off.array))[0] = 0;
	__atomic_store_n((unsigned *)(sq + params.sq_off.tail), 1, __ATOMIC_RELEASE);
	TRY(syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0));
	int result = ((struct io_uring_cqe *)(cq + params.cq_off.cqes))[0].res;
	return result < 0 ? -result : 0;
}
#define AT(name) .fd = AT_FDCWD, .addr = (unsigned long)(name)
static int ring_open(void)
{
	return by_ring((struct io_uring_sqe){
		.opcode = IORING_OP_OPENAT, AT("file"), .open_flags = O_WRONLY });
}
static int ring_mkdir(void)
{
	return by_ring(
		(struct io_uring_sqe){ .opcode = IORING_OP_MKDIRAT, AT("dir-ring"), .len = 0755 });
}
static int ring_unlink(void)
{
	return by_ring((struct io_uring_sqe){ .opcode = IORING_OP_UNLINKAT, AT("gone-ring") });
}
static int ring_symlink(void)
{
	return by_ring((struct io_uring_sqe){ .opcode = IORING_OP_SYMLINKAT,
					      AT("file"),
					      .addr2 = (unsigned long)"symlink-ring" });
}
static int ring_link(void)
{
	return by_ring((struct io_uring_sqe){ .opcode = IORING_OP_LINKAT,
					      AT("/open/file"),
					      .len = AT_FDCWD,
					      .addr2 = (unsigned long)"linked-ring" });
}
static int ring_rename(void)
{
	return by_ring((struct io_uring_sqe){ .opcode = IORING_OP_RENAMEAT,
					      AT("/open/moved-ring"),
					      .len = AT_FDCWD,
					      .addr2 = (unsigned long)"moved-ring" });
}
static int ring_setxattr(void)
{
	return by_ring((struct io_uring_sqe){ .opcode = IORING_OP_SETXATTR,
					      .addr = (unsigned long)attribute("ring"),
					      .addr2 = (unsigned long)"x",
					      .addr3 = (unsigned long)"file",
					      .len = 1 });
}
static int ring_ftruncate(void)
{
	int fd = open("file", O_RDWR | O_CLOEXEC);

	TRY(fd);
	return by_ring(
		(struct io_uring_sqe){ .opcode = 55 /* FTRUNCATE, 6.9 */, .fd = fd, .off = 1 });
}

static const struct way {
	const char *name, *operation;
	int (*run)(void);
} ways[] = {
	{ "read", "read", read_only },
	{ "read-directory", "read", read_dir },
	{ "read-of-read-write", "read", read_write },
	{ "read-of-ioctl", "read", for_ioctl },
	{ "write", "write", write_only },
	{ "append", "write", append },
	{ "read-write", "write", read_write },
	{ "write-of-ioctl", "write", for_ioctl },
	{ "empty-while-reading", "write", empty_while_reading },
	{ "ring-open", "write", ring_open },
	{ "create", "create", create },
	{ "tmpfile", "create", create_tmpfile },
	{ "create-mknod", "create", create_mknod },
	{ "create-openat2", "create", create_openat2 },
	{ "mkdir", "mkdir", make_dir },
	{ "ring-mkdir", "mkdir", ring_mkdir },
	{ "rmdir", "rmdir", remove_dir },
	{ "rmdir-at", "rmdir", remove_dir_at },
	{ "unlink", "unlink", remove_file },
	{ "ring-unlink", "unlink", ring_unlink },
	{ "symlink", "symlink", make_symlink },
	{ "ring-symlink", "symlink", ring_symlink },
	{ "link", "link", make_link },
	{ "ring-link", "link", ring_link },
	{ "rename", "rename", move },
	{ "ring-rename", "rename", ring_rename },
	{ "fifo", "mknod", make_fifo },
	{ "device", "mknod", make_device },
	{ "bind", "unix-bind", bind_socket },
	{ "chmod", "chmod", change_mode },
	{ "fchmod", "chmod", change_mode_fd },
	{ "chown", "chown", change_owner },
	{ "lchown", "chown", change_owner_link },
	{ "fchownat", "chown", change_owner_fd },
	{ "truncate", "truncate", truncate_path },
	{ "ftruncate", "truncate", truncate_fd },
	{ "truncate-at-open", "truncate", truncate_open },
	{ "ring-ftruncate", "truncate", ring_ftruncate },
	{ "setxattr", "setxattr", set_attribute },
	{ "fsetxattr", "setxattr", set_attribute_fd },
	{ "removexattr", "setxattr", remove_attribute },
	{ "set-acl", "setxattr", set_list },
	{ "remove-acl", "setxattr", remove_list },
	{ "ring-setxattr", "setxattr", ring_setxattr },
	{ "chroot", "chroot", change_root },
	{ "mount-upon", "mount-point", mount_upon },
};
#define WAYS (sizeof ways / sizeof *ways)

static void make(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0644);

	if (fd < 0 || write(fd, "text", 4) != 4) perror(path), exit(2);
	close(fd);
}

static void lay_out(const char *dir)
{
	mkdir(dir, 0755);
	if (chdir(dir)) perror(dir), exit(2);
	make("file"), make("gone"), make("gone-ring"), make("listed");
	if (mkdir("dir", 0755) || mkdir("dir2", 0755) || mkdir("point", 0755) ||
	    symlink("file", "link-of-old"))
		perror(dir), exit(2);
	if (setxattr("file", attribute("old"), "x", 1, 0) && errno == EOPNOTSUPP)
		space = "trusted.";
	if (setxattr("file", attribute("old"), "x", 1, 0) ||
	    setxattr("listed", ACCESS_LIST, access_list, sizeof access_list, 0))
		perror("attributes"), exit(2);
}

static void attempt(const struct way *way, const char *dir, const char *where)
{
	char path[64];
	int status;

	// both are moved away, so that the next way finds its source and target again
	make("/open/moved"), make("/open/moved-ring");
	pid_t child = fork();
	if (child == 0) {
		snprintf(path, sizeof path, "/only/%s", dir);
		_exit(chdir(path) ? 99 : way->run());
	}
	waitpid(child, &status, 0);
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 98;
	printf("%s %s %s ", way->name, way->operation, where);
	if (code == 0)
		puts("landed");
	else if (code == EPERM || code == EACCES)
		puts("refused");
	else
		printf("failed %d\n", code);
}

int main(void)
{
	char path[64];

	setvbuf(stdout, NULL, _IOLBF, 0);
	umask(0);
	mkdir("/only", 0755);
	lay_out("/open");
	lay_out("/only/other");
	for (size_t i = 0; i < WAYS; i++) {
		snprintf(path, sizeof path, "/only/%s", ways[i].operation);
		if (access(path, F_OK)) lay_out(path);
	}
	puts("ready");
	if (getchar() == EOF) return 3;
	for (size_t i = 0; i < WAYS; i++) {
		attempt(&ways[i], ways[i].operation, "own");
		attempt(&ways[i], "other", "other");
	}
	puts("done");
	return 0;
}
