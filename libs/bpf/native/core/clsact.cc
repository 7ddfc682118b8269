// See clsact.h.
#include "clsact.h"

#include <bpf/libbpf.h>
#include <linux/pkt_sched.h>

#include <string>

#include "error.h"
#include "log.h"
#include "rtnl.h"

namespace bailiff {
namespace {

struct bpf_tc_hook hookAt(uint32_t ifindex, enum bpf_tc_attach_point point) {
  auto hook = zeroedOptions<struct bpf_tc_hook>();
  hook.ifindex = static_cast<int>(ifindex);
  hook.attach_point = point;
  return hook;
}

struct bpf_tc_hook hookOf(const ClsactPlace& place) {
  return hookAt(place.ifindex, place.ingress ? BPF_TC_INGRESS : BPF_TC_EGRESS);
}

struct bpf_tc_opts optionsOf(const ClsactPlace& place) {
  auto options = zeroedOptions<struct bpf_tc_opts>();
  options.priority = place.priority;
  options.handle = place.handle;
  return options;
}

std::string describe(const ClsactPlace& place) {
  return "ifindex " + std::to_string(place.ifindex) + (place.ingress ? " ingress" : " egress");
}

// libbpf prints the kernel's "Exclusivity flag on" and the like although they are ordinary answers here (the qdisc is
// there, the filter is not). What it prints goes into the error when there is one, and nowhere otherwise.
template <typename Call>
int quietly(Call&& call, std::string& said) {
  LogScope scope(LogLevel::kInfo);
  int error = call();
  said = scope.text();
  return error;
}

[[noreturn]] void failWith(const char* operation, int error, const std::string& about, const std::string& said) {
  fail(operation, error, said.empty() ? about : about + ": " + said);
}

bool noFilterLeft(uint32_t ifindex) {
  return countFilters(ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)) == 0 &&
         countFilters(ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)) == 0;
}

void removeEmptyQdisc(const ClsactPlace& place) {
  if (!noFilterLeft(place.ifindex)) return;
  struct bpf_tc_hook both =
      hookAt(place.ifindex, static_cast<enum bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS));
  std::string said;
  int error = quietly([&] { return bpf_tc_hook_destroy(&both); }, said);
  bool gone = error == -ENOENT || error == -EINVAL || error == -ENODEV;
  if (error < 0 && !gone) failWith("clsact.detach", error, "qdisc of " + describe(place), said);
}

}  // namespace

ClsactFilter attachClsact(int programFd, const ClsactPlace& place, bool replace) {
  struct bpf_tc_hook hook = hookOf(place);
  std::string said;
  int error = quietly([&] { return bpf_tc_hook_create(&hook); }, said);
  if (error < 0 && error != -EEXIST) failWith("clsact.attach", error, "creating the qdisc at " + describe(place), said);
  bool created = error == 0;
  struct bpf_tc_opts options = optionsOf(place);
  options.prog_fd = programFd;
  options.flags = replace ? BPF_TC_F_REPLACE : 0;
  error = quietly([&] { return bpf_tc_attach(&hook, &options); }, said);
  if (error < 0) {
    if (created) removeEmptyQdisc(place);
    failWith("clsact.attach", error, describe(place), said);
  }
  return {options.priority, options.handle, options.prog_id, created};
}

std::optional<ClsactFilter> queryClsact(const ClsactPlace& place) {
  struct bpf_tc_hook hook = hookOf(place);
  struct bpf_tc_opts options = optionsOf(place);
  std::string said;
  int error = quietly([&] { return bpf_tc_query(&hook, &options); }, said);
  // EINVAL is what the kernel says when the interface has no clsact qdisc at all, ENODEV when it is gone itself.
  if (error == -ENOENT || error == -EINVAL || error == -ENODEV) return std::nullopt;
  if (error < 0) failWith("clsact.query", error, describe(place), said);
  return ClsactFilter{options.priority, options.handle, options.prog_id, false};
}

bool detachClsact(const ClsactPlace& place, bool removeQdisc) {
  bool found = queryClsact(place).has_value();
  if (found) {
    struct bpf_tc_hook hook = hookOf(place);
    struct bpf_tc_opts options = optionsOf(place);
    std::string said;
    int error = quietly([&] { return bpf_tc_detach(&hook, &options); }, said);
    if (error < 0 && error != -ENOENT) failWith("clsact.detach", error, describe(place), said);
  }
  if (removeQdisc) removeEmptyQdisc(place);
  return found;
}

}  // namespace bailiff
