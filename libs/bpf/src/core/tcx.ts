/**
 * The tcx and netkit hooks of an interface: sides, positions in the chain, and attached programs.
 *
 * Programs of a netkit pair are attached at its primary end (EACCES at the other one) and run while
 * an end sends: `netkit-peer` on packets from the other end, whose `skb->ifindex` is the primary's;
 * `netkit-primary` on packets to the other end, whose `skb->ifindex` is the other end's, an index in
 * its own namespace. A program of type SCHED_CLS fits all hooks.
 * Invariants: `head` and `tail` are relative to the chain at the moment of the call.
 * `expectedRevision` detects a change between query and attach (ESTALE). A chain holds at most 64
 * programs.
 */
import { BpfError } from './errors.ts';
import { native } from './native.ts';

/**
 * The kernel's names: `ingress` is what the interface receives; on a host veth, packets from the
 * pod.
 */
export type TcxDirection = 'ingress' | 'egress';

/** Hooks with a chain of programs. */
export type ChainHook = TcxDirection | 'netkit-primary' | 'netkit-peer';

const ATTACH_TYPE: Readonly<Record<ChainHook, number>> = {
  ingress: 46,
  egress: 47,
  'netkit-primary': 54,
  'netkit-peer': 55,
};

const BPF_F_BEFORE = 1 << 3;
const BPF_F_AFTER = 1 << 4;
const BPF_F_ID = 1 << 5;
const BPF_F_LINK = 1 << 13;

/** Another member of the chain, by the id of its program or of its link. */
export type TcxNeighbour = { readonly programId: number } | { readonly linkId: number };

export type TcxPosition = 'head' | 'tail' | { readonly before: TcxNeighbour } | { readonly after: TcxNeighbour };

export interface TcxChain {
  /** Changes with every change of the chain. */
  readonly revision: bigint;
  /** In the order of execution; linkId 0 is a program attached without a link. */
  readonly programs: readonly { readonly programId: number; readonly linkId: number }[];
}

export function attachTypeOf(hook: ChainHook): number {
  return ATTACH_TYPE[hook];
}

export function hookOfType(attachType: number): ChainHook | null {
  const hooks = Object.keys(ATTACH_TYPE) as ChainHook[];
  return hooks.find((hook) => ATTACH_TYPE[hook] === attachType) ?? null;
}

/** Flags and relative id of bpf(BPF_LINK_CREATE) for a position. */
export function tcxPlace(position: TcxPosition): { flags: number; relativeId: number } {
  if (position === 'head') return { flags: BPF_F_BEFORE, relativeId: 0 };
  if (position === 'tail') return { flags: BPF_F_AFTER, relativeId: 0 };
  const [side, neighbour] = 'before' in position ? [BPF_F_BEFORE, position.before] : [BPF_F_AFTER, position.after];
  if ('linkId' in neighbour) return { flags: side | BPF_F_ID | BPF_F_LINK, relativeId: neighbour.linkId };
  return { flags: side | BPF_F_ID, relativeId: neighbour.programId };
}

/** Attached programs. Errors: BPF_ATTACH with ENODEV, or EINVAL if the kernel has no tcx. */
export function queryTcx(ifindex: number, hook: ChainHook): TcxChain {
  return native().queryTcx(ifindex, ATTACH_TYPE[hook]);
}

/** Like queryTcx. On a kernel without tcx the chain is empty. */
export function queryTcxIfAny(ifindex: number, hook: TcxDirection): TcxChain {
  try {
    return queryTcx(ifindex, hook);
  } catch (error) {
    if (error instanceof BpfError && error.errnoName === 'EINVAL') return { revision: 0n, programs: [] };
    throw error;
  }
}
