/**
 * Names of the kernel's numbers: vectors, actions, interface states, modes, losses.
 *
 * Data path: events.h (enums) → here → decode.ts, encode.ts and everything above. Invariants: the
 * index in each list is the enum's value and is ABI, so append only. layout.test.ts compares every
 * list with the BTF of the object. VECTORS equals the list of libs/policy.
 */

/** Vectors by enum value. The first one decides if a packet violates several. */
export const VECTORS = [
  'ipv4-source',
  'ipv6-source',
  'source-mac',
  'arp-sender',
  'nd-target',
  'router-advert',
  'redirect',
  'dhcp-server',
  'source-route',
  'malformed',
  'tunnel',
  'tunnel-other',
  'vlan-tag',
  'ethertype',
  'dhcp-client',
  'link-local',
  'quarantine-ingress',
  'quarantine-egress',
  'unknown-interface',
  'checksum-offload',
] as const;
export type Vector = (typeof VECTORS)[number];

/** What the kernel does with a packet that violates a vector. `off` neither counts nor drops. */
export const MODES = ['off', 'audit', 'enforce'] as const;
export type Mode = (typeof MODES)[number];

/** What the kernel did with the packet. */
export const ACTIONS = ['audit', 'drop'] as const;
export type Action = (typeof ACTIONS)[number];

/** How sure the collector is of the binding of an interface. */
export const IFACE_STATES = ['unknown', 'provisional', 'programmed'] as const;
export type IfaceState = (typeof IFACE_STATES)[number];

/** Samples and counts that the kernel lost; cumulative since the maps were created. */
export const LOSSES = ['ring-full', 'no-counter', 'no-iface'] as const;
export type Loss = (typeof LOSSES)[number];

/** Encapsulations, recognised by UDP destination port. */
export const TUNNEL_KINDS = ['vxlan', 'geneve'] as const;
export type TunnelKind = (typeof TUNNEL_KINDS)[number];

/** One mode for each vector. */
export type VectorModes = Readonly<Record<Vector, Mode>>;
