// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Raw frames to and from one interface, for the tests.
 *
 * frames send <interface>: reads lines
 *   `<count> <gso size> <gso type> <header bytes> <checksum start> <checksum offset> <hex>`
 *   and prints `ok` or `error <errno>` for each. The numbers are fields of the virtio_net_hdr: with a
 *   gso size, the kernel segments one large packet; with a checksum start other than 0, it fills in
 *   the word at start + offset.
 * frames push <interface> <protocol>: like `send`, but sends each frame once, through a socket of this
 *   protocol (0: the one that the frame names). A netkit device reports a dropped frame as ENOBUFS.
 * frames bypass <interface>: like `push` with protocol 0, past the queue of the interface (PACKET_QDISC_BYPASS).
 * frames sniff <interface> [protocol]: prints `ready`, then each received frame as a line of hex, with a tag
 *   that the kernel removed restored. With a protocol it sees marked frames (skb->tc_skip_classify) too.
 * frames fill <interface>: makes the kernel fill in checksums before a frame leaves the interface.
 * frames tun <name>: creates this interface and sends through it like `send`, but packets without
 *   an Ethernet header, as a VPN does.
 * frames tap <name>: creates this interface and sends through it like `send`. The packets of a frame
 *   with a gso size are in a tunnel of UDP, and their IPv4 header ends at the checksum start. Exits with
 *   3 if the kernel has no tun devices or no such metadata (Linux 6.17).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { MAX_FRAME = 65536 };

/* Since Linux 6.17, and not in all installed headers. */
enum { OFFLOAD_TUNNELS = 0x180, GSO_TUNNEL_IPV4 = 0x20 };

/* struct virtio_net_hdr_v1_hash_tunnel */
struct tunnel_header {
	struct virtio_net_hdr base;
	uint16_t buffers, hash[4];
	uint16_t outer_transport, inner_network;
};

static int open_socket(const char *interface, int protocol)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(protocol),
		.sll_ifindex = (int)if_nametoindex(interface),
	};
	int fd = socket(AF_PACKET, SOCK_RAW, htons(protocol));

	if (fd < 0 || address.sll_ifindex == 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		perror(interface);
		exit(1);
	}
	return fd;
}

static size_t parse_hex(const char *text, uint8_t *to)
{
	size_t length = 0;
	unsigned int byte;

	while (length < MAX_FRAME && sscanf(text + 2 * length, "%2x", &byte) == 1)
		to[length++] = (uint8_t)byte;
	return length;
}

/* Length of the metadata before each frame. */
static size_t header_size = sizeof(struct virtio_net_hdr);

static int send_frame(int fd, const struct tunnel_header *header, const uint8_t *frame,
		      size_t length, unsigned long count, int once)
{
	struct iovec parts[] = {
		{ .iov_base = (void *)header, .iov_len = header_size },
		{ .iov_base = (void *)frame, .iov_len = length },
	};

	while (count > 0) {
		if (writev(fd, parts, 2) >= 0 || (once && errno == ENOBUFS))
			count--;
		else if (errno != ENOBUFS && errno != EAGAIN)
			return errno;
	}
	return 0;
}

/* The kernel queues frames on the processor that sent them, and on a busy machine one queue may
 * be handled after a later frame of another. From one processor, frames land in the order in
 * which they were sent. A fence relies on that. */
static void stay_on_one_processor(void)
{
	cpu_set_t set;
	int processor = sched_getcpu();

	CPU_ZERO(&set);
	CPU_SET(processor < 0 ? 0 : processor, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0) {
		perror("sched_setaffinity");
		exit(1);
	}
}

static int send_lines(int fd, int once)
{
	static char line[2 * MAX_FRAME + 128];
	static uint8_t frame[MAX_FRAME];

	stay_on_one_processor();
	while (fgets(line, sizeof(line), stdin)) {
		struct tunnel_header header = { 0 };
		unsigned long count;
		unsigned int size, type, head, start, offset;
		int at = 0, error;
		size_t length;

		if (sscanf(line, "%lu %u %u %u %u %u %n", &count, &size, &type, &head, &start,
			   &offset, &at) < 6)
			return 2;
		length = parse_hex(line + at, frame);
		header.base.gso_type = (uint8_t)type;
		header.base.gso_size = (uint16_t)size;
		header.base.hdr_len = (uint16_t)head;
		if (start) {
			header.base.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
			header.base.csum_start = (uint16_t)start;
			header.base.csum_offset = (uint16_t)offset;
		}
		if (size && header_size == sizeof(header)) {
			header.base.gso_type |= GSO_TUNNEL_IPV4;
			header.outer_transport = ETH_HLEN + 20;
			header.inner_network = (uint16_t)start - 20;
		}
		error = send_frame(fd, &header, frame, length, count, once);
		printf(error ? "error %d\n" : "ok\n", error);
		fflush(stdout);
	}
	return 0;
}

static int run_send(const char *interface, int protocol, int once, int bypasses)
{
	int fd = open_socket(interface, protocol), one = 1;

	if (bypasses && setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)) < 0) {
		perror("PACKET_QDISC_BYPASS");
		return 1;
	}
	if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) < 0) {
		perror("PACKET_VNET_HDR");
		return 1;
	}
	return send_lines(fd, once);
}

static int run_tun(const char *name)
{
	struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	strncpy(request.ifr_name, name, IFNAMSIZ - 1);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0) {
		perror(name);
		return 1;
	}
	printf("ready\n");
	fflush(stdout);
	return send_lines(fd, 0);
}

static int run_tap(const char *name)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC), size = sizeof(struct tunnel_header);

	if (fd < 0 && (errno == ENOENT || errno == ENODEV || errno == ENXIO))
		return 3;
	strncpy(request.ifr_name, name, IFNAMSIZ - 1);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0 || ioctl(fd, TUNSETVNETHDRSZ, &size) < 0) {
		perror(name);
		return 1;
	}
	if (ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | OFFLOAD_TUNNELS) < 0)
		return errno == EINVAL ? 3 : 1;
	header_size = sizeof(struct tunnel_header);
	return send_lines(fd, 0);
}

/* The offset and the value of a tag that the kernel removed, if there was one. */
static int find_tag(struct msghdr *message, uint8_t *tag)
{
	for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part;
	     part = CMSG_NXTHDR(message, part)) {
		struct tpacket_auxdata aux;

		if (part->cmsg_level != SOL_PACKET || part->cmsg_type != PACKET_AUXDATA)
			continue;
		memcpy(&aux, CMSG_DATA(part), sizeof(aux));
		if (!(aux.tp_status & TP_STATUS_VLAN_VALID))
			continue;
		tag[0] = (uint8_t)(aux.tp_vlan_tpid >> 8);
		tag[1] = (uint8_t)aux.tp_vlan_tpid;
		tag[2] = (uint8_t)(aux.tp_vlan_tci >> 8);
		tag[3] = (uint8_t)aux.tp_vlan_tci;
		return 1;
	}
	return 0;
}

static void print_hex(const uint8_t *bytes, size_t length)
{
	static const char digits[] = "0123456789abcdef";
	static char text[2 * MAX_FRAME];

	for (size_t i = 0; i < length; i++) {
		text[2 * i] = digits[bytes[i] >> 4];
		text[2 * i + 1] = digits[bytes[i] & 15];
	}
	fwrite(text, 1, 2 * length, stdout);
}

static int run_sniff(const char *interface, int protocol)
{
	static uint8_t frame[MAX_FRAME];
	int fd = open_socket(interface, protocol), one = 1, buffer = 32 << 20;

	setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &one, sizeof(one));
	setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer));
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		char control[256];
		struct iovec part = { .iov_base = frame, .iov_len = sizeof(frame) };
		struct msghdr message = {
			.msg_iov = &part,
			.msg_iovlen = 1,
			.msg_control = control,
			.msg_controllen = sizeof(control),
		};
		ssize_t length = recvmsg(fd, &message, 0);
		uint8_t tag[4];

		if (length < 0) {
			if (errno == EINTR || errno == ENETDOWN)
				continue;
			return 1;
		}
		if (length >= 12 && find_tag(&message, tag)) {
			print_hex(frame, 12);
			print_hex(tag, sizeof(tag));
			print_hex(frame + 12, (size_t)length - 12);
		} else {
			print_hex(frame, (size_t)length);
		}
		printf("\n");
		fflush(stdout);
	}
}

/* Turns off checksum offload on the interface. */
static int run_fill(const char *interface)
{
	struct ethtool_value value = { .cmd = ETHTOOL_STXCSUM };
	struct ifreq request = { .ifr_data = (void *)&value };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	strncpy(request.ifr_name, interface, IFNAMSIZ - 1);
	if (fd < 0 || ioctl(fd, SIOCETHTOOL, &request) < 0) {
		perror(interface);
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "send") == 0)
		return run_send(argv[2], 0, 0, 0);
	if (argc == 3 && strcmp(argv[1], "bypass") == 0)
		return run_send(argv[2], 0, 1, 1);
	if (argc == 4 && strcmp(argv[1], "push") == 0)
		return run_send(argv[2], atoi(argv[3]), 1, 0);
	if ((argc == 3 || argc == 4) && strcmp(argv[1], "sniff") == 0)
		return run_sniff(argv[2], argc == 4 ? atoi(argv[3]) : ETH_P_ALL);
	if (argc == 3 && strcmp(argv[1], "fill") == 0)
		return run_fill(argv[2]);
	if (argc == 3 && strcmp(argv[1], "tun") == 0)
		return run_tun(argv[2]);
	if (argc == 3 && strcmp(argv[1], "tap") == 0)
		return run_tap(argv[2]);
	fprintf(stderr,
		"usage: frames send|bypass|sniff|fill|tun|tap <interface>, or push|sniff <interface> <protocol>\n");
	return 2;
}
