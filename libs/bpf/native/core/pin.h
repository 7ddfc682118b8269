// bpffs: pinning a descriptor, opening a pin as the kind one expects, mounting the file system.
#pragma once

#include <string>

#include "fd.h"

namespace bailiff {

enum class PinKind { kMap, kProgram, kLink };

// Errors: EEXIST when the path is taken, EPERM or EINVAL when it does not lie in a bpffs.
void pinDescriptor(int fd, const std::string& path, const char* operation);

// Opens a pin and makes sure that it is of the wanted kind (EINVAL otherwise): the kernel's info call does not check.
Fd openPin(const std::string& path, PinKind kind, const char* operation);

}  // namespace bailiff
