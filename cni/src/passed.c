/*
 * Counts the pods that started without a guard because the collector did not confirm it. The count
 * lies in one small file beside the socket, so that it also holds while no collector runs; the
 * collector publishes it. It restarts with the node, as /run does.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cni.h"

#define FILE_NAME "cni-passed"
/* Attempts to lock the file, 5 ms apart: a stopped process that holds it must not hold up pods. */
#define LOCK_ATTEMPTS 100

static bool lock(int fd)
{
	for (int i = 0; i < LOCK_ATTEMPTS; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return true;
		if (errno != EWOULDBLOCK && errno != EINTR)
			return false;
		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
	}
	return false;
}

/* The reader splits the line at blanks. */
static void replace_blanks(char *name)
{
	for (; *name != '\0'; name++)
		if ((unsigned char)*name <= ' ')
			*name = '?';
}

/* One line: count, seconds since 1970, namespace/name, reason. */
static void write_line(int fd, const char *args, const char *reason)
{
	char line[1024] = "", namespace[64] = "", name[256] = "";
	unsigned long long count = 0;

	if (pread(fd, line, 24, 0) > 0)
		count = strtoull(line, NULL, 10);
	cni_arg(args, "K8S_POD_NAMESPACE", namespace, sizeof(namespace));
	cni_arg(args, "K8S_POD_NAME", name, sizeof(name));
	replace_blanks(namespace);
	replace_blanks(name);
	int length = snprintf(line, sizeof(line), "%llu %lld %s/%s %s\n", count + 1,
			      (long long)time(NULL), namespace, name, reason);
	if (length >= (int)sizeof(line))
		length = (int)sizeof(line) - 1;
	if (pwrite(fd, line, (size_t)length, 0) != length || ftruncate(fd, length) != 0)
		fprintf(stderr, "bailiff-cni: cannot write %s\n", FILE_NAME);
}

void count_passed(const char *socket_path, const char *args, const char *reason)
{
	char path[256], folder[256];

	if (snprintf(path, sizeof(path), "%s", socket_path) >= (int)sizeof(path))
		return;
	snprintf(folder, sizeof(folder), "%s", dirname(path));
	/* After a boot the collector may not have run yet. */
	mkdir(folder, 0700);
	char file[sizeof(folder) + sizeof(FILE_NAME) + 1];
	snprintf(file, sizeof(file), "%s/%s", folder, FILE_NAME);
	int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (fd < 0 || !lock(fd))
		fprintf(stderr, "bailiff-cni: cannot count a pod without a guard in %s\n", file);
	else
		write_line(fd, args, reason);
	if (fd >= 0)
		close(fd);
}
