// Facts of the running system that Node has no call for.
#pragma once

#include <cstdint>
#include <string>

namespace bailiff {

uint64_t boottimeNs();                       // CLOCK_BOOTTIME, the clock of ring records
uint64_t cgroupId(const std::string& path);  // the id that bpf_get_current_cgroup_id and sk_cgroup_id give
void mountBpffs(const std::string& path);    // the directory must exist; EBUSY never: mounts stack
bool isBpffs(const std::string& path);
// Unmaps what is resident of unchanged file mappings (program text, read-only data) and lets the kernel take those pages first; what
// is used again is mapped again. Gives the bytes that were resident in them.
uint64_t releaseFilePages();
bool tryLock(int fd);  // an exclusive flock, which ends with the open file; false: another has it

}  // namespace bailiff
