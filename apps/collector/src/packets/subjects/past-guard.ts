/**
 * Finds frames that reach pods past their guards: a CNI may hand them to the pod's end of a veth pair
 * (bpf_redirect_peer). No program of the host side sees them, so a quarantine drops only what such a pod
 * sends.
 *
 * Data path: sweep timer → counters of both ends of some pairs in turn → status. Linux counts these frames
 * since 6.7, and only at the pod's end. For what the host side sends, both ends have one counter.
 */

import type { LinkRecord } from '@bailiff/bpf';
import type { OnProblem } from '../../process/problem-log.ts';
import type { GuardedInterface } from './guarded-interface.ts';

/** Pairs that one look reads. All pairs of a full node have their turn within a minute. */
export const MAX_PAIRS_PER_LOOK = 64;

type Counted = Pick<LinkRecord, 'ifindex' | 'kind' | 'peerIfindex' | 'rxPackets' | 'txPackets'>;
type Iface = Pick<GuardedInterface, 'ifindex' | 'link' | 'pastGuardFrames'>;

/**
 * Frames that the pod's end received and the host side did not send.
 * @param pod read before `host`: what the host side sends meanwhile makes the number smaller, never greater
 */
export function framesPastGuard(pod: Counted | null, host: Counted | null): number {
  // Its index may be that of another link of another namespace by now.
  if (!pod || !host || pod.kind !== 'veth' || pod.peerIfindex !== host.ifindex) return 0;
  return Math.max(0, (pod.rxPackets ?? 0) - (host.txPackets ?? 0));
}

export interface PastGuardOptions<I extends Iface> {
  onProblem: OnProblem;
  registry: { allLive(): Iterable<I> };
  /** null: there is none. EINVAL: no namespace has the id. */
  readLink(ifindex: number, at?: { targetNsid: number }): Counted | null;
}

export class PastGuard<I extends Iface = GuardedInterface> {
  readonly #o: PastGuardOptions<I>;
  #next = 0;

  constructor(options: PastGuardOptions<I>) {
    this.#o = options;
  }

  /** Call it on a timer. */
  check(): void {
    const pairs = [...this.#o.registry.allLive()].filter(({ link }) => link.kind === 'veth');
    const inTurn = [...pairs.slice(this.#next), ...pairs.slice(0, this.#next)].slice(0, MAX_PAIRS_PER_LOOK);
    this.#next = pairs.length === 0 ? 0 : (this.#next + inTurn.length) % pairs.length;
    for (const iface of inTurn) this.#look(iface);
  }

  #look(iface: I): void {
    const { linkNetnsid, peerIfindex, name } = iface.link;
    if (linkNetnsid === null || peerIfindex === null) return;
    try {
      const pod = this.#o.readLink(peerIfindex, { targetNsid: linkNetnsid });
      const frames = framesPastGuard(pod, this.#o.readLink(iface.ifindex));
      iface.pastGuardFrames = Math.max(iface.pastGuardFrames, frames);
    } catch (error) {
      if ((error as { errnoName?: string }).errnoName === 'EINVAL') return;
      this.#o.onProblem(name, (error as Error).message, error);
    }
  }
}
