// Programs at a clsact qdisc, for kernels without tcx. A filter is named by interface, side, priority and handle and
// stays until it or its qdisc is removed, whatever becomes of this process.
#pragma once

#include <cstdint>
#include <optional>

namespace bailiff {

struct ClsactPlace {
  uint32_t ifindex;
  bool ingress;
  uint32_t priority;  // 0 on attach: the kernel chooses
  uint32_t handle;    // 0 on attach: the kernel chooses
};

struct ClsactFilter {
  uint32_t priority;
  uint32_t handle;
  uint32_t programId;
  bool createdQdisc;  // the interface had no clsact qdisc before
};

// Creates the qdisc if there is none. replace: an existing filter of that priority and handle gives way, else EEXIST.
ClsactFilter attachClsact(int programFd, const ClsactPlace& place, bool replace);

// Nothing when there is no such filter.
std::optional<ClsactFilter> queryClsact(const ClsactPlace& place);

// False when there was no such filter. removeQdisc: also the qdisc, but only if no filter is left at either side.
bool detachClsact(const ClsactPlace& place, bool removeQdisc);

}  // namespace bailiff
