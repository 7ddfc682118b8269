/*
 * What netns.c reads where another process of the network namespace sent to its socket first. `forged link` prints
 * what is read about the first link, which is no pair; `forged left` whether it has left.
 */
#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../src/netns.h"

#define PEER 99

struct message {
	struct nlmsghdr header;
	struct ifinfomsg info;
	struct rtattr peer;
	uint32_t index;
	struct rtattr details, kind;
	char name[8];
};

static bool send_forged(int to, uint16_t type)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK };
	socklen_t length = sizeof(address);
	struct message message = {
		.header = { .nlmsg_len = sizeof(message), .nlmsg_type = type },
		.info = { .ifi_index = 1 },
		.peer = { RTA_LENGTH(sizeof(message.index)), IFLA_LINK },
		.index = PEER,
		.details = { RTA_LENGTH(sizeof(message.kind) + sizeof(message.name)),
			     IFLA_LINKINFO },
		.kind = { RTA_LENGTH(sizeof(message.name)), IFLA_INFO_KIND },
		.name = "veth",
	};
	int sender = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);

	return getsockname(to, (struct sockaddr *)&address, &length) == 0 &&
	       sendto(sender, &message, sizeof(message), 0, (struct sockaddr *)&address, length) ==
		       (ssize_t)sizeof(message);
}

int main(int argc, char **argv)
{
	int own = open_own_netns();
	struct link link;

	if (argc == 2 && strcmp(argv[1], "left") == 0) {
		int watch = watch_links_in(own, own);
		if (!send_forged(watch, RTM_DELLINK))
			return 1;
		puts(has_left(watch, 1) ? "left" : "stays");
		return 0;
	}
	/* The first request binds the socket. */
	int netlink = open_netlink_in(own, own);
	if (!read_link(netlink, 1, NULL, &link) || !send_forged(netlink, RTM_NEWLINK) ||
	    !read_link(netlink, 1, NULL, &link))
		return 1;
	printf("peer %u\n", link.peer);
	return 0;
}
