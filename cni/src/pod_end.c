/*
 * Attaches the program of the pod's end. Only a process in the pod's network namespace can do that,
 * which the collector is not allowed to be. The pinned link holds the program there: the pod cannot
 * detach it, and its namespace needs no descriptor afterwards.
 * A pod that runs can exchange its end for another link meanwhile, and take it back. So the pair is read again, and
 * the kernel says whether the end has left.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "netns.h"

/* Of Linux 6.6, newer than the headers of some build machines. */
#define TCX_EGRESS 47
#define BEFORE	   (1U << 3)

static int call_bpf(int command, union bpf_attr *attribute)
{
	return (int)syscall(__NR_bpf, command, attribute, sizeof(*attribute));
}

static int open_pin(const char *path)
{
	union bpf_attr attribute;

	memset(&attribute, 0, sizeof(attribute));
	attribute.pathname = (uintptr_t)path;
	return call_bpf(BPF_OBJ_GET, &attribute);
}

static int pin(int fd, const char *path)
{
	union bpf_attr attribute;

	memset(&attribute, 0, sizeof(attribute));
	attribute.bpf_fd = (uint32_t)fd;
	attribute.pathname = (uintptr_t)path;
	return call_bpf(BPF_OBJ_PIN, &attribute);
}

/* At the head of the chain in the namespace of the caller. */
static int create_link(int program, uint32_t ifindex)
{
	union bpf_attr attribute;

	memset(&attribute, 0, sizeof(attribute));
	attribute.link_create.prog_fd = (uint32_t)program;
	attribute.link_create.target_fd = ifindex;
	attribute.link_create.attach_type = TCX_EGRESS;
	attribute.link_create.flags = BEFORE;
	return call_bpf(BPF_LINK_CREATE, &attribute);
}

static int create_link_in(int netns, int own, int program, uint32_t ifindex)
{
	if (setns(netns, CLONE_NEWNET) != 0)
		return -1;
	int link = create_link(program, ifindex);
	int error = errno;
	if (setns(own, CLONE_NEWNET) != 0)
		abort();
	errno = error;
	return link;
}

/* The pod can move its end while this runs: the pair is read from the namespace. */
static bool is_pod_end(int netns, int own, uint32_t ifindex, uint32_t host_ifindex)
{
	int netlink = open_netlink_in(netns, own);
	struct link link;

	if (netlink < 0)
		return false;
	bool found = read_link(netlink, ifindex, NULL, &link) && link.veth &&
		     link.peer == host_ifindex && link.peer_nsid != NO_NSID &&
		     nsid_of(netlink, own) == link.peer_nsid;
	close(netlink);
	return found;
}

/* True also if another process has attached the program: then there is no link to pin. */
static bool attach(int netns, int own, uint32_t ifindex, const char *program, int *link_fd,
		   char *why, size_t why_size)
{
	int program_fd = open_pin(program);

	*link_fd = program_fd < 0 ? -1 : create_link_in(netns, own, program_fd, ifindex);
	if (*link_fd >= 0 || (program_fd >= 0 && errno == EEXIST)) {
		close(program_fd);
		return true;
	}
	snprintf(why, why_size, "cannot %s of the pod's end (%.100s): %s",
		 program_fd < 0 ? "open the program" : "attach the program", program,
		 strerror(errno));
	if (program_fd >= 0)
		close(program_fd);
	return false;
}

/* A pin that is there holds the program at another link: here it was not attached. */
static bool pin_link(int link_fd, const char *link, char *why, size_t why_size)
{
	if (pin(link_fd, link) == 0 ||
	    (errno == EEXIST && unlink(link) == 0 && pin(link_fd, link) == 0))
		return true;
	snprintf(why, why_size, "cannot pin the link of the pod's end (%.100s): %s", link,
		 strerror(errno));
	return false;
}

bool attach_pod_end(int netns, int own, uint32_t ifindex, uint32_t host_ifindex,
		    const char *program, const char *link, char *why, size_t why_size)
{
	int watch = watch_links_in(netns, own), link_fd = -1;

	if (watch < 0 || !is_pod_end(netns, own, ifindex, host_ifindex)) {
		snprintf(why, why_size,
			 "its other end cannot be read in the pod's network namespace: %s",
			 strerror(errno));
		if (watch >= 0)
			close(watch);
		return false;
	}
	bool attached = attach(netns, own, ifindex, program, &link_fd, why, why_size);
	/*
	 * Between the two steps another link of the pod can have had the index. Nothing is pinned before this is
	 * known: a pin that a process leaves when it is killed counts as a guarded end.
	 */
	if (attached &&
	    (!is_pod_end(netns, own, ifindex, host_ifindex) || has_left(watch, ifindex))) {
		snprintf(why, why_size, "its other end was moved while the program was attached");
		attached = false;
	}
	if (attached && link_fd >= 0)
		attached = pin_link(link_fd, link, why, why_size);
	if (link_fd >= 0)
		close(link_fd);
	close(watch);
	return attached;
}
