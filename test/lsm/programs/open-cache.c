// SPDX-License-Identifier: Apache-2.0
/*
 * Changes what a name leads to between two opens of the same object, and compares each open with the
 * name that the object then has.
 *
 *   open-cache serve			in the pod, with a child that serves too (its twin): opens what is asked for
 *   open-cache try <file>		opens it; the exit code is the error
 *   open-cache attack <pid> <rounds> <kind>…	on the host: enters the mount namespace of that server.
 *					With TWIN in the environment, asks the twin
 *
 * Both share a page in /dev/shm and take turns. A policy denies reading below /sealed and
 * /dev/shm/sealed, names that end in .hidden, writing to /pub/w, and reading /pub/by to /bin/other. Every object is opened twice in each state, by a
 * descriptor from before (O_PATH) and by its name: the second open may come from the cache.
 * Prints `<kind> <opens> <refused> <wrong>` for each kind.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "setup.h"

#define PAGE_FILE "/dev/shm/turns"
#define TWIN_FILE "/dev/shm/twin"
#define OTHER	  "/bin/other"
#define HELD	  256
#define MANY	  64
#define TIMES	  2
#define RACES	  5000
#define PAUSES	  64
#define SPINS	  5000

enum ask { OPEN, OPEN_WRITE, REOPEN, OPEN_AT, OPEN_AS_OTHER, ENTER, HOLD, DROP, RACE };

struct turns {
	atomic_uint turn; /* odd: the server's */
	enum ask ask;
	int held;
	int result;
	atomic_uint phase; /* of a race: odd while the object moves; bit 1: it is sealed */
	unsigned long opens, refused, wrong; /* of a race */
	char path[256];
};

static struct turns *turns;
static unsigned long opens, refused, wrong;

static struct turns *map_page(const char *file, int flags)
{
	int fd = open(file, O_RDWR | flags, 0600);

	must(fd, file);
	must(ftruncate(fd, sizeof(struct turns)), "ftruncate");
	void *page = mmap(NULL, sizeof(struct turns), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(page == MAP_FAILED ? -1 : 0, "mmap");
	return page;
}

static void await_turn(unsigned int odd)
{
	for (int tries = 0; (atomic_load(&turns->turn) & 1) != odd; tries++)
		if (tries < SPINS)
			sched_yield();
		else
			usleep(1000);
}

/* ---- the server ---- */

static int try_open(int dir, const char *path, int flags)
{
	int fd = openat(dir, path, flags | O_NONBLOCK);

	if (fd < 0) return errno;
	close(fd);
	return 0;
}

static int try_as_other(const char *path)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		execl(OTHER, OTHER, "try", path, NULL);
		_exit(errno);
	}
	must(waitpid(child, &status, 0), "waitpid");
	return WEXITSTATUS(status);
}

/* Judges an open if the object did not move meanwhile. */
static void race(const char *name)
{
	for (int i = 0; i < RACES; i++) {
		unsigned int phase = atomic_load(&turns->phase);
		int result = try_open(AT_FDCWD, name, O_RDONLY);

		turns->opens++;
		turns->refused += result == EPERM;
		if (phase & 1 || phase != atomic_load(&turns->phase)) continue;
		turns->wrong += result != (phase & 2 ? EPERM : 0);
	}
}

static _Noreturn void serve(void)
{
	static int held[HELD];
	char name[64];

	turns = map_page(TWIN_FILE, O_CREAT);
	if (fork()) {
		turns = map_page(PAGE_FILE, O_CREAT);
		puts("ready");
		fflush(stdout);
	} else {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	}
	for (;;) {
		await_turn(1);
		int *slot = &held[turns->held % HELD];
		turns->result = 0;
		switch (turns->ask) {
		case OPEN:
			turns->result = try_open(AT_FDCWD, turns->path, O_RDONLY);
			break;
		case OPEN_WRITE:
			turns->result = try_open(AT_FDCWD, turns->path, O_WRONLY);
			break;
		case OPEN_AS_OTHER:
			turns->result = try_as_other(turns->path);
			break;
		case ENTER:
			enter(turns->path);
			break;
		case REOPEN:
			snprintf(name, sizeof name, "/proc/self/fd/%d", *slot);
			turns->result = try_open(AT_FDCWD, name, O_RDONLY);
			break;
		case OPEN_AT:
			turns->result = try_open(*slot, turns->path, O_RDONLY);
			break;
		case HOLD:
			*slot = open(turns->path, O_PATH | O_CLOEXEC);
			turns->result = *slot < 0 ? errno : 0;
			break;
		case DROP:
			close(*slot);
			break;
		case RACE:
			snprintf(name, sizeof name, "/proc/self/fd/%d", *slot);
			race(name);
			break;
		}
		atomic_fetch_add(&turns->turn, 1);
	}
}

/* ---- the attacker ---- */

static int ask(enum ask what, int held, const char *path)
{
	turns->ask = what;
	turns->held = held;
	snprintf(turns->path, sizeof turns->path, "%s", path);
	atomic_fetch_add(&turns->turn, 1);
	await_turn(0);
	return turns->result;
}

static void hold(int held, const char *path)
{
	errno = ask(HOLD, held, path);
	must(errno ? -1 : 0, path);
}

static void expect(enum ask what, int held, const char *path, bool is_sealed)
{
	for (int i = 0; i < TIMES; i++) {
		int result = ask(what, held, path);

		opens++;
		refused += result == EPERM;
		if (result == (is_sealed ? EPERM : 0)) continue;
		if (!wrong++) fprintf(stderr, "%s: %d\n", path, result);
	}
}

static void move(const char *from, const char *to, unsigned int flags)
{
	must(syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags), from);
}

static void make(const char *path)
{
	int fd = open(path, O_CREAT | O_WRONLY, 0644);

	must(fd, path);
	close(fd);
}

static void make_dir(const char *path)
{
	if (mkdir(path, 0755) && errno != EEXIST) must(-1, path);
}

static void bind_mount(const char *from, const char *to, unsigned long flags)
{
	must(mount(from, to, NULL, flags, NULL), to);
}

/* An object, held as 0, moves into the sealed part and back, by a rename of `from`. */
static void there_and_back(const char *from, const char *to, const char *inside)
{
	char before[256], after[256];

	snprintf(before, sizeof before, "%s%s", from, inside);
	snprintf(after, sizeof after, "%s%s", to, inside);
	hold(0, before);
	expect(REOPEN, 0, "", false);
	move(from, to, 0);
	expect(REOPEN, 0, "", true);
	expect(OPEN, 0, after, true);
	move(to, from, 0);
	expect(REOPEN, 0, "", false);
	expect(OPEN, 0, before, false);
	ask(DROP, 0, "");
}

static void rename_file(void) { there_and_back("/pub/f", "/sealed/f", ""); }
static void rename_suffix(void) { there_and_back("/pub/f", "/pub/f.hidden", ""); }
static void rename_parent(void) { there_and_back("/pub/g/d", "/sealed/d", "/f"); }
static void rename_ancestor(void) { there_and_back("/pub/g", "/sealed/g", "/d/f"); }
static void rename_tmpfs(void) { there_and_back("/dev/shm/pub/d", "/dev/shm/sealed/d", "/f"); }

static void exchange(void)
{
	hold(0, "/pub/f");
	hold(1, "/sealed/s");
	for (int sealed = 0; sealed < 2; sealed++) {
		expect(REOPEN, 0, "", sealed);
		expect(REOPEN, 1, "", !sealed);
		move("/pub/f", "/sealed/s", RENAME_EXCHANGE);
	}
	expect(REOPEN, 0, "", false);
	ask(DROP, 0, "");
	ask(DROP, 1, "");
}

static void hard_links(void)
{
	hold(0, "/pub/f");
	expect(REOPEN, 0, "", false);
	must(link("/pub/f", "/sealed/l"), "link");
	expect(OPEN, 0, "/sealed/l", true);
	expect(REOPEN, 0, "", false);
	must(unlink("/sealed/l"), "unlink");
	expect(REOPEN, 0, "", false);
	ask(DROP, 0, "");
}

/* New names at addresses of dentries that had other names: nothing is held. */
static void again_in(const char *open_dir, const char *sealed_dir)
{
	char path[256];

	for (int sealed = 0; sealed < 2; sealed++) {
		const char *dir = sealed ? sealed_dir : open_dir;

		for (int i = 0; i < MANY; i++) {
			snprintf(path, sizeof path, "%s/again-%d", dir, i);
			make(path);
			expect(OPEN, 0, path, sealed);
		}
		for (int i = 0; i < MANY; i++) {
			snprintf(path, sizeof path, "%s/again-%d", dir, i);
			must(unlink(path), path);
		}
		/* waits until the kernel has freed them */
		must(syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0), "membarrier");
	}
}

static void recreate(void) { again_in("/dev/shm/pub", "/dev/shm/sealed"); }
static void recreate_overlay(void) { again_in("/pub", "/sealed"); }

static void reclaim(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);

	must(fd, "drop_caches");
	expect(OPEN, 0, "/pub/g/d/f", false);
	must(write(fd, "2", 1), "drop_caches");
	close(fd);
	expect(OPEN, 0, "/sealed/s", true);
	expect(OPEN, 0, "/pub/g/d/f", false);
}

static void move_a_mount(void)
{
	bind_mount("/src", "/pub/m", MS_BIND);
	hold(0, "/pub/m");
	expect(OPEN_AT, 0, "f", false);
	bind_mount("/pub/m", "/sealed/m", MS_MOVE);
	expect(OPEN_AT, 0, "f", true);
	bind_mount("/sealed/m", "/pub/m", MS_MOVE);
	expect(OPEN_AT, 0, "f", false);
	must(umount2("/pub/m", MNT_DETACH), "umount");
	expect(OPEN_AT, 0, "f", true); /* detached: decided as a bind mount */
	ask(DROP, 0, "");
}

/* A mount below another one that moves. */
static void move_upper_mount(void)
{
	bind_mount("/dev/shm/src", "/pub/m", MS_BIND);
	bind_mount("/src", "/pub/m/inner", MS_BIND);
	hold(0, "/pub/m/inner/f");
	expect(REOPEN, 0, "", false);
	bind_mount("/pub/m", "/sealed/m", MS_MOVE);
	expect(REOPEN, 0, "", true);
	bind_mount("/sealed/m", "/pub/m", MS_MOVE);
	expect(REOPEN, 0, "", false);
	ask(DROP, 0, "");
	must(umount("/pub/m/inner"), "umount inner");
	must(umount("/pub/m"), "umount");
}

static void over_mount(void)
{
	expect(OPEN, 0, "/pub/g/d/f", false);
	bind_mount("/sealed", "/pub/g", MS_BIND);
	expect(OPEN, 0, "/pub/g/s", true);
	must(umount("/pub/g"), "umount");
	expect(OPEN, 0, "/pub/g/d/f", false);
}

static void propagate(void)
{
	bind_mount("/dev/shm/src", "/pub/m", MS_BIND);
	bind_mount(NULL, "/pub/m", MS_SHARED);
	bind_mount("/pub/m", "/sealed/m", MS_BIND);
	bind_mount("/src", "/pub/m/inner", MS_BIND);
	expect(OPEN, 0, "/pub/m/inner/f", false);
	expect(OPEN, 0, "/sealed/m/inner/f", true);
	must(umount("/sealed/m/inner"), "umount inner");
	must(umount("/sealed/m"), "umount sealed");
	must(umount("/pub/m"), "umount");
}

/* The root becomes /pub/m, in which another directory is `/sealed`. */
static void pivot(void)
{
	bind_mount("/dev/shm/other", "/pub/m", MS_BIND);
	hold(0, "/pub/m/sealed/f");
	expect(REOPEN, 0, "", false);
	must(syscall(SYS_pivot_root, "/pub/m", "/pub/m/old"), "pivot_root");
	expect(OPEN, 0, "/sealed/f", true);
	must(syscall(SYS_pivot_root, "/old", "/old/pub/m"), "pivot_root back");
	expect(OPEN, 0, "/pub/m/sealed/f", false);
	ask(DROP, 0, "");
	must(umount("/pub/m"), "umount");
}

/* The kernel copies the file to the upper layer: another inode, the same name. */
static void copy_up(void)
{
	expect(OPEN, 0, "/pub/lower", false);
	must(chmod("/pub/lower", 0640), "chmod");
	expect(OPEN, 0, "/pub/lower", false);
	expect(OPEN, 0, "/sealed/lower", true);
}

/* One file in two places at once. */
static void two_mounts(void)
{
	bind_mount("/src", "/pub/m", MS_BIND);
	bind_mount("/src", "/sealed/m", MS_BIND);
	expect(OPEN, 0, "/pub/m/f", false);
	expect(OPEN, 0, "/sealed/m/f", true);
	must(umount("/sealed/m"), "umount sealed");
	must(umount("/pub/m"), "umount");
}

static void other_operation(void)
{
	expect(OPEN, 0, "/pub/w", false);
	expect(OPEN_WRITE, 0, "/pub/w", true);
}

static void other_program(void)
{
	expect(OPEN, 0, "/pub/by", false);
	expect(OPEN_AS_OTHER, 0, "/pub/by", true);
}

/* Nothing changes: what changed before is seen in what is refused. */
static void look(void) { expect(OPEN, 0, "/pub/f", false); }

/* The server goes on in the mount namespace of another pod. */
static void look_from_there(void)
{
	ask(ENTER, 0, getenv("THERE"));
	expect(OPEN, 0, "/pub/f", true);
}

/* Moves an ancestor at any moment of the server's opens. */
static void race_rename(void)
{
	static const char *const AT[] = { "/pub/g", "/sealed/g" };
	unsigned int moved = 0;

	hold(0, "/pub/g/d/f");
	turns->phase = turns->opens = turns->refused = turns->wrong = 0;
	turns->ask = RACE;
	turns->held = 0;
	atomic_fetch_add(&turns->turn, 1);
	while (atomic_load(&turns->turn) & 1 || moved & 1) {
		atomic_fetch_add(&turns->phase, 1);
		move(AT[moved & 1], AT[~moved & 1], 0);
		atomic_fetch_add(&turns->phase, 1);
		moved++;
		for (int pause = rand() % PAUSES; pause; pause--)
			sched_yield();
	}
	opens += turns->opens;
	refused += turns->refused;
	wrong += turns->wrong;
	ask(DROP, 0, "");
}

static const struct {
	const char *name;
	void (*run)(void);
} KINDS[] = {
	{ "rename-file", rename_file },
	{ "rename-suffix", rename_suffix },
	{ "rename-parent", rename_parent },
	{ "rename-ancestor", rename_ancestor },
	{ "rename-tmpfs", rename_tmpfs },
	{ "exchange", exchange },
	{ "hard-links", hard_links },
	{ "recreate", recreate },
	{ "recreate-overlay", recreate_overlay },
	{ "reclaim", reclaim },
	{ "move-mount", move_a_mount },
	{ "move-upper-mount", move_upper_mount },
	{ "over-mount", over_mount },
	{ "propagate", propagate },
	{ "pivot", pivot },
	{ "copy-up", copy_up },
	{ "two-mounts", two_mounts },
	{ "other-operation", other_operation },
	{ "other-program", other_program },
	{ "race", race_rename },
	/* of the test alone */
	{ "look", look },
	{ "look-from-there", look_from_there },
};
#define ALL 20 /* without those of the test */

static void prepare(void)
{
	static const char *const DIRS[] = {
		"/pub",
		"/sealed",
		"/src",
		"/pub/m",
		"/sealed/m",
		"/pub/g",
		"/pub/g/d",
		"/dev/shm/pub",
		"/dev/shm/pub/d",
		"/dev/shm/sealed",
		"/dev/shm/src",
		"/dev/shm/src/inner",
		"/dev/shm/other",
		"/dev/shm/other/old",
		"/dev/shm/other/sealed",
	};
	static const char *const FILES[] = {
		"/pub/f",	    "/pub/w",	      "/pub/by",
		"/sealed/s",	    "/src/f",	      "/pub/g/d/f",
		"/dev/shm/pub/d/f", "/dev/shm/src/f", "/dev/shm/other/sealed/f",
	};

	for (unsigned int i = 0; i < sizeof DIRS / sizeof *DIRS; i++)
		make_dir(DIRS[i]);
	for (unsigned int i = 0; i < sizeof FILES / sizeof *FILES; i++)
		make(FILES[i]);
}

static void attack(const char *kind, int rounds)
{
	for (unsigned int i = 0; i < sizeof KINDS / sizeof *KINDS; i++) {
		if (strcmp(kind, "all") ? strcmp(kind, KINDS[i].name) : i >= ALL) continue;
		opens = refused = wrong = 0;
		for (int round = 0; round < rounds; round++)
			KINDS[i].run();
		printf("%s %lu %lu %lu\n", KINDS[i].name, opens, refused, wrong);
	}
}

int main(int argc, char **argv)
{
	if (argc == 2) serve();
	if (argc == 3) return try_open(AT_FDCWD, argv[2], O_RDONLY);
	if (argc < 5) return 2;
	enter(argv[2]);
	turns = map_page(getenv("TWIN") ? TWIN_FILE : PAGE_FILE, 0);
	prepare();
	for (int i = 4; i < argc; i++)
		attack(argv[i], atoi(argv[3]));
	return 0;
}
