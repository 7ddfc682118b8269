// See probe.h.
#include "probe.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <memory>
#include <string_view>

#include "error.h"
#include "fd.h"
#include "program.h"

namespace bailiff {
namespace {

constexpr uint32_t kLoopbackIfindex = 1;             // exists in every network namespace
constexpr std::string_view kLsmPrefix = "bpf_lsm_";  // of the function that a hook calls for BPF

// libbpf's probes return 1, 0 or a negative errno.
int probed(int answer) {
  if (answer == 1) return 0;
  return answer == 0 ? EOPNOTSUPP : -answer;
}

// Returns 0, or the errno of the refused load.
template <size_t count>
int loadOnce(enum bpf_prog_type type, const char* name, const struct bpf_insn (&instructions)[count],
             struct bpf_prog_load_opts& options) {
  int fd = bpf_prog_load(type, name, "GPL", instructions, count, &options);
  if (fd < 0) return -fd;
  ::close(fd);
  return 0;
}

// r0 = value; exit
int loadReturning(enum bpf_prog_type type, const char* name, int value, struct bpf_prog_load_opts& options) {
  struct bpf_insn instructions[2] = {};
  instructions[0].code = BPF_ALU64 | BPF_MOV | BPF_K;
  instructions[0].imm = value;
  instructions[1].code = BPF_JMP | BPF_EXIT;
  return loadOnce(type, name, instructions, options);
}

}  // namespace

int probeProgramType(uint32_t type) {
  return probed(libbpf_probe_bpf_prog_type(static_cast<enum bpf_prog_type>(type), nullptr));
}

int probeMapType(uint32_t type) {
  return probed(libbpf_probe_bpf_map_type(static_cast<enum bpf_map_type>(type), nullptr));
}

int probeHelper(uint32_t programType, uint32_t helper) {
  return probed(libbpf_probe_bpf_helper(static_cast<enum bpf_prog_type>(programType),
                                        static_cast<enum bpf_func_id>(helper), nullptr));
}

int probeTcx() {
  auto options = zeroedOptions<struct bpf_prog_load_opts>();
  options.expected_attach_type = BPF_TCX_INGRESS;
  int error = loadReturning(BPF_PROG_TYPE_SCHED_CLS, "probe_tcx", TCX_NEXT, options);
  if (error != 0) return error;
  try {
    queryTcx(kLoopbackIfindex, BPF_TCX_INGRESS);
  } catch (const NativeError& failure) {
    return failure.error;
  }
  return 0;
}

int probeAtomics() {
  struct bpf_insn instructions[6] = {};
  instructions[0] = {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = 0};
  instructions[1] = {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_1, .src_reg = 0, .off = 0, .imm = 0};
  instructions[2] = {
      .code = BPF_STX | BPF_MEM | BPF_DW, .dst_reg = BPF_REG_10, .src_reg = BPF_REG_0, .off = -8, .imm = 0};
  instructions[3] = {.code = BPF_STX | BPF_ATOMIC | BPF_DW,
                     .dst_reg = BPF_REG_10,
                     .src_reg = BPF_REG_1,
                     .off = -8,
                     .imm = BPF_CMPXCHG};
  instructions[4] = instructions[0];
  instructions[5].code = BPF_JMP | BPF_EXIT;
  auto options = zeroedOptions<struct bpf_prog_load_opts>();
  return loadOnce(BPF_PROG_TYPE_SCHED_CLS, "probe_atomics", instructions, options);
}

int probeLsm(const std::string& hook) {
  int id = libbpf_find_vmlinux_btf_id(hook.c_str(), BPF_LSM_MAC);
  if (id < 0) return -id;
  auto options = zeroedOptions<struct bpf_prog_load_opts>();
  options.expected_attach_type = BPF_LSM_MAC;
  options.attach_btf_id = static_cast<uint32_t>(id);
  return loadReturning(BPF_PROG_TYPE_LSM, "probe_lsm", 0, options);
}

std::vector<std::string> lsmHooks() {
  std::unique_ptr<struct btf, decltype(&btf__free)> btf(btf__load_vmlinux_btf(), &btf__free);
  if (btf == nullptr) fail("probe.lsmHooks", errno, "the kernel's BTF");
  std::vector<std::string> hooks;
  for (uint32_t id = 1; id < btf__type_cnt(btf.get()); id++) {
    const struct btf_type* type = btf__type_by_id(btf.get(), id);
    if (!btf_is_func(type)) continue;
    std::string_view name = btf__name_by_offset(btf.get(), type->name_off);
    if (name.substr(0, kLsmPrefix.size()) == kLsmPrefix) hooks.emplace_back(name.substr(kLsmPrefix.size()));
  }
  return hooks;
}

bool hasKernelFunction(const std::string& name) {
  std::unique_ptr<struct btf, decltype(&btf__free)> btf(btf__load_vmlinux_btf(), &btf__free);
  if (btf == nullptr) fail("probe.hasKernelFunction", errno, "the kernel's BTF");
  return btf__find_by_name_kind(btf.get(), name.c_str(), BTF_KIND_FUNC) > 0;
}

}  // namespace bailiff
