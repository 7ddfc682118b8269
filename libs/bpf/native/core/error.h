// The only error type below the binding files: the failed operation, its errno, and further
// details. The binding turns it into a BpfError (libs/bpf/src/core/errors.ts). Wrong arguments are
// std::invalid_argument and become a TypeError: they are a programmer's error, not the kernel's.
#pragma once

#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

namespace bailiff {

class NativeError : public std::runtime_error {
 public:
  NativeError(std::string operation, int error, std::string detail, std::string verifierLog)
      : std::runtime_error(operation),
        operation(std::move(operation)),
        error(error),
        detail(std::move(detail)),
        verifierLog(std::move(verifierLog)) {}

  const std::string operation;  // for example "map.update"; errors.ts maps it to a stable code
  const int error;              // positive errno
  const std::string detail;     // object of the operation; may be empty
  const std::string verifierLog;
};

// `error` may be negative, as the kernel returns it.
[[noreturn]] inline void fail(const char* operation, int error, std::string detail = {}, std::string log = {}) {
  throw NativeError(operation, error < 0 ? -error : error, std::move(detail), std::move(log));
}

// libbpf's option structs start with their own size; all other bytes must be zero.
template <typename T>
T zeroedOptions() {
  T options;
  std::memset(&options, 0, sizeof(options));
  options.sz = sizeof(options);
  return options;
}

}  // namespace bailiff
