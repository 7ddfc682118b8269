/*
 * Finds the pod's side of the interface in its network namespace: index, MAC and the index of the
 * host side. The pod has no process yet, so the kernel's answer is the runtime's. A result that
 * names no host interface, or no MAC, is completed by it.
 *
 * Failing is not an error: the collector then relies on the result alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cni.h"

/* A netlink socket of the pod's namespace; the process itself returns to its own. */
static int open_netlink_in(const char *netns)
{
	int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int target = open(netns, O_RDONLY | O_CLOEXEC);
	int fd = -1;

	if (own >= 0 && target >= 0 && setns(target, CLONE_NEWNET) == 0) {
		fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
		if (setns(own, CLONE_NEWNET) != 0 && fd >= 0) {
			close(fd);
			fd = -1;
		}
	}
	if (own >= 0)
		close(own);
	if (target >= 0)
		close(target);
	return fd;
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

static void read_attributes(const struct ifinfomsg *info, size_t length, struct pod_link *link)
{
	const struct rtattr *attribute = IFLA_RTA(info);
	bool elsewhere = false, pair = false;

	link->ifindex = (uint32_t)info->ifi_index;
	for (; RTA_OK(attribute, length); attribute = RTA_NEXT(attribute, length)) {
		const unsigned char *data = RTA_DATA(attribute);
		size_t size = RTA_PAYLOAD(attribute);
		if (attribute->rta_type == IFLA_ADDRESS && size == 6)
			snprintf(link->mac, sizeof(link->mac), "%02x:%02x:%02x:%02x:%02x:%02x", data[0], data[1], data[2],
				 data[3], data[4], data[5]);
		else if (attribute->rta_type == IFLA_LINK && size >= sizeof(uint32_t))
			memcpy(&link->host_ifindex, data, sizeof(uint32_t));
		else if (attribute->rta_type == IFLA_LINK_NETNSID)
			elsewhere = true;
		else if (attribute->rta_type == IFLA_LINKINFO)
			pair = is_pair(attribute);
	}
	/* Without a namespace id the peer is in the pod's own namespace. */
	if (!elsewhere || !pair)
		link->host_ifindex = 0;
}

bool find_pod_link(const char *netns, const char *if_name, struct pod_link *link)
{
	char buffer[16 * 1024] __attribute__((aligned(NLMSG_ALIGNTO)));
	int fd = open_netlink_in(netns);
	bool found = false;

	memset(link, 0, sizeof(*link));
	if (fd < 0)
		return false;
	if (request_link(fd, if_name)) {
		ssize_t got = recv(fd, buffer, sizeof(buffer), 0);
		const struct nlmsghdr *header = (const struct nlmsghdr *)buffer;
		if (got > 0 && NLMSG_OK(header, (size_t)got) && header->nlmsg_type == RTM_NEWLINK &&
		    header->nlmsg_len >= NLMSG_LENGTH(sizeof(struct ifinfomsg))) {
			read_attributes(NLMSG_DATA(header), IFLA_PAYLOAD(header), link);
			found = true;
		}
	}
	close(fd);
	return found;
}
