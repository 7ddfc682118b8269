// Tries to reach protected objects by every other name in Linux, one attempt per process, and
// prints how each ended.
//
// Runs inside a container. It creates its files, opens the descriptors that attempts need from
// before the policy, prints `ready` and waits for a line on stdin. Then it prints `<name> landed |
// refused | failed <errno>` for each attempt, and `done`. It prints `landed` only after it has read
// the secret's bytes, or read the change. Attempts that mount have their own mount namespace. The
// policy of each folder: aliases.test.ts.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "passthrough.h"

#define SECRET "the-secret"
#define DEEP   80

enum { LANDED = 0 };
static int early_fd, early_dir, early_volume_dir, early_path_fd;
static int deep_fd, shallow_fd;

// Each step returns 0 or an errno; the first failure ends an attempt.
#define TRY(call) \
	do { \
		if ((long)(call) < 0) return errno; \
	} while (0)

static int read_fd(int fd)
{
	char text[64] = "";
	ssize_t n = pread(fd, text, sizeof text - 1, 0);

	if (n < 0) return errno;
	return strncmp(text, SECRET, strlen(SECRET)) == 0 ? LANDED : ENODATA;
}

static int read_at(int dir, const char *path)
{
	int fd = openat(dir, path, O_RDONLY);

	if (fd < 0) return errno;
	int result = read_fd(fd);
	close(fd);
	return result;
}

static int read_path(const char *path) { return read_at(AT_FDCWD, path); }

static int reopen(int fd)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return read_path(path);
}

static void put(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);

	if (fd < 0 || write(fd, text, strlen(text)) < 0) perror(path), exit(2);
	close(fd);
}

static void own_mounts(void)
{
	if (unshare(CLONE_NEWNS)) perror("unshare"), _exit(99);
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) perror("private"), _exit(99);
}

// --- names that resolve to the same object ---
static int direct(void) { return read_path("/protected/secret"); }
static int neighbour(void) { return read_path("/open/secret"); }
static int follow_symlink(void)
{
	TRY(symlink("/protected/secret", "/open/symlink"));
	return read_path("/open/symlink");
}
static int relative(void)
{
	TRY(chdir("/protected"));
	return read_path("secret");
}
static int dotdot(void) { return read_path("/open/../protected/../open/./../protected//secret"); }
static int by_openat2(void)
{
	struct open_how how = { .flags = O_RDONLY,
				.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	int dir = open("/protected", O_PATH | O_DIRECTORY), fd;

	TRY(dir);
	fd = syscall(SYS_openat2, dir, "/secret", &how, sizeof how);
	TRY(fd);
	return read_fd(fd);
}
static int proc_self_root(void) { return read_path("/proc/self/root/protected/secret"); }
static int proc_self_cwd(void)
{
	TRY(chdir("/protected"));
	return read_path("/proc/self/cwd/secret");
}
static int proc_self_fd(void) { return reopen(early_fd); }
static int path_fd(void) { return reopen(early_path_fd); }
static int dir_fd(void) { return read_at(early_dir, "secret"); }
static int by_chroot(void)
{
	TRY(chroot("/protected"));
	TRY(chdir("/"));
	return read_path("/secret");
}
static int handle_of_volume(bool cold)
{
	union {
		struct file_handle handle;
		char bytes[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} u;
	int mount_id, fd, root = open("/volume", O_RDONLY | O_DIRECTORY);

	TRY(root);
	u.handle.handle_bytes = MAX_HANDLE_SZ;
	TRY(name_to_handle_at(AT_FDCWD, "/volume/secret", &u.handle, &mount_id, 0));
	if (cold) {
		// an inode without a cached name is opened without a directory entry
		int drop = open("/proc/sys/vm/drop_caches", O_WRONLY);

		TRY(drop);
		// a recently used entry survives the first drop
		for (int i = 0; i < 3; i++) {
			sync();
			TRY(write(drop, "2", 1));
		}
	}
	fd = open_by_handle_at(root, &u.handle, O_RDONLY);
	TRY(fd);
	return read_fd(fd);
}
static int by_handle(void) { return handle_of_volume(false); }
static int by_cold_handle(void) { return handle_of_volume(true); }
static int deleted(void)
{
	int fd = open("/protected/deleted", O_PATH);

	TRY(fd);
	TRY(unlink("/protected/deleted"));
	return reopen(fd);
}
static int long_component(void)
{
	char path[300] = "/protected/";

	memset(path + strlen(path), 'l', 255);
	return read_path(path);
}
static int io_uring_open(void)
{
	struct io_uring_params params = { 0 };
	int ring = syscall(SYS_io_uring_setup, 4, &params);

	TRY(ring);
	char *sq = mmap(NULL, params.sq_off.array + 16, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQ_RING);
	char *cq =
		mmap(NULL, params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe),
		     PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_CQ_RING);
	struct io_uring_sqe *sqes =
		mmap(NULL, params.sq_entries * sizeof *sqes, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQES);

	if (sq == MAP_FAILED || cq == MAP_FAILED || sqes == MAP_FAILED) return errno;
	sqes[0] = (struct io_uring_sqe){ .opcode = IORING_OP_OPENAT,
					 .fd = AT_FDCWD,
					 .addr = (unsigned long)"/protected/secret",
					 .open_flags = O_RDONLY,
					 .flags = IOSQE_ASYNC };
	((unsigned *)(sq + params.sq_off.array))[0] = 0;
	__atomic_store_n((unsigned *)(sq + params.sq_off.tail), 1, __ATOMIC_RELEASE);
	TRY(syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0));
	int result = ((struct io_uring_cqe *)(cq + params.cq_off.cqes))[0].res;
	return result < 0 ? -result : read_fd(result);
}

// --- descriptors from before the policy ---
static int early_read(void) { return read_fd(early_fd); }
static int early_mmap(void)
{
	char *text = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, early_fd, 0);

	if (text == MAP_FAILED) return errno;
	return strncmp(text, SECRET, strlen(SECRET)) == 0 ? LANDED : ENODATA;
}
// Passes a descriptor over a socket to its own other end, and reads it there.
static int pass_and_read(int passed)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	char byte = 0;
	struct iovec data = { &byte, 1 };
	struct msghdr message = { .msg_iov = &data,
				  .msg_iovlen = 1,
				  .msg_control = control.bytes,
				  .msg_controllen = sizeof control.bytes };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	int pair[2];

	TRY(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	*header = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
				    .cmsg_type = SCM_RIGHTS,
				    .cmsg_len = CMSG_LEN(sizeof(int)) };
	memcpy(CMSG_DATA(header), &passed, sizeof passed);
	TRY(sendmsg(pair[0], &message, 0));
	memset(&control, 0, sizeof control);
	TRY(recvmsg(pair[1], &message, 0));
	header = CMSG_FIRSTHDR(&message);
	if (!header || header->cmsg_len < CMSG_LEN(sizeof(int)))
		return EPERM; // the kernel removes the descriptor
	int fd;
	memcpy(&fd, CMSG_DATA(header), sizeof fd);
	return read_fd(fd);
}

static int scm_rights(void) { return pass_and_read(early_fd); }
static int scm_rights_neighbour(void)
{
	int fd = open("/open/secret", O_RDONLY);

	return fd < 0 ? errno : pass_and_read(fd);
}

// --- names that an attempt creates ---
static int hard_link_old(void)
{
	TRY(link("/protected/secret", "/open/hard"));
	return read_path("/open/hard");
}
static int hard_link_new(void)
{
	TRY(link("/open/secret", "/sealed/hard"));
	return read_path("/sealed/hard");
}
static int hard_link_neighbour(void)
{
	TRY(link("/open/secret", "/open/hard-of-open"));
	return read_path("/open/hard-of-open");
}
static int hard_link_fd(void)
{
	TRY(linkat(early_path_fd, "", AT_FDCWD, "/open/hard-of-fd", AT_EMPTY_PATH));
	return read_path("/open/hard-of-fd");
}
static int rename_file(void)
{
	TRY(rename("/protected/movable", "/open/moved"));
	return read_path("/open/moved");
}
static int rename_parent(void)
{
	TRY(rename("/above/parent", "/above/elsewhere"));
	return read_path("/above/elsewhere/deep/secret");
}
static int rename_grandparent(void)
{
	TRY(rename("/over", "/beside"));
	return read_path("/beside/parent/deep/secret");
}
static int rename_exchange(void)
{
	TRY(syscall(SYS_renameat2, AT_FDCWD, "/open/exchange", AT_FDCWD, "/protected/exchange",
		    RENAME_EXCHANGE));
	return read_path("/open/exchange");
}
static int rename_neighbour(void)
{
	TRY(rename("/open/movable", "/open/moved-of-open"));
	return read_path("/open/moved-of-open");
}
static int bind_rootfs(void)
{
	own_mounts();
	TRY(mount("/protected", "/open/mnt", NULL, MS_BIND, NULL));
	return read_path("/open/mnt/secret");
}
static int bind_root(void)
{
	own_mounts();
	TRY(mount("/", "/open/mnt", NULL, MS_BIND, NULL));
	return read_path("/open/mnt/protected/secret");
}
static int bind_volume(void)
{
	own_mounts();
	TRY(mount("/volume", "/open/mnt", NULL, MS_BIND, NULL));
	return read_path("/open/mnt/secret");
}
static int bind_before(void) { return read_path("/open/bound/secret"); }
static int bind_suffix_before(void) { return read_path("/open/bound-file"); }
static int bind_volume_before(void) { return read_path("/open/bound-volume/secret"); }
static int userns_bind(void)
{
	TRY(unshare(CLONE_NEWUSER | CLONE_NEWNS));
	TRY(mount("/protected", "/open/mnt", NULL, MS_BIND | MS_REC, NULL));
	return read_path("/open/mnt/secret");
}
static int open_tree_clone(const char *path)
{
	return syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | AT_RECURSIVE);
}
static int detached(void)
{
	int tree = open_tree_clone("/protected");

	TRY(tree);
	return read_at(tree, "secret");
}
static int detached_volume(void)
{
	int tree = open_tree_clone("/volume");

	TRY(tree);
	return read_at(tree, "secret");
}
static int detached_unlink(void)
{
	int tree = open_tree_clone("/sealed");

	TRY(tree);
	TRY(unlinkat(tree, "removable", 0));
	return access("/sealed/removable", F_OK) ? LANDED : ENODATA;
}
static int attach(int tree)
{
	return syscall(SYS_move_mount, tree, "", AT_FDCWD, "/open/mnt", MOVE_MOUNT_F_EMPTY_PATH);
}
static int move_detached(void)
{
	own_mounts();
	int tree = open_tree_clone("/protected");

	TRY(tree);
	TRY(attach(tree));
	return read_path("/open/mnt/secret");
}
static int move_attached(void)
{
	own_mounts();
	TRY(syscall(SYS_move_mount, AT_FDCWD, "/volume", AT_FDCWD, "/open/mnt", 0));
	return read_path("/open/mnt/secret");
}
static int move_old(void)
{
	own_mounts();
	TRY(mount("/volume", "/open/mnt", NULL, MS_MOVE, NULL));
	return read_path("/open/mnt/secret");
}
static int overlay_with(const char *options)
{
	own_mounts();
	TRY(mount("tmpfs", "/open/scratch", "tmpfs", 0, NULL));
	TRY(mkdir("/open/scratch/upper", 0755) | mkdir("/open/scratch/work", 0755) |
	    mkdir("/open/scratch/work2", 0755));
	TRY(mount("overlay", "/open/mnt", "overlay", 0, options));
	return read_path("/open/mnt/secret");
}
static int overlay_lower(void)
{
	return overlay_with(
		"lowerdir=/volume,upperdir=/open/scratch/upper,workdir=/open/scratch/work");
}
static int overlay_upper(void)
{
	return overlay_with(
		"lowerdir=/open/scratch/upper,upperdir=/volume/upper,workdir=/volume/work");
}
static int overlay_new_api(void)
{
	own_mounts();
	int context = syscall(SYS_fsopen, "overlay", 0), tree;

	TRY(context);
	TRY(syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, "lowerdir", "/volume:/open", 0));
	TRY(syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
	tree = syscall(SYS_fsmount, context, 0, 0);
	TRY(tree);
	return read_at(tree, "secret");
}

static int fuse_passthrough(void)
{
	char options[64];
	int device, backing, result;

	own_mounts();
	device = open("/open/fuse", O_RDWR);
	TRY(device);
	backing = open("/volume/secret", O_PATH);
	TRY(backing);
	snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", device);
	TRY(mount("fuse", "/open/mnt", "fuse", 0, options));
	pid_t server = fork();
	if (server == 0) _exit(answer(device, backing, strlen(SECRET)));
	result = read_path("/open/mnt/secret");
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	return result;
}
static int overmount(void)
{
	own_mounts();
	TRY(mount("tmpfs", "/protected", "tmpfs", 0, NULL));
	return access("/protected/secret", F_OK) ? LANDED : ENODATA;
}
static int overmount_above(void)
{
	own_mounts();
	TRY(mount("tmpfs", "/above", "tmpfs", 0, NULL));
	return access("/above/parent", F_OK) ? LANDED : ENODATA;
}
static int tmpfs_neighbour(void)
{
	own_mounts();
	TRY(mount("tmpfs", "/open/mnt", "tmpfs", 0, NULL));
	put("/open/mnt/secret", SECRET, 0644);
	return read_path("/open/mnt/secret");
}
static int tmpfs_new_api(void)
{
	own_mounts();
	int context = syscall(SYS_fsopen, "tmpfs", 0), tree;

	TRY(context);
	TRY(syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
	tree = syscall(SYS_fsmount, context, 0, 0);
	TRY(tree);
	TRY(attach(tree));
	put("/open/mnt/secret", SECRET, 0644);
	return read_path("/open/mnt/secret");
}
static int by_pivot_root(void)
{
	own_mounts();
	TRY(mount("tmpfs", "/open/mnt", "tmpfs", 0, NULL));
	TRY(mkdir("/open/mnt/old", 0755));
	TRY(syscall(SYS_pivot_root, "/open/mnt", "/open/mnt/old"));
	TRY(chdir("/"));
	return read_path("/old/protected/secret");
}
static int lazy_umount(void)
{
	own_mounts();
	TRY(umount2("/volume", MNT_DETACH));
	return read_at(early_volume_dir, "secret") == ENOENT ? ENOENT
							     : read_at(early_volume_dir, "secret");
}
static int deep(void) { return read_at(deep_fd, "secret"); }
static int shallow(void) { return read_at(shallow_fd, "secret"); }

// --- names that are no alias ---
static int memfd_name(void)
{
	int fd = memfd_create("/protected/secret", 0);

	TRY(fd);
	TRY(write(fd, SECRET, strlen(SECRET)));
	return reopen(fd);
}
static int exec_wait(int fd, const char *path, int flags)
{
	char *argv[] = { "tool", "exec", NULL }, *envp[] = { NULL };
	int status, error[2];

	TRY(pipe2(error, O_CLOEXEC));
	pid_t child = fork();
	if (child == 0) {
		syscall(SYS_execveat, fd, path, argv, envp, flags);
		int code = errno;
		if (write(error[1], &code, sizeof code) < 0) _exit(99);
		_exit(99);
	}
	close(error[1]);
	int code = 0;
	if (read(error[0], &code, sizeof code) == sizeof code)
		return waitpid(child, &status, 0), code;
	waitpid(child, &status, 0);
	return WIFEXITED(status) && WEXITSTATUS(status) == 42 ? LANDED : ECANCELED;
}
static int exec_path(void) { return exec_wait(AT_FDCWD, "/protected/tool", 0); }
static int exec_neighbour(void) { return exec_wait(AT_FDCWD, "/open/tool", 0); }
static int exec_fd(void)
{
	int fd = open("/protected/tool", O_PATH | O_CLOEXEC);

	TRY(fd);
	return exec_wait(fd, "", AT_EMPTY_PATH);
}
static int truncate_path(void)
{
	struct stat st;

	TRY(truncate("/sealed/truncated", 0));
	TRY(stat("/sealed/truncated", &st));
	return st.st_size == 0 ? LANDED : ENODATA;
}
static int tmpfile_link(void)
{
	int fd = open("/open", O_TMPFILE | O_RDWR, 0644);
	char path[64];

	TRY(fd);
	TRY(write(fd, SECRET, strlen(SECRET)));
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	TRY(linkat(AT_FDCWD, path, AT_FDCWD, "/sealed/from-tmpfile", AT_SYMLINK_FOLLOW));
	return read_path("/sealed/from-tmpfile");
}
static int rename_onto(void)
{
	TRY(rename("/open/replacement", "/sealed/replaced"));
	return read_path("/sealed/replaced");
}

static const struct attempt {
	const char *name;
	int (*run)(void);
} attempts[] = {
	{ "direct", direct },
	{ "neighbour", neighbour },
	{ "symlink", follow_symlink },
	{ "relative", relative },
	{ "dotdot", dotdot },
	{ "openat2", by_openat2 },
	{ "proc-self-root", proc_self_root },
	{ "proc-self-cwd", proc_self_cwd },
	{ "proc-self-fd", proc_self_fd },
	{ "path-fd", path_fd },
	{ "dir-fd", dir_fd },
	{ "chroot", by_chroot },
	{ "file-handle", by_handle },
	{ "file-handle-cold", by_cold_handle },
	{ "deleted", deleted },
	{ "long-component", long_component },
	{ "io-uring", io_uring_open },
	{ "early-read", early_read },
	{ "early-mmap", early_mmap },
	{ "scm-rights", scm_rights },
	{ "scm-rights-neighbour", scm_rights_neighbour },
	{ "link-old", hard_link_old },
	{ "link-new", hard_link_new },
	{ "link-neighbour", hard_link_neighbour },
	{ "link-fd", hard_link_fd },
	{ "bind-before", bind_before },
	{ "bind-suffix-before", bind_suffix_before },
	{ "bind-volume-before", bind_volume_before },
	{ "bind-rootfs", bind_rootfs },
	{ "bind-root", bind_root },
	{ "bind-volume", bind_volume },
	{ "userns-bind", userns_bind },
	{ "detached", detached },
	{ "detached-volume", detached_volume },
	{ "move-detached", move_detached },
	{ "move-attached", move_attached },
	{ "move-old", move_old },
	{ "overlay-lower", overlay_lower },
	{ "overlay-upper", overlay_upper },
	{ "overlay-new-api", overlay_new_api },
	{ "fuse-passthrough", fuse_passthrough },
	{ "overmount", overmount },
	{ "overmount-above", overmount_above },
	{ "tmpfs-neighbour", tmpfs_neighbour },
	{ "tmpfs-new-api", tmpfs_new_api },
	{ "pivot-root", by_pivot_root },
	{ "lazy-umount", lazy_umount },
	{ "deep", deep },
	{ "shallow", shallow },
	{ "memfd-name", memfd_name },
	{ "exec-path", exec_path },
	{ "exec-neighbour", exec_neighbour },
	{ "exec-fd", exec_fd },
	{ "truncate-path", truncate_path },
	{ "tmpfile-link", tmpfile_link },
	{ "detached-unlink", detached_unlink },
	{ "rename-neighbour", rename_neighbour },
	{ "rename-file", rename_file },
	{ "rename-exchange", rename_exchange },
	{ "rename-onto", rename_onto },
	{ "rename-parent", rename_parent },
	{ "rename-grandparent", rename_grandparent },
};

static int dig(const char *top, int levels)
{
	int fd = (mkdir(top, 0755), open(top, O_PATH));

	for (int i = 0; i < levels && fd >= 0; i++) {
		mkdirat(fd, "d", 0755);
		int next = openat(fd, "d", O_PATH);
		close(fd);
		fd = next;
	}
	int file = openat(fd, "secret", O_WRONLY | O_CREAT, 0644);
	if (file < 0 || write(file, SECRET, strlen(SECRET)) < 0) perror(top), exit(2);
	close(file);
	return fd;
}

static void copy(const char *from, const char *to)
{
	static char buffer[1 << 20];
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0755);
	ssize_t n;

	if (in < 0 || out < 0) perror(to), exit(2);
	while ((n = read(in, buffer, sizeof buffer)) > 0)
		if (write(out, buffer, n) != n) perror(to), exit(2);
	close(in), close(out);
}

static void lay_out(void)
{
	const char *dirs[] = { "/open",
			       "/protected",
			       "/sealed",
			       "/above",
			       "/above/parent",
			       "/above/parent/deep",
			       "/over",
			       "/over/parent",
			       "/over/parent/deep",
			       "/open/mnt",
			       "/open/scratch",
			       "/open/bound",
			       "/open/bound-volume",
			       "/volume/upper",
			       "/volume/work" };
	const char *files[] = {
		"/open/secret",
		"/open/movable",
		"/protected/secret",
		"/protected/movable",
		"/protected/deleted",
		"/protected/exchange",
		"/above/parent/deep/secret",
		"/over/parent/deep/secret",
		"/volume/secret",
		"/volume/upper/secret",
		"/sealed/removable",
		"/sealed/truncated",
		"/open/replacement",
	};
	char path[300] = "/protected/";

	umask(0);
	for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
		mkdir(dirs[i], 0755);
	for (size_t i = 0; i < sizeof files / sizeof *files; i++)
		put(files[i], SECRET, 0644);
	put("/sealed/replaced", "old", 0644);
	if (mknod("/open/fuse", S_IFCHR | 0600, makedev(10, 229))) perror("fuse"), exit(2);
	put("/open/exchange", "plain", 0644);
	memset(path + strlen(path), 'l', 255);
	put(path, SECRET, 0644);
	copy("/proc/self/exe", "/protected/tool");
	copy("/proc/self/exe", "/open/tool");
	deep_fd = dig("/open/deep", DEEP);
	shallow_fd = dig("/open/shallow", DEEP / 4);
	if (mount("/protected", "/open/bound", NULL, MS_BIND, NULL)) perror("bind"), exit(2);
	put("/open/a.hidden", SECRET, 0644);
	put("/open/bound-file", "", 0644);
	if (mount("/open/a.hidden", "/open/bound-file", NULL, MS_BIND, NULL))
		perror("bind file"), exit(2);
	if (mount("/volume", "/open/bound-volume", NULL, MS_BIND, NULL))
		perror("bind volume"), exit(2);
	early_fd = open("/protected/secret", O_RDONLY | O_CLOEXEC);
	early_path_fd = open("/protected/secret", O_PATH | O_CLOEXEC);
	early_dir = open("/protected", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	early_volume_dir = open("/volume", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "exec") == 0) return 42;
	(void)argv;
	setvbuf(stdout, NULL, _IOLBF, 0);
	lay_out();
	puts("ready");
	if (getchar() == EOF) return 3;
	for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
		int status;
		pid_t child = fork();

		if (child == 0) _exit(attempts[i].run());
		waitpid(child, &status, 0);
		int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
		if (code == LANDED)
			printf("%s landed\n", attempts[i].name);
		else if (code == EPERM || code == EACCES)
			printf("%s refused\n", attempts[i].name);
		else
			printf("%s failed %d\n", attempts[i].name, code);
	}
	puts("done");
	return 0;
}
