// Generated from the BTF of spoof.bpf.o by libs/bpf/scripts/build-bpf.ts --layout. Do not edit.

export const AbiValues = {
  BAILIFF_ABI: 2,
} as const;

export const VectorValues = {
  VECTOR_IPV4_SOURCE: 0,
  VECTOR_IPV6_SOURCE: 1,
  VECTOR_SOURCE_MAC: 2,
  VECTOR_ARP_SENDER: 3,
  VECTOR_ND_TARGET: 4,
  VECTOR_ROUTER_ADVERT: 5,
  VECTOR_REDIRECT: 6,
  VECTOR_DHCP_SERVER: 7,
  VECTOR_SOURCE_ROUTE: 8,
  VECTOR_MALFORMED: 9,
  VECTOR_TUNNEL: 10,
  VECTOR_TUNNEL_OTHER: 11,
  VECTOR_VLAN_TAG: 12,
  VECTOR_ETHERTYPE: 13,
  VECTOR_DHCP_CLIENT: 14,
  VECTOR_LINK_LOCAL: 15,
  VECTOR_QUARANTINE_INGRESS: 16,
  VECTOR_QUARANTINE_EGRESS: 17,
  VECTOR_UNKNOWN_INTERFACE: 18,
  VECTOR_CHECKSUM_OFFLOAD: 19,
  VECTOR_GUARD_BYPASS: 20,
  VECTOR_ROUTER_PROTOCOL: 21,
  VECTOR_ORPHANED: 22,
  VECTOR_PROVOCATION: 23,
  VECTOR_OTHER_INTERFACE: 24,
  VECTOR_COUNT: 25,
} as const;

export const ModeValues = {
  MODE_OFF: 0,
  MODE_AUDIT: 1,
  MODE_ENFORCE: 2,
} as const;

export const ActionValues = {
  ACTION_AUDIT: 0,
  ACTION_DROP: 1,
  ACTION_COUNT: 2,
} as const;

export const IfaceStateValues = {
  STATE_UNKNOWN: 0,
  STATE_PROVISIONAL: 1,
  STATE_PROGRAMMED: 2,
  STATE_COUNT: 3,
} as const;

export const IfaceFlagValues = {
  IFACE_HAS_MAC: 1,
  IFACE_HAS_IPV4: 2,
  IFACE_HAS_IPV6: 4,
  IFACE_HAS_MORE: 8,
  IFACE_TEARDOWN: 16,
  IFACE_ORPHANED: 32,
  IFACE_NETKIT: 64,
} as const;

export const AddressFlagValues = {
  ADDRESS_SOURCE: 1,
  ADDRESS_NEIGHBOUR: 2,
  ADDRESS_IPV4: 4,
  ADDRESS_IPV6: 8,
  ADDRESS_MAC: 16,
  ADDRESS_TUNNEL: 32,
  ADDRESS_OTHER: 64,
} as const;

export const NetworkValues = {
  NETWORK_OUTSIDE: 0,
  NETWORK_INSIDE: 1,
  NETWORK_NODE: 2,
} as const;

export const ServiceFlagValues = {
  SERVICE_TRANSLATED: 1,
  SERVICE_NODE_PORT: 2,
  SERVICE_ONLY: 4,
} as const;

export const FastpathShapeValues = {
  FASTPATH_SLOT_SHIFT: 32,
  FASTPATH_HAS_SHIFT: 32,
  FASTPATH_TAG_SHIFT: 48,
  FASTPATH_COUNT: 4096,
} as const;

export const LossValues = {
  LOSS_RING_FULL: 0,
  LOSS_NO_COUNTER: 1,
  LOSS_NO_IFACE: 2,
  LOSS_COUNT: 3,
} as const;

export const SampleFlagValues = {
  SAMPLE_EGRESS: 1,
  SAMPLE_FIRST: 2,
  SAMPLE_ADDRESSES: 4,
} as const;

export const IfaceLayout = {
  size: 88,
  generation: { offset: 0, size: 4 },
  slot: { offset: 4, size: 4 },
  state: { offset: 8, size: 1 },
  flags: { offset: 9, size: 1 },
  mac: { offset: 10, size: 6 },
  ipv4: { offset: 16, size: 4 },
  sampleBurst: { offset: 20, size: 2 },
  samplesPerSecond: { offset: 22, size: 2 },
  ipv6: { offset: 24, size: 16 },
  modes: { offset: 40, size: 32 },
  quarantineUntilNs: { offset: 72, size: 8 },
  auditUntilNs: { offset: 80, size: 8 },
} as const;

export const FastpathEntryLayout = {
  size: 48,
  interface: { offset: 0, size: 8 },
  mac: { offset: 8, size: 8 },
  ipv4: { offset: 16, size: 8 },
  ipv6: { offset: 24, size: 24 },
} as const;

export const AddressKeyLayout = {
  size: 28,
  prefixlen: { offset: 0, size: 4 },
  ifindex: { offset: 4, size: 4 },
  generation: { offset: 8, size: 4 },
  address: { offset: 12, size: 16 },
} as const;

export const CounterKeyLayout = {
  size: 8,
  ifindex: { offset: 0, size: 4 },
  generation: { offset: 4, size: 4 },
} as const;

export const CounterCellLayout = {
  size: 24,
  packets: { offset: 0, size: 8 },
  skbs: { offset: 8, size: 8 },
  bytes: { offset: 16, size: 8 },
} as const;

export const CountersLayout = {
  size: 4608,
  cells: { offset: 0, size: 4608 },
} as const;

export const TokenBucketLayout = {
  size: 24,
  refilledNs: { offset: 0, size: 8 },
  tokens: { offset: 8, size: 4 },
  generation: { offset: 12, size: 4 },
  marks: { offset: 16, size: 4 },
  lock: { offset: 20, size: 4 },
} as const;

export const SettingsLayout = {
  size: 16,
  sampleBurst: { offset: 0, size: 4 },
  samplesPerSecond: { offset: 4, size: 4 },
  unknownMode: { offset: 8, size: 1 },
  reserved: { offset: 9, size: 7 },
} as const;

export const TunnelPortsLayout = {
  size: 16,
  vxlan: { offset: 0, size: 8 },
  geneve: { offset: 8, size: 8 },
} as const;

export const MetaLayout = {
  size: 16,
  frameSequence: { offset: 0, size: 8 },
  nextGeneration: { offset: 8, size: 4 },
  abi: { offset: 12, size: 4 },
} as const;

export const CidrKeyLayout = {
  size: 20,
  prefixlen: { offset: 0, size: 4 },
  address: { offset: 4, size: 16 },
} as const;

export const ServiceKeyLayout = {
  size: 20,
  address: { offset: 0, size: 16 },
  port: { offset: 16, size: 2 },
  reserved: { offset: 18, size: 2 },
} as const;

export const ProbeKeyLayout = {
  size: 12,
  ifindex: { offset: 0, size: 4 },
  generation: { offset: 4, size: 4 },
  port: { offset: 8, size: 2 },
  protocol: { offset: 10, size: 1 },
  reserved: { offset: 11, size: 1 },
} as const;

export const SpoofSampleLayout = {
  size: 176,
  boottimeNs: { offset: 0, size: 8 },
  cgroupId: { offset: 8, size: 8 },
  socketCookie: { offset: 16, size: 8 },
  ifindex: { offset: 24, size: 4 },
  generation: { offset: 28, size: 4 },
  length: { offset: 32, size: 4 },
  gsoSegments: { offset: 36, size: 4 },
  vector: { offset: 40, size: 1 },
  action: { offset: 41, size: 1 },
  state: { offset: 42, size: 1 },
  flags: { offset: 43, size: 1 },
  l4Protocol: { offset: 44, size: 1 },
  headLength: { offset: 45, size: 1 },
  etherType: { offset: 46, size: 2 },
  sourcePort: { offset: 48, size: 2 },
  destinationPort: { offset: 50, size: 2 },
  claimedMac: { offset: 52, size: 6 },
  expectedMac: { offset: 58, size: 6 },
  claimedAddress: { offset: 64, size: 16 },
  expectedAddress: { offset: 80, size: 16 },
  destinationAddress: { offset: 96, size: 16 },
  head: { offset: 112, size: 64 },
} as const;
