/**
 * The vectors: what a packet can be judged for, in the order of the kernel's `enum vector` (append only), each with the
 * mode it has when nobody says otherwise. `libs/bpf` holds the same names; a test keeps the two equal.
 */
export const MODES = ['off', 'audit', 'enforce'] as const;
/** off: not judged. audit: counted and passed. enforce: counted and dropped. Index = kernel `enum mode`. */
export type Mode = (typeof MODES)[number];

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

/** Violations that user space finds by itself; they have no kernel counter of their own. The last two are a node's own, found by the correlator. */
export const USERSPACE_VECTORS = ['identity-mismatch', 'interface-moved', 'foreign-pod', 'invalid-frame'] as const;
export type UserspaceVector = (typeof USERSPACE_VECTORS)[number];

const FIXED_VECTORS: ReadonlySet<Vector> = new Set(['quarantine-ingress', 'quarantine-egress', 'unknown-interface']);

/** Vectors whose mode an operator sets. Quarantine and unknown-interface follow their own settings. */
export const TUNABLE_VECTORS = VECTORS.filter((vector) => !FIXED_VECTORS.has(vector)) as [Vector, ...Vector[]];

const AUDITED_BY_DEFAULT: ReadonlySet<Vector> = new Set(['tunnel-other', 'dhcp-client']);

/** The built-in mode of a vector. */
export function defaultMode(vector: Vector): Mode {
  return AUDITED_BY_DEFAULT.has(vector) ? 'audit' : 'enforce';
}
