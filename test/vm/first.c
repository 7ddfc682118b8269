/* First process of a machine whose kernel has virtio-fs as modules. It loads /00.ko, /01.ko … in
 * this order, mounts the shared root over the initial archive (initrd.ts), and execs the program
 * of `init=` on the kernel's command line. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void require(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "first: %s: %s\n", what, strerror(errno));
	/* The machine ends with its first process. */
	exit(1);
}

int main(void)
{
	char name[16], line[4096], *init = NULL;
	ssize_t bytes;
	int fd;

	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "/%02d.ko", i);
		fd = open(name, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			break;
		require(syscall(SYS_finit_module, fd, "", 0) == 0 || errno == EEXIST, name);
		close(fd);
	}
	mkdir("/proc", 0755);
	require(mount("proc", "/proc", "proc", 0, NULL) == 0, "proc");
	fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	bytes = read(fd, line, sizeof(line) - 1);
	require(bytes > 0, "command line");
	line[bytes] = 0;
	for (char *word = strtok(line, " \n"); word; word = strtok(NULL, " \n"))
		if (!strncmp(word, "init=", 5))
			init = word + 5;
	require(init != NULL, "init=");
	mkdir("/root", 0755);
	require(mount("root", "/root", "virtiofs", MS_RDONLY, NULL) == 0, "root");
	require(mount("dev", "/root/dev", "devtmpfs", 0, NULL) == 0, "devtmpfs");
	require(chdir("/root") == 0 && mount(".", "/", NULL, MS_MOVE, NULL) == 0 &&
			chroot(".") == 0,
		"root over the archive");
	execl(init, init, NULL);
	require(0, init);
	return 1;
}
