/**
 * Names of the kernel's numbers for the packet programs: those of the vocabulary, and losses.
 *
 * Data path: events.h (enums) → here → decode.ts, encode.ts and everything above.
 * Invariants: the index in each list is the enum's value and is ABI, so append only. layout.test.ts
 * compares every list with the BTF of the object.
 */
import { type Mode, VECTORS, type Vector } from '@bailiff/vocabulary';

export {
  IFACE_STATES,
  type IfaceState,
  MODES,
  type Mode,
  PACKET_ACTIONS,
  type PacketAction,
  TUNNEL_KINDS,
  type TunnelKind,
  VECTORS,
  type Vector,
} from '@bailiff/vocabulary';

/** Samples and counts that the kernel lost; cumulative since the maps were created. */
export const LOSSES = ['ring-full', 'no-counter', 'no-iface'] as const;
export type Loss = (typeof LOSSES)[number];

/** Where a packet can end: `enum network`. */
export const NETWORK_PLACES = ['outside', 'inside', 'node'] as const;
export type NetworkPlace = (typeof NETWORK_PLACES)[number];

/** The bits of `enum service_flag`, lowest first. */
export const TUNNEL_SERVICE_KINDS = ['translated', 'node-port', 'only'] as const;
export type TunnelServiceKind = (typeof TUNNEL_SERVICE_KINDS)[number];

/** One mode for each vector. */
export type VectorModes = Readonly<Record<Vector, Mode>>;

export const vectorModes = (modeOf: (vector: Vector, index: number) => Mode): VectorModes =>
  Object.fromEntries(VECTORS.map((vector, index) => [vector, modeOf(vector, index)])) as VectorModes;
