// A FUSE server of one file, which the kernel itself reads from another one (passthrough, since Linux
// 6.9): `backing` is a descriptor of that, of which O_PATH is enough.
#ifndef BAILIFF_PASSTHROUGH_H
#define BAILIFF_PASSTHROUGH_H

#include <errno.h>
#include <linux/fuse.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

// Answers the kernel until the file system is unmounted.
static int answer(int device, int backing, size_t size)
{
	static char request[1 << 17];
	struct fuse_in_header *in = (void *)request;

	while (read(device, request, sizeof request) > 0) {
		struct {
			struct fuse_out_header header;
			union {
				struct fuse_init_out init;
				struct fuse_entry_out entry;
				struct fuse_attr_out attr;
				struct fuse_open_out open;
			};
		} out = { .header.unique = in->unique };
		struct fuse_backing_map map = { .fd = backing };
		size_t length = 0;

		if (in->opcode == FUSE_INIT) {
			out.init = (struct fuse_init_out){ .major = FUSE_KERNEL_VERSION,
							   .minor = FUSE_KERNEL_MINOR_VERSION,
							   .flags = FUSE_INIT_EXT,
							   .flags2 = FUSE_PASSTHROUGH >> 32,
							   .max_write = 4096,
							   .max_stack_depth = 1 };
			length = sizeof out.init;
		} else if (in->opcode == FUSE_LOOKUP) {
			out.entry.nodeid = 2;
			out.entry.attr = (struct fuse_attr){
				.ino = 2, .mode = S_IFREG | 0644, .nlink = 1, .size = size
			};
			length = sizeof out.entry;
		} else if (in->opcode == FUSE_GETATTR) {
			out.attr.attr =
				(struct fuse_attr){ .ino = in->nodeid,
						    .mode = in->nodeid == 1 ? S_IFDIR | 0755
									    : S_IFREG | 0644,
						    .nlink = 1,
						    .size = size };
			length = sizeof out.attr;
		} else if (in->opcode == FUSE_OPEN) {
			out.open.open_flags = FOPEN_PASSTHROUGH;
			out.open.backing_id = ioctl(device, FUSE_DEV_IOC_BACKING_OPEN, &map);
			if (out.open.backing_id < 0) out.header.error = -errno;
			length = sizeof out.open;
		} else if (in->opcode == FUSE_FORGET || in->opcode == FUSE_BATCH_FORGET) {
			continue;
		} else if (in->opcode != FUSE_FLUSH && in->opcode != FUSE_RELEASE) {
			out.header.error = -ENOSYS;
		}
		out.header.len = sizeof out.header + (out.header.error ? 0 : length);
		if (write(device, &out, out.header.len) < 0) return 1;
	}
	return 0;
}

#endif
