// A loaded BPF program by descriptor: test run, attach to tcx, pin. Limit: a test run copies out at
// most as many bytes as the caller asks for (TypeScript sets the default).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fd.h"
#include "link.h"
#include "map.h"

namespace bailiff {

struct ProgramInfo {
  std::string name;
  uint32_t id;
  uint32_t type;
  std::string tag;                // 16 hex digits over the instructions
  uint32_t instructions;          // after the verifier
  uint32_t verifiedInstructions;  // processed by the verifier; 0 below Linux 5.16
  uint64_t runs;                  // counted while kernel.bpf_stats_enabled is set, as the time
  uint64_t runNs;
};

struct TestRunResult {
  uint32_t retval;
  uint32_t durationNs;  // mean of one repetition
  Bytes dataOut;
  Bytes contextOut;
};

struct TcxPlace {
  uint32_t flags;  // BPF_F_BEFORE, BPF_F_AFTER, BPF_F_ID, BPF_F_LINK
  uint32_t relativeId;
  uint64_t expectedRevision;  // 0: any
};

struct TcxMember {
  uint32_t programId;
  uint32_t linkId;  // 0: attached without a link
};

struct TcxChain {
  uint64_t revision;
  std::vector<TcxMember> programs;  // in the order of execution
};

// Programs attached at a hook of tcx or netkit. Errors: ENODEV; EINVAL if the kernel has no tcx; for a
// netkit hook EACCES at the end that is not the primary, ENXIO at another kind of interface.
TcxChain queryTcx(uint32_t ifindex, uint32_t attachType);

class Program {
 public:
  explicit Program(Fd fd);
  static std::unique_ptr<Program> openPinned(const std::string& path);
  static std::unique_ptr<Program> byId(uint32_t id);

  const ProgramInfo& info() const { return info_; }
  int fd() const { return fd_.get(); }

  TestRunResult testRun(ByteView data, std::optional<ByteView> context, uint32_t repeat, uint32_t dataOutBytes) const;
  std::unique_ptr<Link> attachTcx(uint32_t ifindex, uint32_t attachType, const TcxPlace& place) const;
  // Attaches to the hook that the program was loaded for: LSM, tracepoint with BTF, fentry, fexit,
  // iterator. EINVAL for other programs. The pin of an iterator's link is a file that runs it.
  std::unique_ptr<Link> attach() const;
  void pin(const std::string& path) const;

 private:
  Fd fd_;
  ProgramInfo info_;
};

}  // namespace bailiff
