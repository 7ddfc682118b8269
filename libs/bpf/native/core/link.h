// A BPF link by descriptor. Closing the last descriptor of a link that is not pinned detaches its
// program.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "fd.h"

namespace bailiff {

struct LinkInfo {
  uint32_t type;  // BPF_LINK_TYPE_*
  uint32_t linkId;
  uint32_t programId;
  // tcx and netkit only; 0 if the device is gone. Of BPF_NETKIT_PEER it is the other end of the pair,
  // an index in that end's namespace.
  uint32_t ifindex;
  uint32_t attachType;  // tcx and netkit only
};

class Link {
 public:
  explicit Link(Fd fd) : fd_(std::move(fd)) {}
  static std::unique_ptr<Link> openPinned(const std::string& path);

  LinkInfo info() const;
  // Tag of the attached program, from the link's own info; empty if none is attached. Opening a
  // program by id would need CAP_SYS_ADMIN.
  std::string programTag() const;
  // Replaces the program atomically. oldProgramFd >= 0: only if that program is attached now,
  // otherwise EPERM.
  void update(int newProgramFd, int oldProgramFd);
  void detach();  // the link stays, without a program
  void pin(const std::string& path) const;

 private:
  Fd fd_;
};

}  // namespace bailiff
