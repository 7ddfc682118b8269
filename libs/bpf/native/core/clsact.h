// Programs at a clsact qdisc, for kernels without tcx. Interface, side, priority and handle
// identify a filter. A filter outlives the process: it stays until it or its qdisc is removed.
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

// Creates the qdisc if there is none. `replace`: replaces a filter of that priority and handle,
// otherwise EEXIST.
ClsactFilter attachClsact(int programFd, const ClsactPlace& place, bool replace);

struct ClsactState {
  uint32_t programId;
  bool first;  // no other filter of this side runs before it
};

// Returns nothing if there is no such filter.
std::optional<ClsactState> queryClsact(const ClsactPlace& place);

// Returns false if there was no such filter. `removeQdisc`: also removes the qdisc, if no filter is
// left at either side.
bool detachClsact(const ClsactPlace& place, bool removeQdisc);

}  // namespace bailiff
