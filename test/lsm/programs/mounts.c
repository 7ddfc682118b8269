// SPDX-License-Identifier: Apache-2.0
/* Several mounts by one process, because each process costs a tenth of a second under emulation:
 * `mounts on (<type> <source> <target> <options>)…`, with `bind` as a possible type, and `mounts
 * off <target>…`, lazily. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

static int fail(const char *target)
{
	fprintf(stderr, "%s: %s\n", target, strerror(errno));
	return 1;
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "off")) {
		for (int i = 2; i < argc; i++)
			if (umount2(argv[i], MNT_DETACH)) return fail(argv[i]);
		return 0;
	}
	if (argc < 2 || strcmp(argv[1], "on") || (argc - 2) % 4) return 2;
	for (int i = 2; i < argc; i += 4) {
		unsigned long flags = strcmp(argv[i], "bind") ? 0 : MS_BIND;

		if (mount(argv[i + 1], argv[i + 2], argv[i], flags, argv[i + 3]))
			return fail(argv[i + 2]);
	}
	return 0;
}
