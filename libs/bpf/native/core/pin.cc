// See pin.h.
#include "pin.h"

#include <bpf/bpf.h>
#include <limits.h>

#include <algorithm>

namespace bailiff {
namespace {

const char* procName(PinKind kind) {
  switch (kind) {
    case PinKind::kMap:
      return "bpf-map";
    case PinKind::kProgram:
      return "bpf-prog";
    default:
      return "bpf-link";
  }
}

}  // namespace

void pinDescriptor(int fd, const std::string& path, const char* operation) {
  int error = bpf_obj_pin(fd, path.c_str());
  if (error < 0) fail(operation, error, path);
}

Fd openPin(const std::string& path, PinKind kind, const char* operation) {
  int raw = bpf_obj_get(path.c_str());
  if (raw < 0) fail(operation, raw, path);
  Fd fd(raw);
  // bpf_obj_get_info_by_fd fills the struct that fits the descriptor, so a wrong kind would be read
  // as garbage.
  char target[PATH_MAX];
  std::string link = "/proc/self/fd/" + std::to_string(raw);
  ssize_t length = ::readlink(link.c_str(), target, sizeof(target));
  if (length < 0) fail(operation, errno, link);
  std::string name(target, static_cast<size_t>(length));
  // The spelling differs between kernels: bpf_link, bpf-link.
  std::replace(name.begin(), name.end(), '_', '-');
  if (name.find(procName(kind)) == std::string::npos) fail(operation, EINVAL, path + " is " + name);
  return fd;
}

}  // namespace bailiff
