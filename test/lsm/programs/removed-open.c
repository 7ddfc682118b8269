// SPDX-License-Identifier: Apache-2.0
/*
 * Removes files while a descriptor without access (O_PATH) holds them: `removed-open <directory>
 * <way>,<name>…`. Prints `<way>,<name> <errno>`, or `<way>,<name> gone`, or if the kernel gave the
 * file another name, `<way>,<name> kept, <how opening it by that name ended>`.
 *
 * unlink	by unlink
 * replace	by a rename of a new file of the directory above over it
 * closed	by unlink, without a descriptor
 * rmdir, replace-dir	of a directory, by rmdir or by a rename of a new one over it
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int is(const char *word, const char *text) { return strcmp(word, text) == 0; }

static int remove_by(const char *way, const char *name)
{
	if (is(way, "rmdir")) return rmdir(name);
	if (is(way, "replace-dir")) return mkdir("../new", 0755) ? -1 : rename("../new", name);
	if (!is(way, "replace")) return unlink(name);
	close(open("../new", O_WRONLY | O_CREAT, 0644));
	return rename("../new", name);
}

static const char *after(int held)
{
	static char text[64];
	char link[32], path[4096];
	ssize_t length;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", held);
	length = readlink(link, path, sizeof(path) - 1);
	if (length < 0) return "gone";
	path[length] = 0;
	if (strstr(path, " (deleted)")) return "gone";
	snprintf(text, sizeof(text), "kept, %s",
		 open(path, O_RDONLY) < 0 ? strerrorname_np(errno) : "ok");
	return text;
}

int main(int argc, char **argv)
{
	if (argc < 2 || chdir(argv[1])) return 2;
	for (int i = 2; i < argc; i++) {
		char *way = strdup(argv[i]), *name = strchr(way, ',');
		int held = -1;

		if (!name) return 2;
		*name++ = 0;
		if (is(way, "unlink") || is(way, "replace")) held = open(name, O_PATH);
		printf("%s %s\n", argv[i],
		       remove_by(way, name) ? strerrorname_np(errno) : after(held));
		unlink("../new");
		rmdir("../new");
		close_range(STDERR_FILENO + 1, ~0U, 0);
	}
	return 0;
}
