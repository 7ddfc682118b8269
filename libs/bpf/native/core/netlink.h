// Raw NETLINK_ROUTE: a request builder, a blocking request socket, and an attribute iterator. Only
// messages from the kernel (port id 0) are accepted. Requests use strict checking; without it the
// kernel ignores IFLA/IFA_TARGET_NETNSID in dumps. Limits: a reply must arrive within
// kReplyTimeoutMs; an interrupted dump is repeated kMaxDumpTries times, then EINTR.
#pragma once

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "fd.h"

namespace bailiff {

constexpr int kReplyTimeoutMs = 5000;  // the kernel replies under its own lock, so seconds mean that it hangs
constexpr int kMaxDumpTries = 5;
// The kernel's largest dump chunk is 32 KiB. One link of a pod has up to 64 KiB of alternative names.
constexpr size_t kReceiveBytes = 128u << 10;

class NetlinkRequest {
 public:
  NetlinkRequest(uint16_t type, uint16_t flags);

  // The family header (ifinfomsg, ifaddrmsg, ...), once, before any attribute.
  template <typename T>
  void header(const T& value) {
    append(&value, sizeof(value));
  }
  void attribute(uint16_t type, const void* data, size_t size);
  void attributeU32(uint16_t type, uint32_t value) { attribute(type, &value, sizeof(value)); }

  std::vector<uint8_t>& bytes() { return bytes_; }
  // SAFETY: the request begins with the nlmsghdr written by its constructor; vector storage is aligned for it.
  struct nlmsghdr& header() { return *reinterpret_cast<struct nlmsghdr*>(bytes_.data()); }
  bool isDump() { return (header().nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP; }

 private:
  void append(const void* data, size_t size);
  std::vector<uint8_t> bytes_;
};

// Attributes of one message by type; the last of a type wins. Another instance reads a nested
// block.
class Attributes {
 public:
  Attributes(const void* first, size_t size) : first_(first), size_(size) {}
  const struct rtattr* find(uint16_t type) const;
  bool u32(uint16_t type, uint32_t& out) const;
  std::string text(uint16_t type) const;
  Attributes nested(uint16_t type) const;

 private:
  const void* first_;  // SAFETY: points into the receive buffer, used only while the message is being handled
  size_t size_;
};

// The attributes after a family header of `headerSize` bytes.
Attributes attributesOf(const struct nlmsghdr* message, size_t headerSize);

using OnMessage = std::function<void(const struct nlmsghdr*)>;

class NetlinkSocket {
 public:
  explicit NetlinkSocket(const char* operation);
  int fd() const { return fd_.get(); }

  // Sends the request and passes on each message until the reply is complete. Calls `reset` before it
  // repeats a dump. Errors of the kernel are thrown with the kernel's own explanation as detail. For `isEnough` see
  // requestUntil.
  void request(NetlinkRequest& request, const OnMessage& onMessage, const std::function<void()>& reset = {},
               const std::function<bool()>& isEnough = {});

  // The same until `isEnough`, which is asked after each chunk of a dump. An interrupted dump is not
  // repeated. The socket cannot be used again: what is left of the reply is still in it.
  void requestUntil(NetlinkRequest& request, const OnMessage& onMessage, const std::function<bool()>& isEnough);

 private:
  enum class Outcome { kComplete, kInterrupted };
  void send(NetlinkRequest& request);
  Outcome receive(bool dump, const OnMessage& onMessage, const std::function<bool()>& isEnough = {});
  void checkError(const struct nlmsghdr* message) const;

  Fd fd_;
  const char* operation_;
  uint32_t sequence_ = 0;
};

// Receives one datagram. Returns its size, 0 if it is to be ignored, or a negative errno.
ssize_t receiveFromKernel(int fd, void* buffer, size_t size, int flags);

}  // namespace bailiff
