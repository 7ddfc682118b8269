// SPDX-License-Identifier: Apache-2.0
/*
 * Runs plans of operations in several tasks at once, so that each outcome can be compared with a
 * model.
 *
 * Reads lines: `<task> <kind> <word>…` adds an operation to a task's list. `go <repeats>` runs all
 * lists, each in a separate process; they start together. Then it prints `<task>: <errno>…` for each
 * task, with an errno per operation, and `done`. `-` is an unfinished operation (the task was
 * killed), `!` one with a different outcome when repeated.
 * An operation causes only the checks of its own object; it uses descriptors opened before `ready`.
 *   read write chmod <path> · dir <path> (mkdir, then rmdir) · map <index of FILES> · socket <family> <type> <protocol>
 *   connect send <address> <port> (UDP) · name <abstract name> (a datagram) · hostname · boot · account · bpf
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define TASKS	   8
#define OPERATIONS 256
#define WORDS	   4
#define NOT_ENDED  255
#define DIFFERED   254

static const char *FILES[] = { "/data/a/lib.so", "/data/b/lib.so", "/data/b/deep/x.key" };
static const char *FOLDERS[] = { "/dev/shm/a", "/dev/shm/b", "/dev/shm/b/deep" };
static const char *WRITABLE[] = { "/dev/shm/a/f.key", "/dev/shm/a/f.txt", "/dev/shm/b/f.key",
				  "/dev/shm/b/deep/f.txt" };
static const char *NAMES[] = { "stress-a", "stress-b" };
#define COUNT(list) (sizeof(list) / sizeof(*(list)))

struct operation {
	char text[96];
	char *words[WORDS];
};

struct shared {
	atomic_int here, go;
	unsigned char result[TASKS][OPERATIONS];
};

static struct operation plan[TASKS][OPERATIONS];
static int planned[TASKS];
static int connected[TASKS], unconnected[TASKS], sender[TASKS], files[COUNT(FILES)],
	servers[COUNT(NAMES)];
static struct shared *shared;

static int is(const char *word, const char *text) { return strcmp(word, text) == 0; }

static socklen_t name_abstract(struct sockaddr_un *to, const char *name)
{
	memset(to, 0, sizeof(*to));
	to->sun_family = AF_UNIX;
	strcpy(to->sun_path + 1, name);
	return offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name);
}

static void prepare(void)
{
	struct sockaddr_un name;

	for (size_t i = 0; i < COUNT(FOLDERS); i++)
		mkdir(FOLDERS[i], 0755);
	for (size_t i = 0; i < COUNT(WRITABLE); i++)
		close(open(WRITABLE[i], O_WRONLY | O_CREAT, 0600));
	for (size_t i = 0; i < COUNT(FILES); i++)
		files[i] = open(FILES[i], O_RDONLY);
	for (size_t i = 0; i < COUNT(NAMES); i++) {
		servers[i] = socket(AF_UNIX, SOCK_DGRAM, 0);
		if (bind(servers[i], (void *)&name, name_abstract(&name, NAMES[i]))) exit(2);
	}
	for (int i = 0; i < TASKS; i++) {
		connected[i] = socket(AF_INET, SOCK_DGRAM, 0);
		unconnected[i] = socket(AF_INET, SOCK_DGRAM, 0);
		sender[i] = socket(AF_UNIX, SOCK_DGRAM, 0);
	}
}

static int closed(int fd) { return fd < 0 ? -1 : close(fd); }

static int map(int file)
{
	void *at = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0);

	return at == MAP_FAILED ? -1 : munmap(at, 4096);
}

static int to_internet(int task, char **words)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(atoi(words[2])) };

	inet_pton(AF_INET, words[1], &to.sin_addr);
	if (is(words[0], "connect")) return connect(connected[task], (void *)&to, sizeof(to));
	return sendto(unconnected[task], "x", 1, 0, (void *)&to, sizeof(to));
}

/* Received at once, so that no queue is ever full. */
static int to_name(int task, const char *name)
{
	struct sockaddr_un to;
	socklen_t length = name_abstract(&to, name);
	int result = sendto(sender[task], "x", 1, MSG_DONTWAIT, (void *)&to, length), code = errno;
	char byte;

	for (size_t i = 0; i < COUNT(NAMES); i++)
		recv(servers[i], &byte, 1, MSG_DONTWAIT);
	errno = code;
	return result;
}

static int run(int task, char **words)
{
	const char *kind = words[0];

	if (is(kind, "read")) return closed(open(words[1], O_RDONLY));
	if (is(kind, "write")) return closed(open(words[1], O_WRONLY));
	if (is(kind, "chmod")) return chmod(words[1], 0600);
	if (is(kind, "dir")) return mkdir(words[1], 0700) ? -1 : rmdir(words[1]);
	if (is(kind, "map")) return map(files[atoi(words[1])]);
	if (is(kind, "socket"))
		return closed(socket(atoi(words[1]), atoi(words[2]), atoi(words[3])));
	if (is(kind, "connect") || is(kind, "send")) return to_internet(task, words);
	if (is(kind, "name")) return to_name(task, words[1]);
	if (is(kind, "hostname")) return sethostname("k", 1);
	if (is(kind, "boot")) return syscall(SYS_reboot, 0, 0, 0, NULL);
	if (is(kind, "account")) return syscall(SYS_acct, NULL);
	if (is(kind, "bpf")) return syscall(SYS_bpf, 9999, NULL, 0);
	_exit(2);
}

static void work(int task, int repeats)
{
	atomic_fetch_add(&shared->here, 1);
	while (!shared->go)
		usleep(100);
	for (int round = 0; round < repeats; round++) {
		for (int i = 0; i < planned[task]; i++) {
			unsigned char *result = &shared->result[task][i];
			int code = run(task, plan[task][i].words) < 0 ? errno : 0;

			/* a directory that could not be removed still exists the next time */
			if (is(plan[task][i].words[0], "dir") && code == EEXIST) code = EPERM;
			*result = *result == NOT_ENDED || *result == code ? code : DIFFERED;
		}
	}
	_exit(0);
}

static void print(int task)
{
	printf("%d:", task);
	for (int i = 0; i < planned[task]; i++) {
		unsigned char code = shared->result[task][i];

		if (code == NOT_ENDED || code == DIFFERED)
			printf(" %c", code == NOT_ENDED ? '-' : '!');
		else
			printf(" %d", code);
	}
	putchar('\n');
}

static void go(int repeats)
{
	int tasks = 0;

	memset(shared->result, NOT_ENDED, sizeof(shared->result));
	shared->here = shared->go = 0;
	while (tasks < TASKS && planned[tasks]) {
		if (fork() == 0) work(tasks, repeats);
		tasks++;
	}
	while (shared->here < tasks)
		usleep(100);
	shared->go = 1;
	while (wait(NULL) > 0)
		;
	for (int i = 0; i < tasks; i++)
		print(i);
	memset(planned, 0, sizeof(planned));
	puts("done");
}

static void add(char *line)
{
	char *task = strtok(line, " \n"), *rest = strtok(NULL, "\n");
	struct operation *operation = &plan[atoi(task)][planned[atoi(task)]++];
	int count = 0;

	memset(operation, 0, sizeof(*operation));
	strncpy(operation->text, rest, sizeof(operation->text) - 1);
	for (char *word = strtok(operation->text, " "); word && count < WORDS;
	     word = strtok(NULL, " "))
		operation->words[count++] = word;
}

int main(void)
{
	char line[128];

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (shared == MAP_FAILED) return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	prepare();
	puts("ready");
	while (fgets(line, sizeof(line), stdin)) {
		if (strncmp(line, "go ", 3) == 0)
			go(atoi(line + 3));
		else
			add(line);
	}
	return 0;
}
