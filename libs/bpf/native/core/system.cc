// See system.h.
#include "system.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <time.h>

#include <cstdio>
#include <cstring>
#include <fstream>

#include "error.h"

namespace bailiff {

uint64_t boottimeNs() {
  struct timespec now = {};
  if (::clock_gettime(CLOCK_BOOTTIME, &now) < 0) fail("system.boottimeNs", errno);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

// On cgroup2 the file handle is the kernfs node id, which is the cgroup id (kernel:
// kernfs_encode_fh).
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
  // SAFETY: the kernel writes at most handle_bytes after the header, which is the id.
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

namespace {

struct Mapping {
  uintptr_t begin = 0;
  uintptr_t end = 0;
  uint64_t residentBytes = 0;
  bool unchangedFile = false;
};

// Releases a mapping only if it is read-only and has no private page. The process writes such pages
// in file mappings (relocations), and MADV_DONTNEED would discard them.
void release(const Mapping& mapping, uint64_t& bytes) {
  if (!mapping.unchangedFile || mapping.residentBytes == 0) return;
  // SAFETY: the range is a mapping that /proc/self/smaps listed; both calls leave its content in the
  // page cache.
  void* address = reinterpret_cast<void*>(mapping.begin);
  const size_t length = mapping.end - mapping.begin;
  if (::madvise(address, length, MADV_COLD) < 0 && errno != EINVAL) fail("system.releaseFilePages", errno);
  if (::madvise(address, length, MADV_DONTNEED) < 0) fail("system.releaseFilePages", errno);
  bytes += mapping.residentBytes;
}

}  // namespace

uint64_t releaseFilePages() {
  std::ifstream smaps("/proc/self/smaps");
  if (!smaps) fail("system.releaseFilePages", errno, "/proc/self/smaps");
  uint64_t bytes = 0;
  Mapping mapping;
  std::string line;
  // LOOP: bounded by the mappings of this process, some hundred.
  while (std::getline(smaps, line)) {
    unsigned long begin = 0, end = 0, kilobytes = 0;
    char mode[5] = {}, path[2] = {};
    if (std::sscanf(line.c_str(), "%lx-%lx %4s %*s %*s %*s %1s", &begin, &end, mode, path) >= 3) {
      release(mapping, bytes);
      mapping = {begin, end, 0, mode[1] == '-' && mode[3] == 'p' && path[0] == '/'};
    } else if (std::sscanf(line.c_str(), "Rss: %lu", &kilobytes) == 1) {
      mapping.residentBytes = kilobytes * 1024;
    } else if (std::sscanf(line.c_str(), "Anonymous: %lu", &kilobytes) == 1 && kilobytes > 0) {
      mapping.unchangedFile = false;
    }
  }
  release(mapping, bytes);
  return bytes;
}

PeerCredentials peerCredentials(int fd) {
  struct ucred peer = {};
  socklen_t length = sizeof(peer);
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0) fail("system.peerCredentials", errno);
  return {peer.uid, static_cast<uint32_t>(peer.pid)};
}

bool tryLock(int fd) {
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return true;
  if (errno != EWOULDBLOCK) fail("system.tryLock", errno);
  return false;
}

}  // namespace bailiff
