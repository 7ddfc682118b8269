// Links, local networks and namespace ids of rtnetlink as plain records, and the requests for them. An
// absent attribute is std::nullopt or an empty text. A target namespace is given by its id in the
// network namespace of this process (RTM_GETNSID).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "netlink.h"

namespace bailiff {

struct NetkitInfo {
  bool primary;    // programs for both ends are attached at this one
  bool peerDrops;  // what the other end sends is dropped while it has no program (policy blackhole)
};

struct LinkRecord {
  bool removed = false;  // RTM_DELLINK
  uint32_t ifindex = 0;
  std::string name;
  std::string kind;    // IFLA_INFO_KIND: "veth", "bridge", ...; empty for hardware and loopback
  std::string mac;     // aa:bb:cc:dd:ee:ff; empty without one
  uint32_t flags = 0;  // IFF_*
  uint32_t mtu = 0;
  uint32_t operstate = 0;  // IF_OPER_*
  std::optional<uint32_t> master;
  std::optional<uint32_t> peerIfindex;  // IFLA_LINK, an index in the peer's namespace
  std::optional<int32_t> linkNetnsid;   // IFLA_LINK_NETNSID: the peer's namespace; absent if it is this one
  std::optional<int32_t> newNetnsid;    // IFLA_NEW_NETNSID, on the RTM_DELLINK of a link that moved away
  std::optional<uint64_t> rxPackets;    // of IFLA_STATS64
  std::optional<uint64_t> txPackets;
  bool xdp = false;                  // an XDP program is attached
  std::optional<NetkitInfo> netkit;  // of kind "netkit"
};

// Fills `out` from RTM_NEWLINK or RTM_DELLINK; false for other messages and for bridge port ones (AF_BRIDGE).
bool parseLink(const struct nlmsghdr* message, LinkRecord& out);

// All links. In another namespace, the dump ends at a link of more than 32 KiB.
std::vector<LinkRecord> dumpLinks(std::optional<int32_t> targetNetnsid);

// Links of one kind of this namespace. The kernel describes no other, however many there are. The dump ends at a link
// of the kind with more than some KiB of alternative names, which only the node can give it.
std::vector<LinkRecord> dumpLinksOf(const std::string& kind);

// The first links of a namespace; they may change while they are read.
std::vector<LinkRecord> firstLinks(std::optional<int32_t> targetNetnsid, uint32_t atMost);
std::optional<LinkRecord> getLink(uint32_t ifindex, std::optional<int32_t> targetNetnsid);

// Both ends of a pair. ENODEV: there is no such link.
void deleteLink(uint32_t ifindex);

struct AddressRecord {
  uint32_t ifindex = 0;
  std::string address;
  uint32_t prefixLength = 0;
};

// Addresses of all links, IPv4 and IPv6.
std::vector<AddressRecord> dumpAddresses();

// Networks of the routing table `local`, as CIDRs: every address that this namespace takes packets
// for, those of interfaces that are down and broadcast addresses included.
std::vector<std::string> dumpLocalNetworks();

// Id that the network namespace of this process has for that of another process. Nothing while no
// id is assigned; a link dump assigns it.
std::optional<int32_t> getNsid(uint32_t pid);

// Generic receive offload: the interface merges received frames.
bool isGroOn(const std::string& interfaceName);

// Number of filters at one side of an interface's clsact qdisc.
size_t countFilters(uint32_t ifindex, uint32_t parent);

struct FilterRecord {
  uint32_t priority;
  uint32_t handle;
  std::optional<uint32_t> programId;  // of kind "bpf"
};

// The filter that runs first at one side of an interface's clsact qdisc. Of filters with one
// priority the newest runs first.
std::optional<FilterRecord> firstFilter(uint32_t ifindex, uint32_t parent);

// Kind of the qdisc in the place of clsact, `clsact` or `ingress`; empty: the interface has none.
std::string ingressKind(uint32_t ifindex);

}  // namespace bailiff
