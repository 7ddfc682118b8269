/*
 * Finds the pod's side of the interface in its network namespace: index, MAC and the index of the
 * host side. A result that names no host interface, or no MAC, is completed by it. Before the pod has a
 * process, the kernel's answer is the runtime's. Multus can attach a network to a pod that runs, whose
 * answer is the pod's: what a result names decides.
 *
 * Failing is not an error: the collector then relies on the result alone.
 */
#include <string.h>
#include <unistd.h>

#include "cni.h"
#include "netns.h"

/*
 * Whether the peer is in this process's namespace. A pod with its own administrator can move a peer
 * into a third namespace and choose the index there: that of another pod's host side.
 */
static bool is_host_side(int netlink, const struct link *side, int own)
{
	return side->peer_nsid != NO_NSID && nsid_of(netlink, own) == side->peer_nsid;
}

bool find_pod_link(const char *netns, const char *if_name, struct pod_link *link)
{
	int own = open_own_netns(), target = open_netns(netns);
	int netlink = own >= 0 && target >= 0 ? open_netlink_in(target, own) : -1;
	struct link side;
	bool found = netlink >= 0 && read_link(netlink, 0, if_name, &side);

	memset(link, 0, sizeof(*link));
	if (found) {
		link->ifindex = side.ifindex;
		link->host_ifindex = is_host_side(netlink, &side, own) ? side.peer : 0;
		memcpy(link->mac, side.mac, sizeof(link->mac));
	}
	for (size_t i = 0; i < 3; i++) {
		int fd = (int[]){ netlink, target, own }[i];
		if (fd >= 0)
			close(fd);
	}
	return found;
}
