/*
 * Whether the collector is expected back. It writes the seconds since the node's boot into a small
 * file beside the socket, when it starts and every ten seconds. The file ends with the node, as /run
 * does. Once the collector was removed, the file becomes old, and pods do not wait for long.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "cni.h"

#define FILE_NAME "cni-collector-seen"
/* The kubelet waits up to five minutes before it restarts a container that keeps failing. */
#define EXPECTED_S 360

bool collector_is_expected(const char *socket_path)
{
	char path[256], file[sizeof(path) + sizeof(FILE_NAME) + 1], text[24] = "";
	struct timespec now;

	if (snprintf(path, sizeof(path), "%s", socket_path) >= (int)sizeof(path))
		return false;
	snprintf(file, sizeof(file), "%s/%s", dirname(path), FILE_NAME);
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return false;
	ssize_t length = read(fd, text, sizeof(text) - 1);
	close(fd);
	clock_gettime(CLOCK_BOOTTIME, &now);
	char *end = text;
	errno = 0;
	long long age = (long long)now.tv_sec - strtoll(text, &end, 10);
	return length > 0 && errno == 0 && *end == '\n' && age >= 0 && age <= EXPECTED_S;
}
