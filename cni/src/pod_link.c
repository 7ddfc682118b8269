/*
 * Finds the pod's side of the interface in its network namespace: index, MAC and the index of the
 * host side. The pod has no process yet, so the kernel's answer is the runtime's. A result that
 * names no host interface, or no MAC, is completed by it.
 *
 * Failing is not an error: the collector then relies on the result alone.
 */
#include <fcntl.h>
#include <linux/if.h>
#include <linux/magic.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cni.h"

/* Opens a file of nsfs alone: opening a FIFO would block, and opening a device may change it. */
static int open_netns(const char *path)
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

/* A netlink socket of the pod's namespace; the process itself returns to its own. */
static int open_netlink_in(const char *netns, int own)
{
	int target = open_netns(netns);
	int fd = -1;

	if (target >= 0 && setns(target, CLONE_NEWNET) == 0) {
		fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
		if (setns(own, CLONE_NEWNET) != 0 && fd >= 0) {
			close(fd);
			fd = -1;
		}
	}
	if (target >= 0)
		close(target);
	return fd;
}

/*
 * The kernel has queued its reply when send() returns, so nothing waits here. NULL: an error, or a
 * reply of another type.
 */
static const struct nlmsghdr *reply_of(int fd, uint16_t type, void *buffer, size_t size)
{
	ssize_t got = recv(fd, buffer, size, MSG_DONTWAIT);
	const struct nlmsghdr *header = buffer;

	return got > 0 && NLMSG_OK(header, (size_t)got) && header->nlmsg_type == type ? header : NULL;
}

/*
 * Whether the namespace that the socket's namespace calls `nsid` is `own`. A pod with its own
 * administrator can move a peer into a third namespace and choose the index there: that of another
 * pod's host side.
 */
static bool is_own_nsid(int fd, int32_t nsid, int own)
{
	char buffer[512] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct {
		struct nlmsghdr header;
		struct rtgenmsg message;
		char padding[3];
		struct rtattr attribute;
		uint32_t own;
	} request;

	memset(&request, 0, sizeof(request));
	request.header.nlmsg_type = RTM_GETNSID;
	request.header.nlmsg_flags = NLM_F_REQUEST;
	request.header.nlmsg_len = sizeof(request);
	request.attribute.rta_type = NETNSA_FD;
	request.attribute.rta_len = RTA_LENGTH(sizeof(request.own));
	request.own = (uint32_t)own;
	if (send(fd, &request, sizeof(request), 0) != (ssize_t)sizeof(request))
		return false;
	const struct nlmsghdr *header = reply_of(fd, RTM_NEWNSID, buffer, sizeof(buffer));
	if (header == NULL)
		return false;
	size_t length = NLMSG_PAYLOAD(header, sizeof(struct rtgenmsg));
	const char *data = NLMSG_DATA(header);
	const struct rtattr *attribute = (const struct rtattr *)(data + NLMSG_ALIGN(sizeof(struct rtgenmsg)));
	for (; RTA_OK(attribute, length); attribute = RTA_NEXT(attribute, length))
		if (attribute->rta_type == NETNSA_NSID && RTA_PAYLOAD(attribute) >= sizeof(int32_t))
			return memcmp(RTA_DATA(attribute), &nsid, sizeof(nsid)) == 0;
	return false;
}

static bool request_link(int fd, const char *if_name)
{
	struct {
		struct nlmsghdr header;
		struct ifinfomsg info;
		struct rtattr attribute;
		char name[IFNAMSIZ];
	} request;
	size_t name_length = strlen(if_name) + 1;

	if (name_length > IFNAMSIZ)
		return false;
	memset(&request, 0, sizeof(request));
	request.attribute.rta_type = IFLA_IFNAME;
	request.attribute.rta_len = (unsigned short)RTA_LENGTH(name_length);
	memcpy(request.name, if_name, name_length);
	request.header.nlmsg_type = RTM_GETLINK;
	request.header.nlmsg_flags = NLM_F_REQUEST;
	request.header.nlmsg_len = NLMSG_LENGTH(sizeof(request.info)) + RTA_ALIGN(RTA_LENGTH(name_length));
	return send(fd, &request, request.header.nlmsg_len, 0) == (ssize_t)request.header.nlmsg_len;
}

/* Of other kinds (macvlan, ipvlan) IFLA_LINK is the parent, which is shared by pods. */
static bool is_pair(const struct rtattr *info)
{
	size_t length = RTA_PAYLOAD(info);
	const struct rtattr *one = RTA_DATA(info);

	for (; RTA_OK(one, length); one = RTA_NEXT(one, length))
		if (one->rta_type == IFLA_INFO_KIND)
			return strncmp(RTA_DATA(one), "veth", RTA_PAYLOAD(one)) == 0 ||
			       strncmp(RTA_DATA(one), "netkit", RTA_PAYLOAD(one)) == 0;
	return false;
}

/* `nsid`: the namespace of the peer; -1: the pod's own, or unknown. */
static void read_attributes(const struct ifinfomsg *info, size_t length, struct pod_link *link, int32_t *nsid)
{
	const struct rtattr *attribute = IFLA_RTA(info);
	bool pair = false;

	link->ifindex = (uint32_t)info->ifi_index;
	for (; RTA_OK(attribute, length); attribute = RTA_NEXT(attribute, length)) {
		const unsigned char *data = RTA_DATA(attribute);
		size_t size = RTA_PAYLOAD(attribute);
		if (attribute->rta_type == IFLA_ADDRESS && size == 6)
			snprintf(link->mac, sizeof(link->mac), "%02x:%02x:%02x:%02x:%02x:%02x", data[0], data[1], data[2],
				 data[3], data[4], data[5]);
		else if (attribute->rta_type == IFLA_LINK && size >= sizeof(uint32_t))
			memcpy(&link->host_ifindex, data, sizeof(uint32_t));
		else if (attribute->rta_type == IFLA_LINK_NETNSID && size >= sizeof(int32_t))
			memcpy(nsid, data, sizeof(int32_t));
		else if (attribute->rta_type == IFLA_LINKINFO)
			pair = is_pair(attribute);
	}
	if (!pair)
		link->host_ifindex = 0;
}

bool find_pod_link(const char *netns, const char *if_name, struct pod_link *link)
{
	char buffer[16 * 1024] __attribute__((aligned(NLMSG_ALIGNTO)));
	int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int fd = own >= 0 ? open_netlink_in(netns, own) : -1;
	const struct nlmsghdr *header = NULL;
	int32_t nsid = -1;

	memset(link, 0, sizeof(*link));
	if (fd >= 0 && request_link(fd, if_name))
		header = reply_of(fd, RTM_NEWLINK, buffer, sizeof(buffer));
	bool found = header != NULL && header->nlmsg_len >= NLMSG_LENGTH(sizeof(struct ifinfomsg));
	if (found)
		read_attributes(NLMSG_DATA(header), IFLA_PAYLOAD(header), link, &nsid);
	if (link->host_ifindex != 0 && (nsid < 0 || !is_own_nsid(fd, nsid, own)))
		link->host_ifindex = 0;
	if (fd >= 0)
		close(fd);
	if (own >= 0)
		close(own);
	return found;
}
