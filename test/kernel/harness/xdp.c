// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* Sends a frame through an AF_XDP socket, with a checksum left to the kernel
 * (XDP_TXMD_FLAGS_CHECKSUM): `xdp <interface> <count> <checksum start> <checksum offset> <hex> [<hex>]`.
 * A checksum start of 0 means no metadata. The second frame overwrites the first one once the kernel
 * has accepted all copies. A count of 0 only binds the socket, without copying (XDP_ZEROCOPY). With
 * `split <bytes>` instead of the two numbers, each frame has two buffers (Linux 6.6), and this many bytes
 * are in the first one.
 * Exit code: 0 when the kernel accepted all copies of the frame, 3 when it refuses
 * XDP_UMEM_TX_METADATA_LEN. Transmit metadata is in Linux 6.8, this flag in 6.11. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#ifndef XDP_USE_SG
#define XDP_USE_SG    (1 << 4)
#define XDP_PKT_CONTD (1 << 0)
#endif
#ifndef XDP_UMEM_TX_METADATA_LEN
#define XDP_UMEM_TX_METADATA_LEN (1 << 2)
#endif

enum {
	CHUNK = 4096,
	CHUNKS = 16,
	RING = 16,
	METADATA = sizeof(struct xsk_tx_metadata),
	NO_METADATA = 3
};

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static size_t parse_hex(const char *text, uint8_t *to, size_t room)
{
	size_t length = 0;
	unsigned int byte;

	while (length < room && sscanf(text + 2 * length, "%2x", &byte) == 1)
		to[length++] = (uint8_t)byte;
	return length;
}

static void set_option(int fd, int option, const void *value, socklen_t size)
{
	if (setsockopt(fd, SOL_XDP, option, value, size) < 0)
		fail("setsockopt");
}

int main(int argc, char **argv)
{
	struct sockaddr_xdp address = { .sxdp_family = AF_XDP, .sxdp_flags = XDP_COPY };
	struct xdp_umem_reg memory = { .len = CHUNK * CHUNKS, .chunk_size = CHUNK };
	struct xdp_mmap_offsets offsets;
	socklen_t size = sizeof(offsets);
	uint32_t ring = RING, *producer;
	struct xsk_tx_metadata metadata = { .flags = XDP_TXMD_FLAGS_CHECKSUM };
	struct xdp_desc *descriptors;
	uint32_t metadata_bytes = METADATA, options = XDP_TX_METADATA;
	uint8_t *chunk, *map;
	int fd, count, parts = 1;
	size_t length, first = CHUNK;

	if (argc != 6 && argc != 7)
		return 2;
	count = atoi(argv[2]);
	if (count == 0)
		address.sxdp_flags = XDP_ZEROCOPY;
	if (strcmp(argv[3], "split") == 0) {
		address.sxdp_flags |= XDP_USE_SG;
		first = (size_t)atoi(argv[4]);
		parts = 2;
	}
	if (atoi(argv[3]) == 0)
		metadata_bytes = options = 0;
	fd = socket(AF_XDP, SOCK_RAW, 0);
	if (fd < 0)
		fail("AF_XDP");
	chunk = mmap(NULL, CHUNK * CHUNKS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		     0);
	if (chunk == MAP_FAILED)
		fail("mmap");
	memory.addr = (uint64_t)(uintptr_t)chunk;
	memory.tx_metadata_len = metadata_bytes;
	memory.flags = metadata_bytes ? XDP_UMEM_TX_METADATA_LEN : 0;
	if (setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &memory, sizeof(memory)) < 0) {
		if (errno != EINVAL)
			fail("XDP_UMEM_REG");
		return NO_METADATA;
	}
	set_option(fd, XDP_UMEM_FILL_RING, &ring, sizeof(ring));
	set_option(fd, XDP_UMEM_COMPLETION_RING, &ring, sizeof(ring));
	set_option(fd, XDP_TX_RING, &ring, sizeof(ring));
	if (getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &size) < 0)
		fail("XDP_MMAP_OFFSETS");
	map = mmap(NULL, offsets.tx.desc + RING * sizeof(*descriptors), PROT_READ | PROT_WRITE,
		   MAP_SHARED, fd, XDP_PGOFF_TX_RING);
	if (map == MAP_FAILED)
		fail("mmap of the ring");
	producer = (uint32_t *)(map + offsets.tx.producer);
	descriptors = (struct xdp_desc *)(map + offsets.tx.desc);
	address.sxdp_ifindex = if_nametoindex(argv[1]);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		fail("bind");

	metadata.request.csum_start = (uint16_t)atoi(argv[3]);
	metadata.request.csum_offset = (uint16_t)atoi(argv[4]);
	if (count < 1 || count * parts > RING)
		return 2;
	for (int i = 0; i < count; i++) {
		uint64_t offset = (uint64_t)(i * parts) * CHUNK;
		struct xdp_desc *descriptor = &descriptors[i * parts];

		memcpy(chunk + offset, &metadata, metadata_bytes);
		length = parse_hex(argv[5], chunk + offset + metadata_bytes, CHUNK - METADATA);
		*descriptor = (struct xdp_desc){
			.addr = offset + metadata_bytes,
			.len = (uint32_t)length,
			.options = options,
		};
		if (parts == 1 || first >= length)
			continue;
		memcpy(chunk + offset + CHUNK, chunk + offset + first, length - first);
		descriptor[0].len = (uint32_t)first;
		descriptor[0].options = XDP_PKT_CONTD;
		descriptor[1] = (struct xdp_desc){
			.addr = offset + CHUNK,
			.len = (uint32_t)(length - first),
		};
	}
	__atomic_store_n(producer, (uint32_t)(count * parts), __ATOMIC_RELEASE);
	for (int tries = 0; __atomic_load_n((uint32_t *)(map + offsets.tx.consumer),
					    __ATOMIC_ACQUIRE) != (uint32_t)(count * parts);) {
		if (sendto(fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno != EAGAIN &&
		    errno != EBUSY && errno != ENOBUFS)
			fail("sendto");
		if (++tries > 1000)
			return 1;
	}
	for (int i = 0; argc == 7 && i < count; i++)
		parse_hex(argv[6], chunk + (size_t)i * CHUNK + metadata_bytes, CHUNK - METADATA);
	return 0;
}
