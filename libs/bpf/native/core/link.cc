// See link.h.
#include "link.h"

#include <bpf/bpf.h>

#include <fstream>

#include "pin.h"

namespace bailiff {

std::unique_ptr<Link> Link::openPinned(const std::string& path) {
  return std::make_unique<Link>(openPin(path, PinKind::kLink, "link.openPinned"));
}

LinkInfo Link::info() const {
  struct bpf_link_info raw = {};
  uint32_t size = sizeof(raw);
  int error = bpf_link_get_info_by_fd(fd_.get(), &raw, &size);
  if (error < 0) fail("link.info", error);
  LinkInfo info = {raw.type, raw.id, raw.prog_id, 0, 0};
  if (raw.type == BPF_LINK_TYPE_TCX) {
    info.ifindex = raw.tcx.ifindex;
    info.attachType = raw.tcx.attach_type;
  } else if (raw.type == BPF_LINK_TYPE_NETKIT) {
    info.ifindex = raw.netkit.ifindex;
    info.attachType = raw.netkit.attach_type;
  }
  return info;
}

std::string Link::programTag() const {
  constexpr const char* kField = "prog_tag:";
  std::ifstream lines("/proc/self/fdinfo/" + std::to_string(fd_.get()));
  for (std::string word; lines >> word;) {
    if (word == kField && lines >> word) return word;
  }
  return "";
}

void Link::update(int newProgramFd, int oldProgramFd) {
  auto options = zeroedOptions<struct bpf_link_update_opts>();
  if (oldProgramFd >= 0) {
    options.flags = BPF_F_REPLACE;
    options.old_prog_fd = static_cast<uint32_t>(oldProgramFd);
  }
  int error = bpf_link_update(fd_.get(), newProgramFd, &options);
  if (error < 0) fail("link.update", error);
}

void Link::detach() {
  int error = bpf_link_detach(fd_.get());
  if (error < 0) fail("link.detach", error);
}

void Link::pin(const std::string& path) const {
  pinDescriptor(fd_.get(), path, "link.pin");
}

}  // namespace bailiff
