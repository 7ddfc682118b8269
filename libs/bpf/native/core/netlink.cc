// See netlink.h.
#include "netlink.h"

#include <sys/socket.h>
#include <sys/time.h>

#include <cstring>

namespace bailiff {

NetlinkRequest::NetlinkRequest(uint16_t type, uint16_t flags) {
  struct nlmsghdr header = {};
  header.nlmsg_type = type;
  header.nlmsg_flags = static_cast<uint16_t>(flags | NLM_F_REQUEST);
  append(&header, sizeof(header));
}

void NetlinkRequest::append(const void* data, size_t size) {
  size_t start = bytes_.size();
  bytes_.resize(start + NLMSG_ALIGN(size));
  std::memcpy(bytes_.data() + start, data, size);
  uint32_t total = static_cast<uint32_t>(bytes_.size());
  std::memcpy(bytes_.data(), &total, sizeof(total));  // nlmsg_len is the header's first field
}

void NetlinkRequest::attribute(uint16_t type, const void* data, size_t size) {
  struct rtattr header = {static_cast<unsigned short>(RTA_LENGTH(size)), type};
  append(&header, sizeof(header));
  append(data, size);
}

const struct rtattr* Attributes::find(uint16_t type) const {
  const struct rtattr* found = nullptr;
  int left = static_cast<int>(size_);
  for (auto* at = static_cast<const struct rtattr*>(first_); RTA_OK(at, left); at = RTA_NEXT(at, left)) {
    if ((at->rta_type & NLA_TYPE_MASK) == type) found = at;
  }
  return found;
}

bool Attributes::u32(uint16_t type, uint32_t& out) const {
  const struct rtattr* at = find(type);
  if (at == nullptr || RTA_PAYLOAD(at) < sizeof(out)) return false;
  std::memcpy(&out, RTA_DATA(at), sizeof(out));
  return true;
}

std::string Attributes::text(uint16_t type) const {
  const struct rtattr* at = find(type);
  if (at == nullptr) return {};
  const char* data = static_cast<const char*>(RTA_DATA(at));
  return std::string(data, ::strnlen(data, RTA_PAYLOAD(at)));
}

Attributes Attributes::nested(uint16_t type) const {
  const struct rtattr* at = find(type);
  if (at == nullptr) return Attributes(nullptr, 0);
  return Attributes(RTA_DATA(at), RTA_PAYLOAD(at));
}

Attributes attributesOf(const struct nlmsghdr* message, size_t headerSize) {
  size_t offset = NLMSG_SPACE(headerSize);
  if (message->nlmsg_len < offset) return Attributes(nullptr, 0);
  return Attributes(reinterpret_cast<const uint8_t*>(message) + offset, message->nlmsg_len - offset);
}

ssize_t receiveFromKernel(int fd, void* buffer, size_t size, int flags) {
  struct sockaddr_nl from = {};
  struct iovec part = {buffer, size};
  struct msghdr message = {};
  message.msg_name = &from;
  message.msg_namelen = sizeof(from);
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  ssize_t length;
  do {
    length = ::recvmsg(fd, &message, flags);
  } while (length < 0 && errno == EINTR);
  if (length < 0) return -errno;
  if (message.msg_flags & MSG_TRUNC) return -ENOBUFS;  // part of the message is lost, as with ENOBUFS
  if (from.nl_pid != 0) return 0;                      // any process may send to this port; only the kernel has id 0
  return length;
}

NetlinkSocket::NetlinkSocket(const char* operation) : operation_(operation) {
  fd_ = Fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (fd_.get() < 0) fail(operation, errno, "netlink socket");
  int on = 1;
  if (::setsockopt(fd_.get(), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on)) < 0) {
    fail(operation, errno, "NETLINK_GET_STRICT_CHK");
  }
  ::setsockopt(fd_.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on,
               sizeof(on));  // only makes errors verbose; older kernels lack it
  struct timeval timeout = {kReplyTimeoutMs / 1000, (kReplyTimeoutMs % 1000) * 1000};
  if (::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0) fail(operation, errno);
}

void NetlinkSocket::request(NetlinkRequest& request, const OnMessage& onMessage, const std::function<void()>& reset,
                            const std::function<bool()>& isEnough) {
  for (int tries = 0; tries < kMaxDumpTries; tries++) {
    if (tries > 0 && reset) reset();
    send(request);
    if (receive(request.isDump(), onMessage, isEnough) == Outcome::kComplete) return;
  }
  fail(operation_, EINTR, "the dump changed while it was read, " + std::to_string(kMaxDumpTries) + " times");
}

void NetlinkSocket::requestUntil(NetlinkRequest& request, const OnMessage& onMessage,
                                 const std::function<bool()>& isEnough) {
  send(request);
  receive(request.isDump(), onMessage, isEnough);
}

void NetlinkSocket::send(NetlinkRequest& request) {
  request.header().nlmsg_seq = ++sequence_;
  struct sockaddr_nl kernel = {};
  kernel.nl_family = AF_NETLINK;
  ssize_t sent = ::sendto(fd_.get(), request.bytes().data(), request.bytes().size(), 0,
                          reinterpret_cast<struct sockaddr*>(&kernel), sizeof(kernel));
  if (sent < 0) fail(operation_, errno, "netlink send");
}

NetlinkSocket::Outcome NetlinkSocket::receive(bool dump, const OnMessage& onMessage,
                                              const std::function<bool()>& isEnough) {
  std::vector<uint8_t> buffer(kReceiveBytes);
  bool interrupted = false;
  for (;;) {
    ssize_t length = receiveFromKernel(fd_.get(), buffer.data(), buffer.size(), 0);
    if (length == -EAGAIN) fail(operation_, ETIMEDOUT, "no reply from the kernel");
    if (length < 0) fail(operation_, static_cast<int>(length), "netlink receive");
    auto left = static_cast<unsigned int>(length);
    // SAFETY: NLMSG_OK keeps every message inside the `left` bytes received; the buffer is aligned as a nlmsghdr needs.
    for (auto* message = reinterpret_cast<struct nlmsghdr*>(buffer.data()); NLMSG_OK(message, left);
         message = NLMSG_NEXT(message, left)) {
      if (message->nlmsg_seq != sequence_) continue;
      if (message->nlmsg_flags & NLM_F_DUMP_INTR) interrupted = true;
      if (message->nlmsg_type == NLMSG_ERROR || message->nlmsg_type == NLMSG_DONE) {
        checkError(message);
        return interrupted ? Outcome::kInterrupted : Outcome::kComplete;
      }
      onMessage(message);
      if (!dump) return Outcome::kComplete;
    }
    if (isEnough && isEnough()) return Outcome::kComplete;
  }
}

// NLMSG_ERROR and NLMSG_DONE both begin with an int: 0 or a negative errno.
void NetlinkSocket::checkError(const struct nlmsghdr* message) const {
  if (message->nlmsg_len < NLMSG_SPACE(sizeof(int))) return;
  int error = 0;
  std::memcpy(&error, NLMSG_DATA(message), sizeof(error));
  if (error == 0) return;
  std::string detail;
  if (message->nlmsg_type == NLMSG_ERROR && (message->nlmsg_flags & NLM_F_ACK_TLVS)) {
    auto* body = static_cast<const struct nlmsgerr*>(NLMSG_DATA(message));
    // Unless capped, the kernel repeats the whole request before the explanation.
    size_t skip = sizeof(*body);
    if (!(message->nlmsg_flags & NLM_F_CAPPED)) skip += NLMSG_ALIGN(body->msg.nlmsg_len) - sizeof(struct nlmsghdr);
    detail = attributesOf(message, skip).text(NLMSGERR_ATTR_MSG);
  }
  fail(operation_, error, detail);
}

}  // namespace bailiff
