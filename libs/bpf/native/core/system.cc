// See system.h.
#include "system.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <time.h>

#include <cstring>

#include "error.h"

namespace bailiff {

uint64_t boottimeNs() {
  struct timespec now = {};
  if (::clock_gettime(CLOCK_BOOTTIME, &now) < 0) fail("system.boottimeNs", errno);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

// On cgroup2 the file handle is the kernfs node id, which is the cgroup id (kernel: kernfs_encode_fh).
uint64_t cgroupId(const std::string& path) {
  struct statfs info = {};
  if (::statfs(path.c_str(), &info) < 0) fail("system.cgroupId", errno, path);
  if (static_cast<uint64_t>(info.f_type) != CGROUP2_SUPER_MAGIC)
    fail("system.cgroupId", EINVAL, path + " is not in cgroup2");
  struct {
    struct file_handle header;
    uint64_t id;
  } handle = {};
  handle.header.handle_bytes = sizeof(handle.id);
  int mountId = 0;
  // SAFETY: the kernel writes at most handle_bytes behind the header, which is the id.
  if (::name_to_handle_at(AT_FDCWD, path.c_str(), &handle.header, &mountId, 0) < 0)
    fail("system.cgroupId", errno, path);
  uint64_t id = 0;
  std::memcpy(&id, handle.header.f_handle, sizeof(id));
  return id;
}

void mountBpffs(const std::string& path) {
  if (::mount("bpf", path.c_str(), "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") < 0) {
    fail("system.mountBpffs", errno, path);
  }
}

bool isBpffs(const std::string& path) {
  struct statfs info = {};
  if (::statfs(path.c_str(), &info) < 0) fail("system.isBpffs", errno, path);
  return static_cast<uint64_t>(info.f_type) == BPF_FS_MAGIC;
}

bool tryLock(int fd) {
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return true;
  if (errno != EWOULDBLOCK) fail("system.tryLock", errno);
  return false;
}

}  // namespace bailiff
