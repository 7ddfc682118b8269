/*
 * bailiff-pod-ends: attaches the program of the pod's end to guarded interfaces that have none. The
 * collector names its guards on the bpffs, so that directory is all that both share:
 *
 *   links/link-<ifindex>-<generation>-in        the guard at the host side
 *   links/link-<ifindex>-<generation>-pod-end   what this program adds, or the CNI plugin before it
 *
 * Entering the network namespace of a pod needs CAP_SYS_ADMIN, and finding it by its processes
 * CAP_SYS_PTRACE and the PID namespace of the node. This program has these rights instead of the
 * collector; it has no listener and no input but the kernel's.
 *
 *   bailiff-pod-ends --pins /sys/fs/bpf/bailiff [--netns-dir /run/netns] [--once]
 *
 * With --once it looks once, prints each interface that it cannot reach, and exits with 1 if there
 * is one. Limits: MAX_ENDS interfaces. Only namespaces in which one of them has its other end stay
 * open: a pod can create thousands of others. An interface that cannot be reached is tried again
 * after growing pauses.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "netns.h"

#define MAX_ENDS	 4096
#define LOOK_EVERY_MS	 250
#define FIRST_PAUSE_MS	 250
#define LONGEST_PAUSE_MS 30000
#define PROGRAM		 "programs/spoof_pod_end"

/* A guard without a program at the pod's end. */
struct end {
	uint32_t ifindex, generation;
	bool has_guard, has_end;
	int32_t peer_nsid; /* namespace of its other end; NO_NSID: unknown, or nothing is missing */
};

struct namespace
{
	int fd;
	int32_t nsid;
};

static const char *pins, *netns_dir = "/run/netns";
static struct end ends[MAX_ENDS];
static size_t end_count;
/* Distinguishes the sets of guards that lack a program at the pod's end. 0: none lacks one. */
static uint64_t missing;
/* At most one for each interface. */
static struct namespace namespaces[MAX_ENDS];
static size_t namespace_count;
static volatile sig_atomic_t stopping;

static void stop(int signal)
{
	(void)signal;
	stopping = 1;
}

static struct end *end_of(uint32_t ifindex, uint32_t generation)
{
	for (size_t i = 0; i < end_count; i++)
		if (ends[i].ifindex == ifindex && ends[i].generation == generation)
			return &ends[i];
	if (end_count == MAX_ENDS)
		return NULL;
	ends[end_count] = (struct end){ .ifindex = ifindex, .generation = generation };
	return &ends[end_count++];
}

static bool is_missing(const struct end *end)
{
	return end->has_guard && !end->has_end;
}

/* Fills `ends` and `missing`. Both are empty while no collector has pinned the program. */
static void read_pins(void)
{
	char path[PATH_MAX];

	end_count = 0;
	missing = 0;
	snprintf(path, sizeof(path), "%s/" PROGRAM, pins);
	if (access(path, F_OK) != 0)
		return;
	snprintf(path, sizeof(path), "%s/links", pins);
	DIR *dir = opendir(path);
	if (dir == NULL)
		return;
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
		uint32_t ifindex, generation;
		char side[16];
		if (sscanf(entry->d_name, "link-%u-%u-%15s", &ifindex, &generation, side) != 3)
			continue;
		struct end *end = end_of(ifindex, generation);
		if (end != NULL && strcmp(side, "in") == 0)
			end->has_guard = true;
		else if (end != NULL && strcmp(side, "pod-end") == 0)
			end->has_end = true;
	}
	closedir(dir);
	for (size_t i = 0; i < end_count; i++)
		if (is_missing(&ends[i]))
			missing += ((uint64_t)ends[i].generation << 32 | ends[i].ifindex) *
				   0x9e3779b97f4a7c15;
}

static int namespace_of(int32_t nsid)
{
	for (size_t i = 0; i < namespace_count; i++)
		if (namespaces[i].nsid == nsid)
			return namespaces[i].fd;
	return -1;
}

static bool is_wanted(int32_t nsid)
{
	if (nsid == NO_NSID || namespace_of(nsid) >= 0)
		return false;
	for (size_t i = 0; i < end_count; i++)
		if (ends[i].peer_nsid == nsid)
			return true;
	return false;
}

static void add_namespace(int netlink, const char *path)
{
	static ino_t last;
	struct stat file;

	/* Processes of one container follow each other. */
	if (stat(path, &file) != 0 || (namespace_count > 0 && file.st_ino == last))
		return;
	int fd = open_netns(path);
	if (fd < 0)
		return;
	int32_t nsid = nsid_of(netlink, fd);
	if (is_wanted(nsid)) {
		last = file.st_ino;
		namespaces[namespace_count++] = (struct namespace){ .fd = fd, .nsid = nsid };
	} else
		close(fd);
}

static void add_entries(int netlink, const char *directory, const char *suffix)
{
	DIR *dir = opendir(directory);
	char path[PATH_MAX];

	if (dir == NULL)
		return;
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
		if (entry->d_name[0] == '.' ||
		    (*suffix != '\0' && !isdigit((unsigned char)entry->d_name[0])))
			continue;
		if ((size_t)snprintf(path, sizeof(path), "%s/%s%s", directory, entry->d_name,
				     suffix) < sizeof(path))
			add_namespace(netlink, path);
	}
	closedir(dir);
}

static void find_namespaces(int netlink)
{
	add_entries(netlink, netns_dir, "");
	add_entries(netlink, "/proc", "/ns/net");
}

static void close_namespaces(void)
{
	for (size_t i = 0; i < namespace_count; i++)
		close(namespaces[i].fd);
	namespace_count = 0;
}

/* False with the reason: there is an end, and nothing could be attached. */
static bool attach_end(const struct end *end, int netlink, int own, char *why, size_t why_size)
{
	char program[PATH_MAX], pin[PATH_MAX];
	struct link host;

	/* Gone, or of a kind that needs no program at the pod's end. */
	if (!read_link(netlink, end->ifindex, NULL, &host) || !host.veth)
		return true;
	int netns = host.peer_nsid == NO_NSID ? -1 : namespace_of(host.peer_nsid);
	if (netns < 0) {
		snprintf(why, why_size,
			 "no process and no file names the network namespace of its other end");
		return false;
	}
	snprintf(program, sizeof(program), "%s/" PROGRAM, pins);
	snprintf(pin, sizeof(pin), "%s/links/link-%u-%u-pod-end", pins, end->ifindex,
		 end->generation);
	return attach_pod_end(netns, own, host.peer, end->ifindex, program, pin, why, why_size);
}

/* Returns whether every end was reached. `silent`: the reasons are printed already. */
static bool attach_missing(bool silent)
{
	int own = open_own_netns();
	int netlink = own >= 0 ? open_netlink_in(own, own) : -1;
	bool complete = true;

	if (netlink < 0) {
		fprintf(stderr,
			"bailiff-pod-ends: cannot open netlink (%s): it needs CAP_SYS_ADMIN\n",
			strerror(errno));
		exit(4);
	}
	/* Reading the links assigns ids to the namespaces of their peers. */
	for (size_t i = 0; i < end_count; i++) {
		struct link link;
		bool found = read_link(netlink, ends[i].ifindex, NULL, &link);
		ends[i].peer_nsid = found && is_missing(&ends[i]) ? link.peer_nsid : NO_NSID;
	}
	find_namespaces(netlink);
	for (size_t i = 0; i < end_count; i++) {
		char why[256] = "";
		if (!is_missing(&ends[i]) || attach_end(&ends[i], netlink, own, why, sizeof(why)))
			continue;
		complete = false;
		if (!silent)
			fprintf(stderr, "bailiff-pod-ends: interface %u: %s\n", ends[i].ifindex,
				why);
	}
	close_namespaces();
	close(netlink);
	close(own);
	return complete;
}

static void run(void)
{
	int pause = FIRST_PAUSE_MS, waited = 0;
	uint64_t failed = 0;

	while (!stopping) {
		read_pins();
		/* Another set has an interface that was not tried: it is tried at once. */
		if (missing != 0 && (missing != failed || waited >= pause)) {
			bool repeated = missing == failed;
			pause = !repeated		       ? FIRST_PAUSE_MS
				: pause * 2 > LONGEST_PAUSE_MS ? LONGEST_PAUSE_MS
							       : pause * 2;
			waited = 0;
			if (!attach_missing(repeated)) {
				read_pins();
				failed = missing;
			}
		}
		poll(NULL, 0, LOOK_EVERY_MS);
		waited += LOOK_EVERY_MS;
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "pins", required_argument, NULL, 'p' },
		{ "netns-dir", required_argument, NULL, 'n' },
		{ "once", no_argument, NULL, 'o' },
		{ 0 },
	};
	bool once = false;

	for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (option == 'p')
			pins = optarg;
		else if (option == 'n')
			netns_dir = optarg;
		else if (option == 'o')
			once = true;
		else
			pins = NULL, optind = argc + 1;
	}
	if (pins == NULL || optind != argc) {
		fprintf(stderr,
			"usage: bailiff-pod-ends --pins DIRECTORY [--netns-dir DIRECTORY] [--once]\n");
		return 2;
	}
	signal(SIGTERM, stop);
	signal(SIGINT, stop);
	if (!once) {
		run();
		return 0;
	}
	read_pins();
	return missing == 0 || attach_missing(false) ? 0 : 1;
}
