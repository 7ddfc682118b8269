/* Other network namespaces, and the pairs of interfaces between them. Shared by both programs. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NO_NSID (-1)

/* One end of a veth or netkit pair, or another link. */
struct link {
	uint32_t ifindex;
	uint32_t peer;	   /* 0: it is no end of a pair */
	int32_t peer_nsid; /* of the peer's namespace; NO_NSID: the link's own, or unknown */
	bool veth;
	char mac[18]; /* empty: none */
};

/* A descriptor of a network namespace, or -1. Opens files of nsfs alone. */
int open_netns(const char *path);
int open_own_netns(void);

/*
 * A netlink socket of the namespace `target`, or -1. The process itself returns to `own`; if it
 * cannot, it ends.
 */
int open_netlink_in(int target, int own);

/* A netlink socket that gets every change of a link of the namespace from now on, or -1. */
int watch_links_in(int target, int own);

/* Whether the link of this index has left the namespace, also for a moment. True if changes were lost. */
bool has_left(int watch, uint32_t ifindex);

/* Id that the socket's namespace has for another one; NO_NSID: none. A reply about a link assigns it. */
int32_t nsid_of(int netlink, int netns);

/* By index, or by name if `name` is not NULL. False: there is none. */
bool read_link(int netlink, uint32_t ifindex, const char *name, struct link *link);

/* pod_end.c */
/*
 * Attaches a pinned program at tcx egress of the end in another namespace of a veth of this one, and pins the
 * link. True also if another process has attached it. False with the reason.
 */
bool attach_pod_end(int netns, int own, uint32_t ifindex, uint32_t host_ifindex,
		    const char *program, const char *link, char *why, size_t why_size);
