// Operations that policies do not cover, or cover in an unexpected way:
// `slip-ops <operation> [word…]`. Prints `landed`, or `<step>: <errno>` for the failed step.
//
// selfmem			overwrites its own read-only code by /proc/self/mem, and runs it
// elsewhere <file> [copy]	enters the mount namespace of process 1, with `copy` then a new copy of it; writes the file
// pose <program> <file>	sets <program> as its executable, prints the target of /proc/self/exe, then reads the file
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "steps.h"

static __attribute__((noinline)) int answer(void)
{
	__asm__ volatile("");
	return 1;
}

static int write_own_code(void)
{
#if defined(__x86_64__)
	static const unsigned char code[] = { 0xb8, 7, 0, 0, 0, 0xc3 }; // mov eax, 7; ret
#else
	static const unsigned int code[] = { 0x528000e0, 0xd65f03c0 }; // mov w0, #7; ret
#endif
	int (*volatile written)(void) = answer;
	int fd = must(open("/proc/self/mem", O_RDWR), "open");

	must(pwrite(fd, code, sizeof code, (off_t)(unsigned long)answer), "write");
	__builtin___clear_cache((char *)answer, (char *)answer + sizeof code);
	return written() == 7 ? landed() : 1;
}

static int elsewhere(const char *file, int copy)
{
	must(setns(must(open("/proc/1/ns/mnt", O_RDONLY), "open"), CLONE_NEWNS), "setns");
	if (copy) must(unshare(CLONE_NEWNS), "unshare");
	must(write(must(open(file, O_WRONLY | O_CREAT, 0644), "open the file"), "owned\n", 6),
	     "write");
	return landed();
}

// The kernel changes a process's executable only if no mapping of the old one is left. So each
// mapping of it, including the running code, is replaced by memory with the same content.
static void move_to_memory(void)
{
	char line[512], own[256] = "";
	FILE *maps = fopen("/proc/self/maps", "r");
	struct {
		unsigned long from, to;
		int protection;
	} found[16];
	int count = 0;

	must(readlink("/proc/self/exe", own, sizeof own - 1), "exe");
	while (maps && fgets(line, sizeof line, maps)) {
		char rights[5];

		if (!strstr(line, own) || count == 16) continue;
		if (sscanf(line, "%lx-%lx %4s", &found[count].from, &found[count].to, rights) != 3)
			continue;
		found[count++].protection = PROT_READ | (rights[1] == 'w' ? PROT_WRITE : 0) |
					    (rights[2] == 'x' ? PROT_EXEC : 0);
	}
	if (maps) fclose(maps);
	for (int i = 0; i < count; i++) {
		size_t length = found[i].to - found[i].from;
		void *fresh = mmap(NULL, length, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (fresh == MAP_FAILED) must(-1, "memory");
		memcpy(fresh, (void *)found[i].from, length);
		must(mprotect(fresh, length, found[i].protection), "protect");
		if (mremap(fresh, length, length, MREMAP_MAYMOVE | MREMAP_FIXED,
			   (void *)found[i].from) == MAP_FAILED)
			must(-1, "move");
	}
}

static int pose(const char *program, const char *file)
{
	char shown[256] = "", text[16];
	int fd = must(open(program, O_RDONLY), "open the program");

	move_to_memory();
	must(prctl(PR_SET_MM, PR_SET_MM_EXE_FILE, fd, 0, 0), "pose");
	must(readlink("/proc/self/exe", shown, sizeof shown - 1), "exe");
	puts(shown);
	must(read(must(open(file, O_RDONLY), "open"), text, sizeof text), "read");
	return landed();
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	if (argc == 2 && !strcmp(argv[1], "selfmem")) return write_own_code();
	if (argc >= 3 && !strcmp(argv[1], "elsewhere")) return elsewhere(argv[2], argc == 4);
	if (argc == 4 && !strcmp(argv[1], "pose")) return pose(argv[2], argv[3]);
	return 2;
}
