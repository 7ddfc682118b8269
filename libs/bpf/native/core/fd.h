// A file descriptor with one owner. It is the only holder of a kernel object of the binding (map,
// program, link, socket), so closing an object file never invalidates a map that was taken from it.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "error.h"

namespace bailiff {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() { reset(); }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }

  int get() const { return fd_; }

  void reset() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

  // A second descriptor of the same kernel object, closed on exec.
  static Fd duplicate(int fd, const char* operation) {
    int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0) fail(operation, errno, "duplicating a descriptor");
    return Fd(copy);
  }

 private:
  int fd_ = -1;
};

}  // namespace bailiff
