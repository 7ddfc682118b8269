// The kernel's link events of our network namespace, read in bounded turns.
// Bounds: kMaxDatagramsPerTurn a turn; the socket's buffer is what the caller asks for, and when it overflows the
// kernel says ENOBUFS once: events are lost then and the user must dump again.
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
