// Link events of this network namespace, read in bounded turns. Limits: kMaxDatagramsPerTurn per
// turn; the caller sets the size of the socket buffer. If it overflows, the kernel returns ENOBUFS
// once: events were lost, and the user must dump again.
#pragma once

#include <vector>

#include "rtnl.h"

namespace bailiff {

constexpr int kMaxDatagramsPerTurn = 64;

struct LinkEvents {
  std::vector<LinkRecord> links;
  bool overrun = false;
  int error = 0;  // positive errno of a failure other than overrun
};

class LinkMonitor {
 public:
  explicit LinkMonitor(uint32_t receiveBufferBytes);
  int fd() const { return fd_.get(); }
  LinkEvents take();

 private:
  Fd fd_;
  std::vector<uint8_t> buffer_;
};

}  // namespace bailiff
