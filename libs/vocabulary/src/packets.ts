/**
 * Words of the packet programs: vectors, modes, actions, and states of interfaces.
 *
 * The index in VECTORS, MODES, PACKET_ACTIONS and IFACE_STATES is the enum's value in
 * libs/bpf/bpf/spoof/events.h and is ABI: append only. A test compares these lists with the BTF of
 * the object.
 */

/** off: not judged. audit: counted and passed. enforce: counted and dropped. */
export const MODES = ['off', 'audit', 'enforce'] as const;
export type Mode = (typeof MODES)[number];

/** What the kernel did with a packet that violates a vector. */
export const PACKET_ACTIONS = ['audit', 'drop'] as const;
export type PacketAction = (typeof PACKET_ACTIONS)[number];

/** How sure the collector is of the binding of an interface. */
export const IFACE_STATES = ['unknown', 'provisional', 'programmed'] as const;
export type IfaceState = (typeof IFACE_STATES)[number];

/**
 * Kinds of violations that a packet can be. The first one decides if a packet violates several; other-interface
 * precedes redirect.
 */
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
  'guard-bypass',
  'router-protocol',
  'orphaned',
  'provocation',
  'other-interface',
] as const;
export type Vector = (typeof VECTORS)[number];

/**
 * Violations that user space finds; they have no kernel counter. `unjudged`: frames of an interface
 * that its programs did not see. foreign-pod and invalid-frame are violations of a node, which the
 * correlator finds.
 */
export const USERSPACE_VECTORS = [
  'identity-mismatch',
  'interface-moved',
  'foreign-pod',
  'invalid-frame',
  'unjudged',
] as const;
export type UserspaceVector = (typeof USERSPACE_VECTORS)[number];

/**
 * Vectors that a correlation rule counts only if it names them. They say nothing about the sender's
 * identity: traffic to and from a pod in quarantine, what others want a pod to answer, answers that
 * others cause, traffic of an interface that has no pod yet or none any more, and what user space
 * finds about an interface.
 */
export const NAMED_ONLY_VECTORS: ReadonlySet<string> = new Set<Vector | UserspaceVector>([
  'quarantine-ingress',
  'quarantine-egress',
  'provocation',
  'other-interface',
  'unknown-interface',
  'orphaned',
  'identity-mismatch',
  'interface-moved',
  'unjudged',
]);

const FIXED_VECTORS: ReadonlySet<Vector> = new Set(['quarantine-ingress', 'quarantine-egress', 'unknown-interface']);

/** Violations of packets to a pod, which others sent. They say nothing about the pod. */
export const RECEIVED_VECTORS: readonly Vector[] = ['quarantine-egress', 'provocation'];

/** Vectors with a configurable mode. Quarantine and unknown-interface have their own settings. */
export const TUNABLE_VECTORS = VECTORS.filter((vector) => !FIXED_VECTORS.has(vector)) as [Vector, ...Vector[]];

const AUDITED_BY_DEFAULT: ReadonlySet<Vector> = new Set(['tunnel-other', 'dhcp-client']);

/** The built-in mode of a vector. */
export function defaultMode(vector: Vector): Mode {
  return AUDITED_BY_DEFAULT.has(vector) ? 'audit' : 'enforce';
}

/** Encapsulations, recognised by UDP destination port. */
export const TUNNEL_KINDS = ['vxlan', 'geneve'] as const;
export type TunnelKind = (typeof TUNNEL_KINDS)[number];
