/* See netns.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/magic.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "netns.h"

/* A pod can give its link 64 KiB of alternative names, which every reply about it contains. */
#define REPLY_BYTES (128 * 1024)
#define MAX_FOREIGN 4096 /* messages of others that are dropped before a read fails */

/* Opening a FIFO would block, and opening a device may change it. */
int open_netns(const char *path)
{
	char reopened[32];
	struct statfs fs;
	int target = -1;
	int handle = open(path, O_PATH | O_CLOEXEC);

	if (handle >= 0 && fstatfs(handle, &fs) == 0 && fs.f_type == NSFS_MAGIC) {
		snprintf(reopened, sizeof(reopened), "/proc/self/fd/%d", handle);
		target = open(reopened, O_RDONLY | O_CLOEXEC);
	}
	if (handle >= 0)
		close(handle);
	return target;
}

int open_own_netns(void)
{
	return open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
}

int open_netlink_in(int target, int own)
{
	int fd = -1;

	if (setns(target, CLONE_NEWNET) != 0)
		return -1;
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (setns(own, CLONE_NEWNET) != 0)
		abort();
	return fd;
}

int watch_links_in(int target, int own)
{
	const struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };
	int fd = open_netlink_in(target, own);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

/*
 * As recv(), of the kernel alone, without waiting. A process of the pod with CAP_NET_ADMIN can send to a socket in
 * its network namespace, and the kernel's reply is behind what it sent.
 */
static ssize_t receive(int fd, void *buffer, size_t size)
{
	for (int i = 0; i < MAX_FOREIGN; i++) {
		struct sockaddr_nl from = { .nl_pid = UINT32_MAX };
		socklen_t length = sizeof(from);
		ssize_t got =
			recvfrom(fd, buffer, size, MSG_DONTWAIT, (struct sockaddr *)&from, &length);
		if (got < 0 ? errno != EINTR : from.nl_pid == 0)
			return got;
	}
	errno = ENOBUFS;
	return -1;
}

bool has_left(int watch, uint32_t ifindex)
{
	struct {
		struct nlmsghdr header;
		struct ifinfomsg info;
	} event;

	for (;;) {
		/* The rest of the message is cut. */
		ssize_t got = receive(watch, &event, sizeof(event));
		if (got < 0)
			return errno != EAGAIN;
		if (got == (ssize_t)sizeof(event) && event.header.nlmsg_type == RTM_DELLINK &&
		    event.info.ifi_index == (int)ifindex)
			return true;
	}
}

/*
 * The kernel has queued its reply when send() returns, so nothing waits here. NULL: an error, or a
 * reply of another type.
 */
static const struct nlmsghdr *reply_of(int fd, uint16_t type, void *buffer, size_t size)
{
	ssize_t got = receive(fd, buffer, size);
	const struct nlmsghdr *header = buffer;

	return got > 0 && NLMSG_OK(header, (size_t)got) && header->nlmsg_type == type ? header
										      : NULL;
}

int32_t nsid_of(int netlink, int netns)
{
	char buffer[512] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct {
		struct nlmsghdr header;
		struct rtgenmsg message;
		char padding[3];
		struct rtattr attribute;
		uint32_t netns;
	} request;
	int32_t nsid = NO_NSID;

	memset(&request, 0, sizeof(request));
	request.header.nlmsg_type = RTM_GETNSID;
	request.header.nlmsg_flags = NLM_F_REQUEST;
	request.header.nlmsg_len = sizeof(request);
	request.attribute.rta_type = NETNSA_FD;
	request.attribute.rta_len = RTA_LENGTH(sizeof(request.netns));
	request.netns = (uint32_t)netns;
	if (send(netlink, &request, sizeof(request), 0) != (ssize_t)sizeof(request))
		return NO_NSID;
	const struct nlmsghdr *header = reply_of(netlink, RTM_NEWNSID, buffer, sizeof(buffer));
	if (header == NULL)
		return NO_NSID;
	size_t length = NLMSG_PAYLOAD(header, sizeof(struct rtgenmsg));
	const char *data = NLMSG_DATA(header);
	const struct rtattr *attribute =
		(const struct rtattr *)(data + NLMSG_ALIGN(sizeof(struct rtgenmsg)));
	for (; RTA_OK(attribute, length); attribute = RTA_NEXT(attribute, length))
		if (attribute->rta_type == NETNSA_NSID && RTA_PAYLOAD(attribute) >= sizeof(nsid))
			memcpy(&nsid, RTA_DATA(attribute), sizeof(nsid));
	return nsid;
}

static bool request_link(int netlink, uint32_t ifindex, const char *name)
{
	struct {
		struct nlmsghdr header;
		struct ifinfomsg info;
		struct rtattr attribute;
		char name[IFNAMSIZ];
	} request;

	memset(&request, 0, sizeof(request));
	request.header.nlmsg_type = RTM_GETLINK;
	request.header.nlmsg_flags = NLM_F_REQUEST;
	request.header.nlmsg_len = NLMSG_LENGTH(sizeof(request.info));
	if (name != NULL) {
		size_t length = strlen(name) + 1;
		if (length > IFNAMSIZ)
			return false;
		request.attribute.rta_type = IFLA_IFNAME;
		request.attribute.rta_len = (unsigned short)RTA_LENGTH(length);
		memcpy(request.name, name, length);
		request.header.nlmsg_len += RTA_ALIGN(RTA_LENGTH(length));
	} else {
		request.info.ifi_index = (int)ifindex;
	}
	return send(netlink, &request, request.header.nlmsg_len, 0) ==
	       (ssize_t)request.header.nlmsg_len;
}

static bool is_kind(const struct rtattr *info, const char *kind)
{
	size_t length = RTA_PAYLOAD(info);
	const struct rtattr *one = RTA_DATA(info);

	for (; RTA_OK(one, length); one = RTA_NEXT(one, length))
		if (one->rta_type == IFLA_INFO_KIND)
			return strncmp(RTA_DATA(one), kind, RTA_PAYLOAD(one)) == 0;
	return false;
}

static void read_attributes(const struct ifinfomsg *info, size_t length, struct link *link)
{
	const struct rtattr *attribute = IFLA_RTA(info);
	bool pair = false;

	link->ifindex = (uint32_t)info->ifi_index;
	for (; RTA_OK(attribute, length); attribute = RTA_NEXT(attribute, length)) {
		const unsigned char *data = RTA_DATA(attribute);
		size_t size = RTA_PAYLOAD(attribute);
		if (attribute->rta_type == IFLA_ADDRESS && size == 6)
			snprintf(link->mac, sizeof(link->mac), "%02x:%02x:%02x:%02x:%02x:%02x",
				 data[0], data[1], data[2], data[3], data[4], data[5]);
		else if (attribute->rta_type == IFLA_LINK && size >= sizeof(link->peer))
			memcpy(&link->peer, data, sizeof(link->peer));
		else if (attribute->rta_type == IFLA_LINK_NETNSID &&
			 size >= sizeof(link->peer_nsid))
			memcpy(&link->peer_nsid, data, sizeof(link->peer_nsid));
		else if (attribute->rta_type == IFLA_LINKINFO) {
			link->veth = is_kind(attribute, "veth");
			pair = link->veth || is_kind(attribute, "netkit");
		}
	}
	/* Of other kinds (macvlan, ipvlan) IFLA_LINK is the parent, which is shared by pods. */
	if (!pair)
		link->peer = 0;
}

bool read_link(int netlink, uint32_t ifindex, const char *name, struct link *link)
{
	static char buffer[REPLY_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
	const struct nlmsghdr *header = NULL;

	memset(link, 0, sizeof(*link));
	link->peer_nsid = NO_NSID;
	if (request_link(netlink, ifindex, name))
		header = reply_of(netlink, RTM_NEWLINK, buffer, sizeof(buffer));
	if (header == NULL || header->nlmsg_len < NLMSG_LENGTH(sizeof(struct ifinfomsg)))
		return false;
	read_attributes(NLMSG_DATA(header), IFLA_PAYLOAD(header), link);
	return true;
}
