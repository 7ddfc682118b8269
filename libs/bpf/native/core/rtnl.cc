// See rtnl.h.
#include "rtnl.h"

#include <arpa/inet.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/net_namespace.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstdio>
#include <cstring>

namespace bailiff {
namespace {

constexpr size_t kMacBytes = 6;
constexpr uint32_t kPriorityShift = 16;  // of tcm_info, whose lower half is the protocol

std::string macText(const struct rtattr* at) {
  if (at == nullptr || RTA_PAYLOAD(at) != kMacBytes) return {};
  auto* b = static_cast<const uint8_t*>(RTA_DATA(at));
  char text[kMacBytes * 3];
  std::snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5]);
  return text;
}

std::optional<uint32_t> optionalU32(const Attributes& attributes, uint16_t type) {
  uint32_t value = 0;
  if (!attributes.u32(type, value)) return std::nullopt;
  return value;
}

std::optional<int32_t> optionalI32(const Attributes& attributes, uint16_t type) {
  uint32_t value = 0;
  if (!attributes.u32(type, value)) return std::nullopt;
  return static_cast<int32_t>(value);
}

void readStats(const struct rtattr* at, LinkRecord& out) {
  if (at == nullptr) return;
  struct rtnl_link_stats64 stats = {};
  // The length of the struct differs between kernels; the two fields read are its first.
  size_t size = RTA_PAYLOAD(at) < sizeof(stats) ? RTA_PAYLOAD(at) : sizeof(stats);
  if (size < 2 * sizeof(uint64_t)) return;
  std::memcpy(&stats, RTA_DATA(at), size);
  out.rxPackets = stats.rx_packets;
  out.txPackets = stats.tx_packets;
}

NetkitInfo readNetkit(const Attributes& data) {
  NetkitInfo info = {};
  const struct rtattr* primary = data.find(IFLA_NETKIT_PRIMARY);
  info.primary =
      primary != nullptr && RTA_PAYLOAD(primary) >= 1 && *static_cast<const uint8_t*>(RTA_DATA(primary)) != 0;
  uint32_t policy = NETKIT_PASS;
  data.u32(IFLA_NETKIT_PEER_POLICY, policy);
  info.peerDrops = policy == NETKIT_DROP;
  return info;
}

bool parseLocalRoute(const struct nlmsghdr* message, std::string& out) {
  if (message->nlmsg_type != RTM_NEWROUTE || message->nlmsg_len < NLMSG_SPACE(sizeof(struct rtmsg))) return false;
  // SAFETY: the length was just checked; attributes are bounds-checked by Attributes.
  auto* header = static_cast<const struct rtmsg*>(NLMSG_DATA(message));
  if (header->rtm_table != RT_TABLE_LOCAL || (header->rtm_family != AF_INET && header->rtm_family != AF_INET6))
    return false;
  uint8_t address[sizeof(struct in6_addr)] = {};  // a route without RTA_DST is the default route
  const struct rtattr* at = attributesOf(message, sizeof(*header)).find(RTA_DST);
  size_t wanted = header->rtm_family == AF_INET6 ? 16 : 4;
  if (at != nullptr && RTA_PAYLOAD(at) == wanted) std::memcpy(address, RTA_DATA(at), wanted);
  char text[INET6_ADDRSTRLEN];
  if (::inet_ntop(header->rtm_family, address, text, sizeof(text)) == nullptr) return false;
  out = std::string(text) + "/" + std::to_string(header->rtm_dst_len);
  return true;
}

// Without a mask the kernel makes room for an ordinary link, and ends the dump at one that has thousands of bytes of
// alternative names, without an error (6.12, 6.18). With one, it makes room for the largest link of this namespace.
// This one asks for something that only bridges have, and only of family AF_BRIDGE. RTEXT_FILTER_SKIP_STATS leaves out
// all counters in Linux 7.3.
NetlinkRequest linksRequest(std::optional<int32_t> targetNetnsid) {
  NetlinkRequest request(RTM_GETLINK, NLM_F_DUMP);
  request.header(ifinfomsg{});
  request.attributeU32(IFLA_EXT_MASK, RTEXT_FILTER_MRP);
  if (targetNetnsid) request.attributeU32(IFLA_TARGET_NETNSID, static_cast<uint32_t>(*targetNetnsid));
  return request;
}

bool parseAddress(const struct nlmsghdr* message, AddressRecord& out) {
  if (message->nlmsg_type != RTM_NEWADDR || message->nlmsg_len < NLMSG_SPACE(sizeof(struct ifaddrmsg))) return false;
  // SAFETY: the length was just checked; attributes are bounds-checked by Attributes.
  auto* header = static_cast<const struct ifaddrmsg*>(NLMSG_DATA(message));
  Attributes attributes = attributesOf(message, sizeof(*header));
  // On a link between two hosts IFA_ADDRESS is that of the other one.
  const struct rtattr* at = attributes.find(IFA_LOCAL);
  if (at == nullptr) at = attributes.find(IFA_ADDRESS);
  size_t wanted = header->ifa_family == AF_INET6 ? 16 : 4;
  if (at == nullptr || RTA_PAYLOAD(at) != wanted) return false;
  char text[INET6_ADDRSTRLEN];
  if (::inet_ntop(header->ifa_family, RTA_DATA(at), text, sizeof(text)) == nullptr) return false;
  out = {header->ifa_index, text, header->ifa_prefixlen};
  return true;
}

// Appends the records of a dump to `out`. A dump that is repeated begins where this one began.
template <typename Record>
void appendDump(NetlinkSocket& socket, NetlinkRequest& request, bool (*parse)(const struct nlmsghdr*, Record&),
                std::vector<Record>& out) {
  const size_t before = out.size();
  socket.request(
      request,
      [&](const struct nlmsghdr* message) {
        Record record;
        if (parse(message, record)) out.push_back(std::move(record));
      },
      [&] { out.resize(before); });
}

NetlinkRequest filtersRequest(uint32_t ifindex, uint32_t parent) {
  NetlinkRequest request(RTM_GETTFILTER, NLM_F_DUMP);
  struct tcmsg header = {};
  header.tcm_family = AF_UNSPEC;
  header.tcm_ifindex = static_cast<int>(ifindex);
  header.tcm_parent = parent;
  request.header(header);
  return request;
}

}  // namespace

bool parseLink(const struct nlmsghdr* message, LinkRecord& out) {
  if (message->nlmsg_type != RTM_NEWLINK && message->nlmsg_type != RTM_DELLINK) return false;
  if (message->nlmsg_len < NLMSG_SPACE(sizeof(struct ifinfomsg))) return false;
  // SAFETY: the length was just checked; attributes are bounds-checked by Attributes.
  auto* header = static_cast<const struct ifinfomsg*>(NLMSG_DATA(message));
  // The bridge sends RTM_DELLINK of family AF_BRIDGE when a port leaves it; the interface itself
  // stays.
  if (header->ifi_family != AF_UNSPEC) return false;
  Attributes attributes = attributesOf(message, sizeof(*header));
  out.removed = message->nlmsg_type == RTM_DELLINK;
  out.ifindex = static_cast<uint32_t>(header->ifi_index);
  out.flags = header->ifi_flags;
  out.name = attributes.text(IFLA_IFNAME);
  Attributes linkInfo = attributes.nested(IFLA_LINKINFO);
  out.kind = linkInfo.text(IFLA_INFO_KIND);
  if (out.kind == "netkit") out.netkit = readNetkit(linkInfo.nested(IFLA_INFO_DATA));
  out.mac = macText(attributes.find(IFLA_ADDRESS));
  attributes.u32(IFLA_MTU, out.mtu);
  const struct rtattr* operstate = attributes.find(IFLA_OPERSTATE);
  if (operstate != nullptr && RTA_PAYLOAD(operstate) >= 1)
    out.operstate = *static_cast<const uint8_t*>(RTA_DATA(operstate));
  out.master = optionalU32(attributes, IFLA_MASTER);
  out.peerIfindex = optionalU32(attributes, IFLA_LINK);
  out.linkNetnsid = optionalI32(attributes, IFLA_LINK_NETNSID);
  out.newNetnsid = optionalI32(attributes, IFLA_NEW_NETNSID);
  readStats(attributes.find(IFLA_STATS64), out);
  const struct rtattr* xdp = attributes.nested(IFLA_XDP).find(IFLA_XDP_ATTACHED);
  out.xdp = xdp != nullptr && RTA_PAYLOAD(xdp) >= 1 && *static_cast<const uint8_t*>(RTA_DATA(xdp)) != XDP_ATTACHED_NONE;
  return true;
}

std::vector<LinkRecord> dumpLinks(std::optional<int32_t> targetNetnsid) {
  NetlinkSocket socket("netlink.dumpLinks");
  std::vector<LinkRecord> links;
  NetlinkRequest request = linksRequest(targetNetnsid);
  appendDump(socket, request, parseLink, links);
  return links;
}

std::vector<LinkRecord> dumpLinksOf(const std::string& kind) {
  NetlinkSocket socket("netlink.dumpLinksOf");
  // Without a mask: for one, the kernel first reads the names of all links. No pod has one of these kinds here.
  NetlinkRequest request(RTM_GETLINK, NLM_F_DUMP);
  request.header(ifinfomsg{});
  struct rtattr info = {static_cast<unsigned short>(RTA_LENGTH(kind.size() + 1)), IFLA_INFO_KIND};
  std::vector<uint8_t> nested(RTA_SPACE(kind.size() + 1));
  std::memcpy(nested.data(), &info, sizeof(info));
  std::memcpy(nested.data() + sizeof(info), kind.data(), kind.size());
  request.attribute(IFLA_LINKINFO, nested.data(), nested.size());
  std::vector<LinkRecord> links;
  bool isKnown = true;
  socket.request(
      request,
      [&](const struct nlmsghdr* message) {
        LinkRecord link;
        // A kernel that does not know the kind has no such link, and describes all others.
        if (!(message->nlmsg_flags & NLM_F_DUMP_FILTERED))
          isKnown = false;
        else if (parseLink(message, link) && link.kind == kind)
          links.push_back(std::move(link));
      },
      [&] { links.clear(); }, [&] { return !isKnown; });
  return links;
}

std::vector<LinkRecord> firstLinks(std::optional<int32_t> targetNetnsid, uint32_t atMost) {
  NetlinkSocket socket("netlink.firstLinks");
  NetlinkRequest request = linksRequest(targetNetnsid);
  std::vector<LinkRecord> links;
  socket.requestUntil(
      request,
      [&](const struct nlmsghdr* message) {
        LinkRecord link;
        if (links.size() < atMost && parseLink(message, link)) links.push_back(std::move(link));
      },
      [&] { return links.size() >= atMost; });
  return links;
}

std::optional<LinkRecord> getLink(uint32_t ifindex, std::optional<int32_t> targetNetnsid) {
  NetlinkSocket socket("netlink.getLink");
  NetlinkRequest request(RTM_GETLINK, 0);
  struct ifinfomsg header = {};
  header.ifi_index = static_cast<int>(ifindex);
  request.header(header);
  if (targetNetnsid) request.attributeU32(IFLA_TARGET_NETNSID, static_cast<uint32_t>(*targetNetnsid));
  std::optional<LinkRecord> found;
  try {
    socket.request(request, [&](const struct nlmsghdr* message) {
      LinkRecord link;
      if (parseLink(message, link)) found = std::move(link);
    });
  } catch (const NativeError& error) {
    if (error.error != ENODEV) throw;
  }
  return found;
}

void deleteLink(uint32_t ifindex) {
  NetlinkSocket socket("netlink.deleteLink");
  NetlinkRequest request(RTM_DELLINK, NLM_F_ACK);
  struct ifinfomsg header = {};
  header.ifi_index = static_cast<int>(ifindex);
  request.header(header);
  socket.request(request, [](const struct nlmsghdr*) {});
}

std::vector<AddressRecord> dumpAddresses() {
  NetlinkSocket socket("netlink.dumpAddresses");
  NetlinkRequest request(RTM_GETADDR, NLM_F_DUMP);
  request.header(ifaddrmsg{});
  std::vector<AddressRecord> addresses;
  appendDump(socket, request, parseAddress, addresses);
  return addresses;
}

std::vector<std::string> dumpLocalNetworks() {
  NetlinkSocket socket("netlink.dumpLocalNetworks");
  std::vector<std::string> networks;
  for (uint8_t family : {AF_INET, AF_INET6}) {
    NetlinkRequest request(RTM_GETROUTE, NLM_F_DUMP);
    struct rtmsg header = {};
    header.rtm_family = family;
    header.rtm_table = RT_TABLE_LOCAL;
    request.header(header);
    try {
      appendDump(socket, request, parseLocalRoute, networks);
    } catch (const NativeError& error) {
      if (error.error != ENOENT) throw;  // the family is disabled, so it has no table
    }
  }
  return networks;
}

std::optional<int32_t> getNsid(uint32_t pid) {
  NetlinkSocket socket("netlink.getNsid");
  NetlinkRequest request(RTM_GETNSID, 0);
  request.header(rtgenmsg{});
  request.attributeU32(NETNSA_PID, pid);
  std::optional<int32_t> nsid;
  socket.request(request, [&](const struct nlmsghdr* message) {
    if (message->nlmsg_type != RTM_NEWNSID) return;
    nsid = optionalI32(attributesOf(message, sizeof(struct rtgenmsg)), NETNSA_NSID);
  });
  if (nsid && *nsid < 0) return std::nullopt;
  return nsid;
}

size_t countFilters(uint32_t ifindex, uint32_t parent) {
  NetlinkSocket socket("clsact.detach");
  NetlinkRequest request = filtersRequest(ifindex, parent);
  size_t count = 0;
  socket.request(
      request, [&](const struct nlmsghdr* message) { count += message->nlmsg_type == RTM_NEWTFILTER ? 1 : 0; },
      [&] { count = 0; });
  return count;
}

std::optional<FilterRecord> firstFilter(uint32_t ifindex, uint32_t parent) {
  NetlinkSocket socket("clsact.query");
  NetlinkRequest request = filtersRequest(ifindex, parent);
  std::optional<FilterRecord> first;
  auto onMessage = [&](const struct nlmsghdr* message) {
    if (first || message->nlmsg_type != RTM_NEWTFILTER) return;
    if (message->nlmsg_len < NLMSG_SPACE(sizeof(struct tcmsg))) return;
    // SAFETY: the length was just checked; attributes are bounds-checked by Attributes.
    auto* header = static_cast<const struct tcmsg*>(NLMSG_DATA(message));
    Attributes attributes = attributesOf(message, sizeof(*header));
    // Handle 0 is the list of one priority, not a filter. Other chains run only from a filter of chain 0.
    if (header->tcm_handle == 0 || optionalU32(attributes, TCA_CHAIN).value_or(0) != 0) return;
    std::optional<uint32_t> programId;
    if (attributes.text(TCA_KIND) == "bpf") programId = optionalU32(attributes.nested(TCA_OPTIONS), TCA_BPF_ID);
    first = FilterRecord{TC_H_MAJ(header->tcm_info) >> kPriorityShift, header->tcm_handle, programId};
  };
  try {
    socket.request(request, onMessage, [&] { first.reset(); });
  } catch (const NativeError& error) {
    // No qdisc there, or no interface.
    if (error.error != ENOENT && error.error != EINVAL && error.error != ENODEV) throw;
  }
  return first;
}

std::string ingressKind(uint32_t ifindex) {
  NetlinkSocket socket("clsact.attach");
  // Without NLM_F_ECHO the kernel sends the reply to the listeners of the group only. Where a qdisc was deleted it
  // sends none, not even an error.
  NetlinkRequest request(RTM_GETQDISC, NLM_F_ECHO | NLM_F_ACK);
  struct tcmsg header = {};
  header.tcm_family = AF_UNSPEC;
  header.tcm_ifindex = static_cast<int>(ifindex);
  header.tcm_parent = TC_H_INGRESS;
  request.header(header);
  std::string kind;
  try {
    socket.request(request, [&](const struct nlmsghdr* message) {
      if (message->nlmsg_type == RTM_NEWQDISC) kind = attributesOf(message, sizeof(header)).text(TCA_KIND);
    });
  } catch (const NativeError& error) {
    // No qdisc there, or no interface.
    if (error.error != ENOENT && error.error != EINVAL && error.error != ENODEV) throw;
  }
  return kind;
}

bool isGroOn(const std::string& interfaceName) {
  struct ethtool_value value = {};
  value.cmd = ETHTOOL_GGRO;
  struct ifreq request = {};
  interfaceName.copy(request.ifr_name, sizeof(request.ifr_name) - 1);
  // SAFETY: the kernel writes one ethtool_value, which outlives the call.
  request.ifr_data = reinterpret_cast<char*>(&value);
  Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (fd.get() < 0 || ::ioctl(fd.get(), SIOCETHTOOL, &request) < 0) fail("netlink.isGroOn", errno, interfaceName);
  return value.data != 0;
}

}  // namespace bailiff
