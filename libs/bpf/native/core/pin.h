// bpffs: pins a descriptor, opens a pin as a given kind, mounts the file system.
#pragma once

#include <string>

#include "fd.h"

namespace bailiff {

enum class PinKind { kMap, kProgram, kLink };

// Errors: EEXIST if the path exists, EPERM or EINVAL if it is not on a bpffs.
void pinDescriptor(int fd, const std::string& path, const char* operation);

// Opens a pin and checks its kind (otherwise EINVAL), because the kernel's info call does not.
Fd openPin(const std::string& path, PinKind kind, const char* operation);

}  // namespace bailiff
