// SPDX-License-Identifier: Apache-2.0
/*
 * Opens objects at random while another process changes at random what their names lead to, and
 * compares each open with a model of the names. A failure prints the first open that differs.
 *
 *   open-churn serve <server> [<pid>]	in a pod: opens objects. Server 1 is in a second pod and enters the
 *					mount namespace of server 0, which has this pid
 *   open-churn change <pid> <operations> <seed> <lower> <memory.reclaim> <cgroup.procs>…
 *					on the host: enters that mount namespace and changes names
 *
 * Servers and changer share a page in /dev/shm. `phase` is odd during a change: an open that began or
 * ended in one is counted, not judged. Each pod has one of two policies (enum policy). At `policy
 * <server> <policy>` and `restart` the changer waits for a line. At the end it prints
 * `opens <n> judged <n> refused <of server 0> <of server 1> wrong <n> changes <kind>=<n>…`.
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
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "setup.h"

#define PAGE_FILE     "/dev/shm/churn"
#define SERVERS	      2
#define MAX_OBJECTS   128
#define FOCUS	      4	 /* objects that are opened until the next focus */
#define FOCUS_CHANGES 6	 /* changes of one focus */
#define BURST	      24 /* most opens of a server between two changes */
#define MANY	      8	 /* files that are created again at once */
#define LOWER_FILES   16
#define CGROUPS	      8
#define FIRST_RESTART 100 /* changes before it */

/* SEALED denies reading below sealed and of .hidden, and writing below pub; OPENED the reverse. */
enum policy { SEALED, OPENED, POLICIES };
enum place { ELSEWHERE = 0, PUB = 1, SEAL = 2, HIDDEN = 4, ABSENT = 8 };
static const unsigned int READ_DENIED[POLICIES] = { SEAL | HIDDEN, PUB };
static const unsigned int WRITE_DENIED[POLICIES] = { PUB, SEAL };

/* What has two states. The first ones are renames, in the order of RENAMES. */
enum toggle {
	FILE_NAME,
	SUFFIX,
	ANCESTOR,
	SHM_DIR,
	EXCHANGE,
	LINK,
	RECREATE,
	RECREATE_SHM,
	MOVE_MOUNT,
	OVER_MOUNT,
	NEW_FS,
	PROPAGATE,
	PIVOT,
	LOWER,
	TOGGLES,
	COPY_UP = TOGGLES, /* changes without two states */
	RECLAIM,
	PRESSURE,
	POLICY,
	RESTART,
	MIGRATE,
	CHANGES,
};
static const char *const CHANGE_NAMES[CHANGES] = {
	"rename",	"suffix",     "ancestor", "tmpfs",  "exchange",	 "link",    "recreate",
	"recreate-shm", "move-mount", "over",	  "new-fs", "propagate", "pivot",   "lower",
	"copy-up",	"reclaim",    "pressure", "policy", "restart",	 "migrate",
};
/* One of so many changes; the others are toggles. */
static const struct {
	enum toggle change;
	unsigned int one_of;
} RARE[] = { { RESTART, 3000 }, { RECLAIM, 100 }, { PRESSURE, 100 },
	     { POLICY, 30 },	{ MIGRATE, 30 },  { COPY_UP, 30 } };

struct object {
	const char *path; /* below the root; of a descriptor, when it is opened */
	bool held;
	bool loose; /* another error is as good as a refusal, or as success */
	bool top;   /* in the root that the pivot makes */
	enum toggle toggle;
	unsigned char
		reach[2];     /* by state of the toggle: places of the name that it is reached by */
	unsigned char own[2]; /* of its name in the root file system of the first pod */
};

struct page {
	atomic_uint phase, state, focus, stop, holding;
	atomic_uint policies[SERVERS];
	pid_t pid[SERVERS];
	atomic_ulong opens[SERVERS],
		until[SERVERS]; /* a server pauses when it made as many opens */
	unsigned long judged[SERVERS], refused[SERVERS], wrong[SERVERS];
	char first[SERVERS][160];
};

static struct page *page;
static struct object objects[MAX_OBJECTS];
static unsigned int count;
static unsigned long seed;

static unsigned int below(unsigned int limit)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 16) % limit;
}

static void map_page(void)
{
	int fd = open(PAGE_FILE, O_RDWR | O_CREAT, 0600);

	must(fd, PAGE_FILE);
	must(ftruncate(fd, sizeof(*page)), "ftruncate");
	page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(page == MAP_FAILED ? -1 : 0, "mmap");
	close(fd);
}

/* ---- the model ---- */

static struct object *add(const char *path, enum toggle toggle, int off, int on)
{
	struct object *object = &objects[count++];

	*object = (struct object){ strdup(path), .toggle = toggle, .reach = { off, on },
				   .own = { off, on } };
	return object;
}

static void hold(const char *path, enum toggle toggle, int off, int on)
{
	add(path, toggle, off, on)->held = true;
}

/* The object moves from one name to the other. */
static void add_moving(const char *from, const char *to, enum toggle toggle, int off, int on)
{
	add(from, toggle, off, ABSENT);
	add(to, toggle, ABSENT, on);
	hold(from, toggle, off, on);
}

static void add_objects(void)
{
	char path[2][64];

	add_moving("pub/f", "sealed/f", FILE_NAME, PUB, SEAL);
	add_moving("pub/s", "pub/s.hidden", SUFFIX, PUB, PUB | HIDDEN);
	add_moving("pub/g/d/f", "sealed/g/d/f", ANCESTOR, PUB, SEAL);
	add_moving("dev/shm/pub/d/f", "dev/shm/sealed/d/f", SHM_DIR, PUB, SEAL);
	add("pub/x", EXCHANGE, PUB, PUB);
	add("sealed/x", EXCHANGE, SEAL, SEAL);
	hold("pub/x", EXCHANGE, PUB, SEAL);
	hold("sealed/x", EXCHANGE, SEAL, PUB);
	add("pub/l", LINK, PUB, PUB);
	add("sealed/l", LINK, ABSENT, SEAL);
	hold("pub/l", LINK, PUB, PUB);
	for (int i = 0; i < MANY; i++)
		for (int shm = 0; shm < 2; shm++)
			for (int sealed = 0; sealed < 2; sealed++) {
				snprintf(path[0], sizeof path[0], "%s%s/again-%d",
					 shm ? "dev/shm/" : "", sealed ? "sealed" : "pub", i);
				add(path[0], shm ? RECREATE_SHM : RECREATE, sealed ? ABSENT : PUB,
				    sealed ? SEAL : ABSENT);
			}
	add_moving("pub/m/f", "sealed/m/f", MOVE_MOUNT, PUB, SEAL);
	memset(objects[count - 3].own, ELSEWHERE, 2);
	memset(objects[count - 2].own, ELSEWHERE, 2);
	memset(objects[count - 1].own, ELSEWHERE, 2);
	add("pub/o/f", OVER_MOUNT, PUB, PUB)->own[1] = SEAL;
	hold("pub/o/f", OVER_MOUNT, PUB, PUB);
	add("pub/t/f", NEW_FS, PUB, ABSENT);
	add("sealed/t/f", NEW_FS, ABSENT, SEAL);
	memset(add("pub/p/inner/f", PROPAGATE, ABSENT, PUB)->own, ELSEWHERE, 2);
	memset(add("sealed/p/inner/f", PROPAGATE, ABSENT, SEAL)->own, ELSEWHERE, 2);
	hold("pub/v/sealed/f", PIVOT, PUB, SEAL);
	objects[count - 1].top = true;
	add("pub/w", LOWER, PUB, PUB)->loose = true;
	add("sealed/w", LOWER, SEAL, SEAL)->loose = true;
	for (int i = 0; i < LOWER_FILES; i++) {
		snprintf(path[0], sizeof path[0], "pub/c-%d", i);
		snprintf(path[1], sizeof path[1], "sealed/c-%d", i);
		add(path[0], FILE_NAME, PUB, PUB);
		add(path[1], FILE_NAME, SEAL, SEAL);
	}
}

static bool is_set(unsigned int state, enum toggle toggle) { return state >> toggle & 1; }

/* Places of the names that rules of this server's policy compare; ABSENT: there is none. */
static unsigned int places(const struct object *object, unsigned int state, int server)
{
	unsigned int on = is_set(state, object->toggle), reach = object->reach[on];

	if (reach & ABSENT || object->top) return reach;
	/* after a pivot the name begins with /pub/v/old, and only the own location is known */
	if (server) return is_set(state, PIVOT) ? reach & HIDDEN : reach;
	return is_set(state, PIVOT) ? object->own[on] | (reach & HIDDEN) : reach | object->own[on];
}

static bool is_as_foreseen(const struct object *object, unsigned int where, bool denied, int result)
{
	if (where & ABSENT) return result == ENOENT;
	if (object->loose) return denied ? result != 0 : result != EPERM;
	return result == (denied ? EPERM : 0);
}

/* ---- a server ---- */

static int root, pub, held[MAX_OBJECTS];

static int try_open(const struct object *object, int flags)
{
	char name[64];
	int fd;

	snprintf(name, sizeof name, "proc/self/fd/%d", held[object - objects]);
	fd = openat(root, object->held ? name : object->path, flags | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) return errno;
	close(fd);
	return 0;
}

static void open_one(int server)
{
	const struct object *object =
		&objects[(page->focus + below(FOCUS) + (below(8) ? 0 : below(count))) % count];
	bool writes = !below(4);
	unsigned int phase = page->phase, state = page->state, policy = page->policies[server];
	unsigned int where = places(object, state, server);
	bool denied = where & (writes ? WRITE_DENIED : READ_DENIED)[policy];
	int result = try_open(object, writes ? O_WRONLY : O_RDONLY);

	page->refused[server] += result == EPERM;
	page->opens[server]++;
	if (phase & 1 || page->phase != phase) return;
	page->judged[server]++;
	if (is_as_foreseen(object, where, denied, result) || page->wrong[server]++) return;
	snprintf(page->first[server], sizeof page->first[server],
		 "server %d, %s%s, %s, state %x, policy %u, phase %u: %d", server, object->path,
		 object->held ? " (held)" : "", writes ? "write" : "read", state, policy, phase,
		 result);
}

static void serve(int server, const char *pid)
{
	bool below_pub = false;

	if (pid) enter(pid);
	root = open("/", O_PATH | O_DIRECTORY);
	must(root, "/");
	must(pub = openat(root, "pub", O_PATH | O_DIRECTORY), "pub");
	map_page();
	page->pid[server] = getpid();
	puts("ready");
	fflush(stdout);
	while (!page->phase)
		usleep(1000);
	add_objects();
	seed = page->phase + server + 1;
	for (unsigned int i = 0; i < count; i++)
		if (objects[i].held) must(held[i] = open(objects[i].path, O_PATH), objects[i].path);
	page->holding++;
	while (page->phase & 1)
		usleep(1000);
	while (!page->stop) {
		if (!below(256)) {
			/* a pivot changes the working directory too, if that is the root */
			must(fchdir(below_pub ? root : pub), "fchdir");
			must(chroot("."), "chroot");
			below_pub = !below_pub;
		}
		if (page->opens[server] < page->until[server])
			open_one(server);
		else
			sched_yield();
	}
	page->holding--;
}

/* ---- the changer ---- */

static int lower, drop_caches, reclaim, cgroups[CGROUPS];
static unsigned int cgroup_count;

static const char *const RENAMES[][2] = {
	{ "/pub/f", "/sealed/f" },
	{ "/pub/s", "/pub/s.hidden" },
	{ "/pub/g", "/sealed/g" },
	{ "/dev/shm/pub/d", "/dev/shm/sealed/d" },
};

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

static void bind_mount(const char *from, const char *to, unsigned long flags)
{
	must(mount(from, to, NULL, flags, NULL), to);
}

/* Files of one directory are deleted, and as many created in the other: at the same addresses. */
static void recreate(const char *from, const char *to)
{
	char path[64];

	for (int i = 0; i < MANY; i++) {
		snprintf(path, sizeof path, "%s/again-%d", from, i);
		must(unlink(path), path);
	}
	if (!below(16)) must(syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0), "membarrier");
	for (int i = 0; i < MANY; i++) {
		snprintf(path, sizeof path, "%s/again-%d", to, i);
		make(path);
	}
}

/* A file system ends, and another begins at its addresses. */
static void renew(const char *from, const char *to)
{
	char path[64];

	must(umount2(from, MNT_DETACH), from);
	must(mount("churn", to, "tmpfs", 0, NULL), to);
	snprintf(path, sizeof path, "%s/f", to);
	make(path);
}

static void ask(const char *format, unsigned int a, unsigned int b)
{
	printf(format, a, b);
	fflush(stdout);
	must(getchar() == '\n' ? 0 : -1, "an answer");
}

static void copy_up(void)
{
	char path[64];

	snprintf(path, sizeof path, "/%s/c-%u", below(2) ? "pub" : "sealed", below(LOWER_FILES));
	must(chmod(path, 0640), path);
}

static void turn(enum toggle toggle, bool on)
{
	const char *const AT[2][2] = { { "/pub", "/sealed" },
				       { "/dev/shm/pub", "/dev/shm/sealed" } };

	switch (toggle) {
	case FILE_NAME ... SHM_DIR:
		move(RENAMES[toggle][!on], RENAMES[toggle][on], 0);
		break;
	case EXCHANGE:
		move("/pub/x", "/sealed/x", RENAME_EXCHANGE);
		break;
	case LINK:
		must(on ? link("/pub/l", "/sealed/l") : unlink("/sealed/l"), "link");
		break;
	case RECREATE:
	case RECREATE_SHM:
		recreate(AT[toggle == RECREATE_SHM][!on], AT[toggle == RECREATE_SHM][on]);
		break;
	case MOVE_MOUNT:
		bind_mount(on ? "/pub/m" : "/sealed/m", on ? "/sealed/m" : "/pub/m", MS_MOVE);
		break;
	case OVER_MOUNT:
		if (on)
			bind_mount("/sealed/o", "/pub/o", MS_BIND);
		else
			must(umount2("/pub/o", MNT_DETACH), "umount");
		break;
	case NEW_FS:
		renew(on ? "/pub/t" : "/sealed/t", on ? "/sealed/t" : "/pub/t");
		break;
	case PROPAGATE:
		if (on)
			bind_mount("/src", "/pub/p/inner", MS_BIND);
		else
			must(umount2("/pub/p/inner", MNT_DETACH), "umount");
		break;
	case PIVOT:
		must(on ? syscall(SYS_pivot_root, "/pub/v", "/pub/v/old")
			: syscall(SYS_pivot_root, "/old", "/old/pub/v"),
		     "pivot_root");
		break;
	case LOWER:
		must(renameat(lower, on ? "pub/w" : "pub/w2", lower, on ? "pub/w2" : "pub/w"),
		     "lower");
		must(renameat(lower, on ? "sealed/w" : "sealed/w2", lower,
			      on ? "sealed/w2" : "sealed/w"),
		     "lower");
		break;
	default:
		abort();
	}
}

static void migrate(void)
{
	char pid[16];
	int length = snprintf(pid, sizeof pid, "%d", page->pid[below(SERVERS)]);

	must(write(cgroups[below(cgroup_count)], pid, length), "cgroup.procs");
}

static void change(enum toggle what)
{
	unsigned int server = below(SERVERS);

	page->phase++;
	if (what < TOGGLES) {
		turn(what, !is_set(page->state, what));
		page->state ^= 1U << what;
	} else if (what == POLICY) {
		ask("policy %u %u\n", server, !page->policies[server]);
		page->policies[server] ^= 1;
	} else if (what == RESTART) {
		ask("restart\n", 0, 0);
	} else if (what == RECLAIM) {
		must(write(drop_caches, "2", 1), "drop_caches");
	} else if (what == PRESSURE) {
		/* EAGAIN: there was less than that */
		if (write(reclaim, "1M", 2) < 0 && errno != EAGAIN) must(-1, "memory.reclaim");
	} else if (what == MIGRATE) {
		migrate();
	} else {
		copy_up();
	}
	page->phase++;
}

static enum toggle choose(void)
{
	for (unsigned int i = 0; i < sizeof RARE / sizeof *RARE; i++)
		if (!below(RARE[i].one_of)) return RARE[i].change;
	return below(2) ? objects[(page->focus + below(FOCUS)) % count].toggle : below(TOGGLES);
}

/* Each server opens a few objects, during the change and after it. */
static void change_among_opens(enum toggle what)
{
	for (int server = 0; server < SERVERS; server++)
		page->until[server] += 1 + below(BURST);
	change(what);
	for (int server = 0; server < SERVERS; server++)
		while (page->opens[server] < page->until[server]) {
			must(kill(page->pid[server], 0), "server");
			sched_yield();
		}
}

static void prepare(void)
{
	static const char *const DIRS[] = {
		"/pub/m",	    "/sealed/m",      "/pub/o",		 "/sealed/o",
		"/pub/t",	    "/sealed/t",      "/pub/p",		 "/sealed/p",
		"/pub/v",	    "/pub/g",	      "/pub/g/d",	 "/src",
		"/dev/shm/pub",	    "/dev/shm/pub/d", "/dev/shm/sealed", "/dev/shm/p",
		"/dev/shm/p/inner", "/dev/shm/v",     "/dev/shm/v/old",	 "/dev/shm/v/sealed",
	};
	static const char *const FILES[] = {
		"/pub/f",
		"/pub/s",
		"/pub/x",
		"/sealed/x",
		"/pub/l",
		"/src/f",
		"/pub/g/d/f",
		"/pub/o/f",
		"/sealed/o/f",
		"/dev/shm/pub/d/f",
		"/dev/shm/v/sealed/f",
	};
	char path[64];

	for (unsigned int i = 0; i < sizeof DIRS / sizeof *DIRS; i++)
		must(mkdir(DIRS[i], 0755), DIRS[i]);
	for (unsigned int i = 0; i < sizeof FILES / sizeof *FILES; i++)
		make(FILES[i]);
	for (int i = 0; i < MANY; i++)
		for (int shm = 0; shm < 2; shm++) {
			snprintf(path, sizeof path, "%s/pub/again-%d", shm ? "/dev/shm" : "", i);
			make(path);
		}
	bind_mount("/src", "/pub/m", MS_BIND);
	must(mount("churn", "/pub/t", "tmpfs", 0, NULL), "tmpfs");
	make("/pub/t/f");
	bind_mount("/dev/shm/p", "/pub/p", MS_BIND);
	bind_mount(NULL, "/pub/p", MS_SHARED);
	bind_mount("/pub/p", "/sealed/p", MS_BIND);
	bind_mount("/dev/shm/v", "/pub/v", MS_BIND);
}

static void run(unsigned long operations)
{
	unsigned long changes[CHANGES] = {}, done = 0, opens, step;

	page->phase = 1;
	while (page->holding < SERVERS)
		usleep(1000);
	page->phase++;
	do {
		enum toggle what = done == FIRST_RESTART ? RESTART : choose();

		if (done++ % FOCUS_CHANGES == 0) page->focus = below(count);
		change_among_opens(what);
		changes[what]++;
		/* the other changes name paths of the former root */
		if (what == PIVOT) change_among_opens(PIVOT);
		opens = page->opens[0] + page->opens[1];
		step = page->wrong[0] + page->wrong[1];
	} while (opens + done < operations && !step);
	page->stop = 1;
	while (page->holding)
		usleep(1000);
	for (int server = 0; server < SERVERS; server++)
		if (page->wrong[server]) fprintf(stderr, "%s\n", page->first[server]);
	printf("opens %lu judged %lu refused %lu %lu wrong %lu changes",
	       page->opens[0] + page->opens[1], page->judged[0] + page->judged[1], page->refused[0],
	       page->refused[1], page->wrong[0] + page->wrong[1]);
	for (int i = 0; i < CHANGES; i++)
		printf(" %s=%lu", CHANGE_NAMES[i], changes[i]);
	putchar('\n');
}

int main(int argc, char **argv)
{
	if (argc >= 3 && !strcmp(argv[1], "serve")) {
		serve(atoi(argv[2]), argv[3]);
		return 0;
	}
	if (argc < 8 || argc > 7 + CGROUPS) return 2;
	seed = strtoul(argv[4], NULL, 10) * 0x9e3779b97f4a7c15UL | 1;
	must(lower = open(argv[5], O_PATH | O_DIRECTORY), argv[5]);
	must(drop_caches = open("/proc/sys/vm/drop_caches", O_WRONLY), "drop_caches");
	must(reclaim = open(argv[6], O_WRONLY), argv[6]);
	for (int i = 7; i < argc; i++)
		must(cgroups[cgroup_count++] = open(argv[i], O_WRONLY), argv[i]);
	enter(argv[2]);
	map_page();
	add_objects();
	prepare();
	run(strtoul(argv[3], NULL, 10));
	return 0;
}
