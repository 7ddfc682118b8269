/**
 * The names user space gives to the kernel's numbers: vectors, actions, interface states, modes, losses.
 *
 * Place in the path: events.h (enums) → here → decode.ts, encode.ts and everything above.
 * Invariants: the order of each list is the enum's value and is ABI, so lists are only appended to; layout.test.ts
 * holds every list equal to the enum found in the object's BTF. VECTORS equals libs/policy's list of the same name.
 */

/** Vectors by enum value; also the kernel's precedence when one packet breaks several. */
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

/** What is done with a packet that breaks a vector. `off` is neither counted nor dropped. */
export const MODES = ['off', 'audit', 'enforce'] as const;
export type Mode = (typeof MODES)[number];

/** What was done with it. */
export const ACTIONS = ['audit', 'drop'] as const;
export type Action = (typeof ACTIONS)[number];

/** How sure user space is of whose interface it is. */
export const IFACE_STATES = ['unknown', 'provisional', 'programmed'] as const;
export type IfaceState = (typeof IFACE_STATES)[number];

/** What the kernel could not do; cumulative since the maps were made. */
export const LOSSES = ['ring-full', 'no-counter', 'no-iface'] as const;
export type Loss = (typeof LOSSES)[number];

/** Encapsulations found by UDP destination port. */
export const TUNNEL_KINDS = ['vxlan', 'geneve'] as const;
export type TunnelKind = (typeof TUNNEL_KINDS)[number];

/** A mode for every vector. */
export type VectorModes = Readonly<Record<Vector, Mode>>;
