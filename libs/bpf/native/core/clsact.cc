// See clsact.h.
#include "clsact.h"

#include <bpf/libbpf.h>
#include <linux/pkt_sched.h>

#include <string>

#include "error.h"
#include "libbpf-lines.h"
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

// libbpf prints "Exclusivity flag on" and similar lines for ordinary results (the qdisc exists, the
// filter does not). The lines go into an error if there is one, otherwise nowhere.
template <typename Call>
int quietly(Call&& call, std::string& printed) {
  LibbpfLines lines;
  int error = call();
  printed = lines.text();
  return error;
}

[[noreturn]] void failWith(const char* operation, int error, const std::string& about, const std::string& printed) {
  fail(operation, error, printed.empty() ? about : about + ": " + printed);
}

// An ingress qdisc has one chain for both sides: there, a filter of the egress side would take the
// place of the one that sees what the interface receives.
bool hasSide(const ClsactPlace& place) {
  return place.ingress || ingressKind(place.ifindex) != "ingress";
}

uint32_t sideOf(bool ingress) {
  return TC_H_MAKE(TC_H_CLSACT, ingress ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS);
}

bool noFilterLeft(uint32_t ifindex) {
  return countFilters(ifindex, sideOf(true)) == 0 && countFilters(ifindex, sideOf(false)) == 0;
}

void removeEmptyQdisc(const ClsactPlace& place) {
  if (!noFilterLeft(place.ifindex)) return;
  struct bpf_tc_hook both =
      hookAt(place.ifindex, static_cast<enum bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS));
  std::string printed;
  int error = quietly([&] { return bpf_tc_hook_destroy(&both); }, printed);
  bool gone = error == -ENOENT || error == -EINVAL || error == -ENODEV;
  if (error < 0 && !gone) failWith("clsact.detach", error, "qdisc of " + describe(place), printed);
}

}  // namespace

ClsactFilter attachClsact(int programFd, const ClsactPlace& place, bool replace) {
  struct bpf_tc_hook hook = hookOf(place);
  std::string printed;
  int error = quietly([&] { return bpf_tc_hook_create(&hook); }, printed);
  if (error < 0 && error != -EEXIST)
    failWith("clsact.attach", error, "creating the qdisc at " + describe(place), printed);
  bool created = error == 0;
  if (!hasSide(place)) fail("clsact.attach", EOPNOTSUPP, describe(place) + " of a qdisc of kind ingress");
  struct bpf_tc_opts options = optionsOf(place);
  options.prog_fd = programFd;
  options.flags = replace ? BPF_TC_F_REPLACE : 0;
  error = quietly([&] { return bpf_tc_attach(&hook, &options); }, printed);
  if (error < 0) {
    if (created) removeEmptyQdisc(place);
    failWith("clsact.attach", error, describe(place), printed);
  }
  return {options.priority, options.handle, options.prog_id, created};
}

std::optional<ClsactState> queryClsact(const ClsactPlace& place) {
  if (!hasSide(place)) return std::nullopt;
  std::optional<FilterRecord> first = firstFilter(place.ifindex, sideOf(place.ingress));
  if (first && first->priority == place.priority && first->handle == place.handle && first->programId)
    return ClsactState{*first->programId, true};
  struct bpf_tc_hook hook = hookOf(place);
  struct bpf_tc_opts options = optionsOf(place);
  std::string printed;
  int error = quietly([&] { return bpf_tc_query(&hook, &options); }, printed);
  // EINVAL: the interface has no clsact qdisc. ENODEV: the interface is gone.
  if (error == -ENOENT || error == -EINVAL || error == -ENODEV) return std::nullopt;
  if (error < 0) failWith("clsact.query", error, describe(place), printed);
  return ClsactState{options.prog_id, false};
}

bool detachClsact(const ClsactPlace& place, bool removeQdisc) {
  bool found = queryClsact(place).has_value();
  if (found) {
    struct bpf_tc_hook hook = hookOf(place);
    struct bpf_tc_opts options = optionsOf(place);
    std::string printed;
    int error = quietly([&] { return bpf_tc_detach(&hook, &options); }, printed);
    if (error < 0 && error != -ENOENT) failWith("clsact.detach", error, describe(place), printed);
  }
  if (removeQdisc) removeEmptyQdisc(place);
  return found;
}

}  // namespace bailiff
