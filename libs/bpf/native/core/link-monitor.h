// Link events of this network namespace, read in bounded turns. Limits: kMaxDatagramsPerTurn per
// turn; the caller sets the size of the socket buffer. If it overflows, the kernel returns ENOBUFS
// once, before what is queued, and drops all events until the queue is empty. That turn reads the whole
// queue; then the user must dump again.
#pragma once

#include <vector>

#include "rtnl.h"

namespace bailiff {

constexpr int kMaxDatagramsPerTurn = 64;
// More than a receive buffer of 64 MiB holds: the queue was empty once.
constexpr int kMaxDatagramsInQueue = 131072;

struct LinkEvents {
  std::vector<LinkRecord> links;
  bool overrun = false;
  int error = 0;  // positive errno of a failure other than overrun
};

class LinkMonitor {
 public:
  explicit LinkMonitor(uint32_t receiveBufferBytes);
  int fd() const { return fd_.get(); }
  // atMost datagrams; after an overrun, the whole queue.
  LinkEvents take(int atMost = kMaxDatagramsPerTurn);

 private:
  Fd fd_;
  std::vector<uint8_t> buffer_;
};

}  // namespace bailiff
