// Facts of the running system that Node has no call for.
#pragma once

#include <cstdint>
#include <string>

namespace bailiff {

uint64_t boottimeNs();                       // CLOCK_BOOTTIME, the clock of ring records
uint64_t cgroupId(const std::string& path);  // as bpf_get_current_cgroup_id and sk_cgroup_id return it
void mountBpffs(const std::string& path);    // the directory must exist; mounts stack, so never EBUSY
bool isBpffs(const std::string& path);
// Unmaps the resident pages of unchanged file mappings (program text, read-only data), and lets the
// kernel reclaim them first. Pages that are used again are mapped again. Returns the bytes that
// were resident.
uint64_t releaseFilePages();
struct PeerCredentials {
  uint32_t uid = 0;
  uint32_t pid = 0;
};
PeerCredentials peerCredentials(int fd);  // of the process that connected a unix socket
bool tryLock(int fd);  // an exclusive flock, which ends with the open file; false: another process has it

}  // namespace bailiff
