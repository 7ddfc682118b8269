/**
 * The tcx hooks of an interface: which side, where in the chain, and what is there now.
 *
 * Invariants: `head` and `tail` are relative to whatever is attached at the moment of the call; a change by others between
 * query and attach is caught by `expectedRevision` (ESTALE). A chain holds at most 64 programs.
 */
import { native } from './native.ts';

/** As the kernel names them: `ingress` is what the interface receives, on a host veth what the pod sends. */
export type TcxDirection = 'ingress' | 'egress';

const ATTACH_TYPE: Readonly<Record<TcxDirection, number>> = { ingress: 46, egress: 47 };

const BPF_F_BEFORE = 1 << 3;
const BPF_F_AFTER = 1 << 4;
const BPF_F_ID = 1 << 5;
const BPF_F_LINK = 1 << 13;

/** Another member of the chain, by the id of its program or of its link. */
export type TcxNeighbour = { readonly programId: number } | { readonly linkId: number };

export type TcxPosition = 'head' | 'tail' | { readonly before: TcxNeighbour } | { readonly after: TcxNeighbour };

export interface TcxChain {
  /** Changes whenever the chain does. */
  readonly revision: bigint;
  /** In the order in which they run; linkId 0 is a program attached without a link. */
  readonly programs: readonly { readonly programId: number; readonly linkId: number }[];
}

export function tcxAttachType(direction: TcxDirection): number {
  return ATTACH_TYPE[direction];
}

export function tcxDirection(attachType: number): TcxDirection | null {
  if (attachType === ATTACH_TYPE.ingress) return 'ingress';
  return attachType === ATTACH_TYPE.egress ? 'egress' : null;
}

/** Flags and relative id of bpf(BPF_LINK_CREATE) for a position. */
export function tcxPlace(position: TcxPosition): { flags: number; relativeId: number } {
  if (position === 'head') return { flags: BPF_F_BEFORE, relativeId: 0 };
  if (position === 'tail') return { flags: BPF_F_AFTER, relativeId: 0 };
  const [side, neighbour] = 'before' in position ? [BPF_F_BEFORE, position.before] : [BPF_F_AFTER, position.after];
  if ('linkId' in neighbour) return { flags: side | BPF_F_ID | BPF_F_LINK, relativeId: neighbour.linkId };
  return { flags: side | BPF_F_ID, relativeId: neighbour.programId };
}

/** What is attached. Errors: BPF_ATTACH with ENODEV, or EINVAL where the kernel has no tcx. */
export function queryTcx(ifindex: number, direction: TcxDirection): TcxChain {
  return native().queryTcx(ifindex, ATTACH_TYPE[direction]);
}
