// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Sends from pages that change afterwards: `pages <sender> <interface> <source port> <port>`.
 *
 * Reads lines `<mode> <count> <hex> <hex>`: what is sent, and what the pages hold later, both of one
 * length. Prints `ok` for each line.
 * after	writes the other bytes as soon as the kernel has accepted the frame; each frame has a
 *		page of its own
 * race		a thread writes both in turn while the frames, all from one page, are sent
 * Senders of datagrams, which begin with a header in memory of the kernel:
 * write	copies the bytes
 * splice	vmsplice() of the pages into a pipe, splice() into the socket
 * sendfile	sendfile() of a mapped file
 * zerocopy	MSG_ZEROCOPY
 * uring	IORING_OP_SEND_ZC
 * Senders of whole frames:
 * packet	splice() into a packet socket
 * ring	PACKET_TX_RING, which is written to in place
 * Prints `ready`, or `lacking <call>` if the kernel has no such sender. `ring` cannot race.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/io_uring.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PAGE = 4096, SLOTS = 64, RING_FRAME = 2048, URING = 8 };

static uint8_t *slots, sent[PAGE], later[PAGE];
static size_t length;
static int target, file, pipes[2], uring;
/* Where the bytes of a slot begin: the frames of the packet socket's ring have a header. */
static size_t slot_size = PAGE, slot_start;

static void fail(const char *what)
{
	bool lacking = errno == ENOSYS || errno == EPERM;

	printf("%s %s: %s\n", lacking ? "lacking" : "failed", what, strerror(errno));
	exit(lacking ? 0 : 1);
}

static uint8_t *bytes_of(unsigned int slot)
{
	return slots + slot * slot_size + slot_start;
}

static void send_copied(unsigned int slot)
{
	while (send(target, bytes_of(slot), length, 0) < 0)
		if (errno != ENOBUFS && errno != EAGAIN)
			fail("send");
}

static void send_spliced(unsigned int slot)
{
	struct iovec part = { .iov_base = bytes_of(slot), .iov_len = length };

	if (vmsplice(pipes[1], &part, 1, 0) != (ssize_t)length)
		fail("vmsplice");
	if (splice(pipes[0], NULL, target, NULL, length, 0) != (ssize_t)length)
		fail("splice");
}

static void send_from_file(unsigned int slot)
{
	off_t at = (off_t)slot * PAGE;

	if (sendfile(target, file, &at, length) != (ssize_t)length)
		fail("sendfile");
}

/* Notifications of the kernel use up the memory that the socket may have. */
static void drop_notifications(void)
{
	char control[256];
	struct msghdr message = { .msg_control = control, .msg_controllen = sizeof(control) };

	while (recvmsg(target, &message, MSG_ERRQUEUE | MSG_DONTWAIT) >= 0)
		message.msg_controllen = sizeof(control);
}

static void send_zerocopy(unsigned int slot)
{
	while (send(target, bytes_of(slot), length, MSG_ZEROCOPY) < 0) {
		if (errno != ENOBUFS && errno != EAGAIN)
			fail("MSG_ZEROCOPY");
		drop_notifications();
	}
	drop_notifications();
}

/* The submission and the completion queue, which are one mapping since Linux 5.4. */
static struct io_uring_params uring_params;
static uint8_t *uring_map;
static struct io_uring_sqe *uring_entries;

static uint32_t *uring_field(uint32_t offset)
{
	return (uint32_t *)(uring_map + offset);
}

static void open_uring(void)
{
	size_t size;

	uring = (int)syscall(SYS_io_uring_setup, URING, &uring_params);
	if (uring < 0)
		fail("io_uring_setup");
	size = uring_params.cq_off.cqes + uring_params.cq_entries * sizeof(struct io_uring_cqe);
	uring_map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, uring,
			 IORING_OFF_SQ_RING);
	uring_entries = mmap(NULL, URING * sizeof(*uring_entries), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_POPULATE, uring, IORING_OFF_SQES);
	if (uring_map == MAP_FAILED || uring_entries == MAP_FAILED)
		fail("mmap of io_uring");
}

/* Each entry completes once when it is sent, and again when the kernel has released the pages. */
static void send_uring(unsigned int slot)
{
	uint32_t tail = *uring_field(uring_params.sq_off.tail),
		 mask = *uring_field(uring_params.sq_off.ring_mask);
	const struct io_uring_cqe *completions = (void *)(uring_map + uring_params.cq_off.cqes);
	uint32_t *head = uring_field(uring_params.cq_off.head),
		 *end = uring_field(uring_params.cq_off.tail);

	uring_entries[tail & mask] = (struct io_uring_sqe){
		.opcode = IORING_OP_SEND_ZC,
		.fd = target,
		.addr = (uint64_t)(uintptr_t)bytes_of(slot),
		.len = (uint32_t)length,
	};
	uring_field(uring_params.sq_off.array)[tail & mask] = tail & mask;
	__atomic_store_n(uring_field(uring_params.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, uring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
		fail("io_uring_enter");
	for (; *head != __atomic_load_n(end, __ATOMIC_ACQUIRE);
	     __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE)) {
		int result = completions[*head & (uring_params.cq_entries - 1)].res;

		if (result >= 0)
			continue;
		errno = result == -EINVAL ? ENOSYS : -result;
		fail("IORING_OP_SEND_ZC");
	}
}

static struct tpacket2_hdr *ring_frame(unsigned int slot)
{
	return (void *)(slots + slot * slot_size);
}

static void send_ring(unsigned int slot)
{
	struct tpacket2_hdr *frame = ring_frame(slot);

	while (__atomic_load_n(&frame->tp_status, __ATOMIC_ACQUIRE) != TP_STATUS_AVAILABLE)
		sched_yield();
	frame->tp_len = (uint32_t)length;
	__atomic_store_n(&frame->tp_status, TP_STATUS_SEND_REQUEST, __ATOMIC_RELEASE);
	if (send(target, NULL, 0, MSG_DONTWAIT) < 0 && errno != EAGAIN)
		fail("send of the ring");
}

static void open_ring(void)
{
	struct tpacket_req request = {
		.tp_block_size = PAGE,
		.tp_block_nr = SLOTS / 2,
		.tp_frame_size = RING_FRAME,
		.tp_frame_nr = SLOTS,
	};
	int version = TPACKET_V2;

	if (setsockopt(target, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) < 0 ||
	    setsockopt(target, SOL_PACKET, PACKET_TX_RING, &request, sizeof(request)) < 0)
		fail("PACKET_TX_RING");
	slots = mmap(NULL, (size_t)RING_FRAME * SLOTS, PROT_READ | PROT_WRITE, MAP_SHARED, target,
		     0);
	slot_size = RING_FRAME;
	slot_start = TPACKET2_HDRLEN - sizeof(struct sockaddr_ll);
}

static void open_packet_socket(const char *interface)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET,
				       .sll_ifindex = (int)if_nametoindex(interface) };

	target = socket(AF_PACKET, SOCK_RAW, 0);
	if (target < 0 || bind(target, (struct sockaddr *)&address, sizeof(address)) < 0)
		fail(interface);
}

/* A broadcast needs no neighbour, and without a checksum the bytes may change. */
static void open_datagram_socket(const char *interface, int source, int destination)
{
	struct sockaddr_in from = { .sin_family = AF_INET, .sin_port = htons((uint16_t)source) };
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)destination) };
	int one = 1, buffer = 8 << 20;

	to.sin_addr.s_addr =
		htonl(strcmp(interface, "lo") == 0 ? INADDR_LOOPBACK : INADDR_BROADCAST);
	target = socket(AF_INET, SOCK_DGRAM, 0);
	if (target < 0 ||
	    setsockopt(target, SOL_SOCKET, SO_BINDTODEVICE, interface, strlen(interface)) < 0 ||
	    setsockopt(target, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    setsockopt(target, SOL_SOCKET, SO_BROADCAST, &one, sizeof(one)) < 0 ||
	    setsockopt(target, SOL_SOCKET, SO_NO_CHECK, &one, sizeof(one)) < 0 ||
	    setsockopt(target, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer)) < 0 ||
	    setsockopt(target, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)) < 0 ||
	    bind(target, (struct sockaddr *)&from, sizeof(from)) < 0 ||
	    connect(target, (struct sockaddr *)&to, sizeof(to)) < 0)
		fail(interface);
}

static bool racing;
static pthread_t racer;

static void *write_in_turn(void *unused)
{
	volatile uint8_t *page = bytes_of(0);

	for (bool other = false; __atomic_load_n(&racing, __ATOMIC_RELAXED); other = !other)
		for (size_t i = 0; i < length; i++)
			if (sent[i] != later[i])
				page[i] = other ? later[i] : sent[i];
	return unused;
}

static void pin(pthread_t thread, int processor)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	if (pthread_setaffinity_np(thread, sizeof(set), &set))
		fail("pthread_setaffinity_np");
}

static void run(void (*sender)(unsigned int), bool race, unsigned long count)
{
	memcpy(bytes_of(0), sent, length);
	if (race) {
		racing = true;
		if (pthread_create(&racer, NULL, write_in_turn, NULL))
			fail("pthread_create");
		pin(racer, sysconf(_SC_NPROCESSORS_ONLN) > 1 ? 1 : 0);
	}
	for (unsigned long i = 0; i < count; i++) {
		unsigned int slot = race ? 0 : i % SLOTS;

		if (!race)
			memcpy(bytes_of(slot), sent, length);
		sender(slot);
		if (!race)
			memcpy(bytes_of(slot), later, length);
	}
	if (!race)
		return;
	__atomic_store_n(&racing, false, __ATOMIC_RELAXED);
	pthread_join(racer, NULL);
}

static size_t parse_hex(const char *text, uint8_t *to)
{
	size_t bytes = 0;
	unsigned int byte;

	while (bytes < PAGE && isxdigit(text[2 * bytes]) &&
	       sscanf(text + 2 * bytes, "%2x", &byte) == 1)
		to[bytes++] = (uint8_t)byte;
	return bytes;
}

static void (*open_sender(const char *name, const char *interface, int source,
			  int destination))(unsigned int)
{
	bool packets = strcmp(name, "packet") == 0, ring = strcmp(name, "ring") == 0;

	file = memfd_create("pages", MFD_CLOEXEC);
	if (file < 0 || ftruncate(file, PAGE * SLOTS) < 0 || pipe(pipes) < 0)
		fail("memfd_create");
	slots = mmap(NULL, PAGE * SLOTS, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (packets || ring)
		open_packet_socket(interface);
	else
		open_datagram_socket(interface, source, destination);
	if (ring)
		open_ring();
	if (strcmp(name, "uring") == 0)
		open_uring();
	if (slots == MAP_FAILED)
		fail("mmap");
	if (packets || strcmp(name, "splice") == 0)
		return send_spliced;
	if (strcmp(name, "sendfile") == 0)
		return send_from_file;
	if (strcmp(name, "zerocopy") == 0)
		return send_zerocopy;
	return ring ? send_ring : uring ? send_uring : send_copied;
}

int main(int argc, char **argv)
{
	static char line[4 * PAGE + 128];
	void (*sender)(unsigned int);

	if (argc != 5)
		return 2;
	pin(pthread_self(), 0);
	sender = open_sender(argv[1], argv[2], atoi(argv[3]), atoi(argv[4]));
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		char mode[8];
		unsigned long count;
		int first, second;

		if (sscanf(line, "%7s %lu %n%*s %n", mode, &count, &first, &second) != 2)
			return 2;
		length = parse_hex(line + first, sent);
		if (parse_hex(line + second, later) != length)
			return 2;
		run(sender, strcmp(mode, "race") == 0, count);
		printf("ok\n");
		fflush(stdout);
	}
	return 0;
}
