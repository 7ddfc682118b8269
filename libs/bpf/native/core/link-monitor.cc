// See link-monitor.h.
#include "link-monitor.h"

#include <sys/socket.h>

namespace bailiff {
namespace {

constexpr const char* kOperation = "netlink.monitor";

}  // namespace

LinkMonitor::LinkMonitor(uint32_t receiveBufferBytes) : buffer_(kReceiveBytes) {
  fd_ = Fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  if (fd_.get() < 0) fail(kOperation, errno, "netlink socket");
  int size = static_cast<int>(receiveBufferBytes);
  // FORCE exceeds net.core.rmem_max but needs CAP_NET_ADMIN; without it the plain limit applies.
  if (::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0 &&
      ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)) < 0) {
    fail(kOperation, errno, "receive buffer");
  }
  struct sockaddr_nl address = {};
  address.nl_family = AF_NETLINK;
  address.nl_groups = RTMGRP_LINK;
  if (::bind(fd_.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof(address)) < 0) {
    fail(kOperation, errno, "subscribing to link events");
  }
}

LinkEvents LinkMonitor::take(int atMost) {
  LinkEvents events;
  // From an overrun to the end of the queue, the kernel drops every event. A dump before that misses
  // them, and the older events in the queue would be taken for changes of what it found.
  for (int i = 0; i < (events.overrun ? kMaxDatagramsInQueue : atMost); i++) {
    ssize_t length = receiveFromKernel(fd_.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (length == -EAGAIN) break;
    if (length == -ENOBUFS) {
      events.overrun = true;
      continue;
    }
    if (length < 0) {
      events.error = static_cast<int>(-length);
      break;
    }
    auto left = static_cast<unsigned int>(length);
    // SAFETY: NLMSG_OK keeps every message inside the `left` bytes received.
    for (auto* message = reinterpret_cast<struct nlmsghdr*>(buffer_.data()); NLMSG_OK(message, left);
         message = NLMSG_NEXT(message, left)) {
      LinkRecord link;
      if (parseLink(message, link)) events.links.push_back(std::move(link));
    }
  }
  return events;
}

}  // namespace bailiff
