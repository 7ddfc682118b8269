// See program.h.
#include "program.h"

#include <bpf/bpf.h>

#include <cstdio>

#include "pin.h"

namespace bailiff {
namespace {

constexpr uint32_t kMaxTcxPrograms = 64;  // BPF_MPROG_MAX in the kernel

ProgramInfo readProgramInfo(int fd) {
  struct bpf_prog_info raw = {};
  uint32_t size = sizeof(raw);
  int error = bpf_prog_get_info_by_fd(fd, &raw, &size);
  if (error < 0) fail("program.info", error);
  ProgramInfo info;
  info.name = raw.name;
  info.id = raw.id;
  info.type = raw.type;
  info.instructions = raw.xlated_prog_len / sizeof(struct bpf_insn);
  info.verifiedInstructions = raw.verified_insns;
  info.runs = raw.run_cnt;
  info.runNs = raw.run_time_ns;
  char hex[3];
  for (unsigned char byte : raw.tag) {
    std::snprintf(hex, sizeof(hex), "%02x", byte);
    info.tag += hex;
  }
  return info;
}

}  // namespace

TcxChain queryTcx(uint32_t ifindex, uint32_t attachType) {
  uint32_t programIds[kMaxTcxPrograms] = {};
  uint32_t linkIds[kMaxTcxPrograms] = {};
  auto options = zeroedOptions<struct bpf_prog_query_opts>();
  options.prog_ids = programIds;
  options.link_ids = linkIds;
  options.count = kMaxTcxPrograms;
  int error = bpf_prog_query_opts(static_cast<int>(ifindex), static_cast<enum bpf_attach_type>(attachType), &options);
  if (error < 0) fail("tcx.query", error, "ifindex " + std::to_string(ifindex));
  TcxChain chain;
  chain.revision = options.revision;
  for (uint32_t i = 0; i < options.count && i < kMaxTcxPrograms; i++) {
    chain.programs.push_back({programIds[i], linkIds[i]});
  }
  return chain;
}

Program::Program(Fd fd) : fd_(std::move(fd)), info_(readProgramInfo(fd_.get())) {}

std::unique_ptr<Program> Program::openPinned(const std::string& path) {
  return std::make_unique<Program>(openPin(path, PinKind::kProgram, "program.openPinned"));
}

std::unique_ptr<Program> Program::byId(uint32_t id) {
  int fd = bpf_prog_get_fd_by_id(id);
  if (fd < 0) fail("program.byId", fd, std::to_string(id));
  return std::make_unique<Program>(Fd(fd));
}

TestRunResult Program::testRun(ByteView data, std::optional<ByteView> context, uint32_t repeat,
                               uint32_t dataOutBytes) const {
  TestRunResult result;
  result.dataOut.resize(dataOutBytes);
  auto options = zeroedOptions<struct bpf_test_run_opts>();
  // SAFETY: the kernel reads data and context and writes no more than the sizes given for the two output blocks.
  options.data_in = data.data;
  options.data_size_in = static_cast<uint32_t>(data.size);
  options.data_out = dataOutBytes > 0 ? result.dataOut.data() : nullptr;
  options.data_size_out = dataOutBytes;
  if (context) {
    result.contextOut.resize(context->size);
    options.ctx_in = context->data;
    options.ctx_size_in = static_cast<uint32_t>(context->size);
    options.ctx_out = result.contextOut.data();
    options.ctx_size_out = static_cast<uint32_t>(context->size);
  }
  options.repeat = static_cast<int>(repeat);
  int error = bpf_prog_test_run_opts(fd_.get(), &options);
  if (error < 0) fail("program.testRun", error, info_.name);
  if (options.data_size_out < dataOutBytes) result.dataOut.resize(options.data_size_out);
  if (context && options.ctx_size_out < context->size) result.contextOut.resize(options.ctx_size_out);
  result.retval = options.retval;
  result.durationNs = options.duration;
  return result;
}

std::unique_ptr<Link> Program::attachTcx(uint32_t ifindex, uint32_t attachType, const TcxPlace& place) const {
  auto options = zeroedOptions<struct bpf_link_create_opts>();
  options.flags = place.flags;
  options.tcx.relative_id = place.relativeId;
  options.tcx.expected_revision = place.expectedRevision;
  int fd =
      bpf_link_create(fd_.get(), static_cast<int>(ifindex), static_cast<enum bpf_attach_type>(attachType), &options);
  if (fd < 0) fail("tcx.attach", fd, info_.name + " at ifindex " + std::to_string(ifindex));
  return std::make_unique<Link>(Fd(fd));
}

// Without a name, BPF_RAW_TRACEPOINT_OPEN takes the hook from the program itself. It creates the
// same link as BPF_LINK_CREATE, which is newer (5.18) and needs arguments that the program has. It
// refuses iterators.
std::unique_ptr<Link> Program::attach() const {
  int fd = bpf_raw_tracepoint_open(nullptr, fd_.get());
  if (fd == -EINVAL && info_.type == BPF_PROG_TYPE_TRACING) {
    fd = bpf_link_create(fd_.get(), 0, BPF_TRACE_ITER, nullptr);
  }
  if (fd < 0) fail("hook.attach", fd, info_.name);
  return std::make_unique<Link>(Fd(fd));
}

void Program::pin(const std::string& path) const {
  pinDescriptor(fd_.get(), path, "program.pin");
}

}  // namespace bailiff
