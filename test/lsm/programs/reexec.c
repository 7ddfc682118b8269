// SPDX-License-Identifier: Apache-2.0
/* A runtime that runs its own binary inside a container: `reexec <cgroup> <root> /proc/self/exe
 * <path>` enters the container like contain.c and runs /proc/self/exe there. That opens <path>
 * and prints the outcome. Linked dynamically, it loads the container's libraries. */
#define main contain
#include "contain.c"
#undef main

#include <errno.h>
#include <string.h>

int main(int argc, char **argv)
{
	int fd;

	if (strcmp(argv[0], "/proc/self/exe")) return contain(argc, argv);
	fd = open(argv[1], O_RDONLY);
	printf("open %s: %s\n", argv[1], fd < 0 ? strerrorname_np(errno) : "ok");
	return 0;
}
