// Sends UDP datagrams with a forged source address: spoof <interface> <source> <destination>
// <count>
//
// Uses a packet socket, as forging tools do; prints `sent <n>` or `socket <errno>`.
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static uint16_t checksum(const void *data, size_t length)
{
	const uint16_t *words = data;
	uint32_t sum = 0;

	for (size_t i = 0; i < length / 2; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return ~(sum + (sum >> 16));
}

int main(int argc, char **argv)
{
	struct {
		struct ether_header link;
		struct iphdr ip;
		struct udphdr udp;
	} __attribute__((packed)) frame = { 0 };
	struct ifreq request = { 0 };
	int sent = 0;

	if (argc != 5) return 2;
	int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_IP));
	if (fd < 0) {
		printf("socket %s\n", strerrorname_np(errno));
		return 0;
	}
	strncpy(request.ifr_name, argv[1], IFNAMSIZ - 1);
	if (ioctl(fd, SIOCGIFHWADDR, &request)) return 1;
	memset(frame.link.ether_dhost, 0xff, ETH_ALEN);
	memcpy(frame.link.ether_shost, request.ifr_hwaddr.sa_data, ETH_ALEN);
	frame.link.ether_type = htons(ETH_P_IP);
	frame.ip.version = 4;
	frame.ip.ihl = 5;
	frame.ip.ttl = 64;
	frame.ip.protocol = IPPROTO_UDP;
	frame.ip.tot_len = htons(sizeof frame.ip + sizeof frame.udp);
	frame.ip.saddr = inet_addr(argv[2]);
	frame.ip.daddr = inet_addr(argv[3]);
	frame.ip.check = checksum(&frame.ip, sizeof frame.ip);
	frame.udp.source = htons(40000);
	frame.udp.dest = htons(53);
	frame.udp.len = htons(sizeof frame.udp);
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
				  .sll_ifindex = if_nametoindex(argv[1]),
				  .sll_halen = ETH_ALEN };
	for (int i = 0; i < atoi(argv[4]); i++)
		if (sendto(fd, &frame, sizeof frame, 0, (struct sockaddr *)&to, sizeof to) ==
		    sizeof frame)
			sent++;
	printf("sent %d\n", sent);
	return 0;
}
