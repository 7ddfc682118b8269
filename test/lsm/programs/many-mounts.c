// A file system with many mounts: `many-mounts mount <directory> <count>` mounts the directory that
// often in a user and a mount namespace of its own, prints `mounted` and stays; `many-mounts set
// <file>` sets an extended attribute.
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "steps.h"

#define PLACES 50 /* mounts upon each other are the same number of mounts */

static int mount_often(const char *directory, int count)
{
	char at[64];

	must(unshare(CLONE_NEWUSER | CLONE_NEWNS), "unshare");
	must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "private");
	for (int i = 0; i < count; i++) {
		snprintf(at, sizeof(at), "/tmp/%d", i % PLACES);
		mkdir(at, 0755);
		must(mount(directory, at, NULL, MS_BIND, NULL), "bind");
	}
	puts("mounted");
	pause();
	return 0;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	if (argc == 4 && !strcmp(argv[1], "mount")) return mount_often(argv[2], atoi(argv[3]));
	if (argc != 3) return 2;
	must(setxattr(argv[2], "trusted.bailiff", "1", 1, 0), "setxattr");
	return landed();
}
