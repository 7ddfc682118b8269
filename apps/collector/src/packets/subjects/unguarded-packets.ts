/**
 * Counts the packets that an interface sent before it was judged as a pod's: those that the link
 * received before its programs were attached, and, unless unknown interfaces are dropped, those
 * that the programs saw before the binding.
 *
 * The count is taken once, as soon as the programs are attached and the interface is bound.
 */

import { getLink, type SpoofMaps } from '@bailiff/bpf';
import type { LinkFacts } from '../../identity/identity.ts';
import { attempt, type OnProblem } from '../../process/problem-log.ts';
import type { CounterStore } from '../counting/counter-store.ts';
import type { BindingStore } from './binding-store.ts';
import { type GuardedInterface, storedOf } from './guarded-interface.ts';
import { droppedOnNetkit, passedUnbound } from './lifecycle.ts';

/**
 * Packets that the link received from the pod; null: the link is gone. netkit counts a packet at the
 * host side only after its programs passed it, and not if one of them redirected it. The other end
 * counts such a packet, but none that a program of the pod redirected to the host side. Neither
 * counts dropped ones. The pod may have moved that end since the last event, so its place is read here.
 */
function receivedFrom({ ifindex, kind }: LinkFacts): number | null {
  const link = getLink(ifindex);
  if (kind !== 'netkit' || !link || link.linkNetnsid === null || link.peerIfindex === null)
    return link?.rxPackets ?? null;
  const peer = getLink(link.peerIfindex, { targetNsid: link.linkNetnsid });
  return Math.max(link.rxPackets ?? 0, peer?.txPackets ?? 0);
}

type Maps = Pick<SpoofMaps, 'seen' | 'settings'>;

export interface UnguardedPacketsOptions {
  maps: Maps;
  counters: Pick<CounterStore, 'readInto'>;
  store: Pick<BindingStore, 'save'>;
  /** Why programs are not attached; empty: they are. */
  whyNotAttach(): string;
  onProblem: OnProblem;
}

export class UnguardedPackets {
  readonly #o: UnguardedPacketsOptions;

  constructor(options: UnguardedPacketsOptions) {
    this.#o = options;
  }

  #seen(iface: GuardedInterface): number {
    return Number(this.#o.maps.seen(iface.slot)) - iface.seenBase;
  }

  /**
   * The interface was bound and the kernel has its identity: its programs judged no packet before.
   */
  bound(iface: GuardedInterface): void {
    attempt(this.#o.onProblem, iface.link.name, () => {
      iface.seenUnbound = this.#o.maps.settings().unknownMode === 'enforce' ? 0 : this.#seen(iface);
    });
    this.measure(iface);
  }

  /** Its programs are attached: from now on, every frame that it receives is judged. */
  attached(iface: GuardedInterface): void {
    attempt(this.#o.onProblem, iface.link.name, () => {
      const judged = this.#seen(iface);
      const received = getLink(iface.ifindex)?.rxPackets ?? null;
      if (received === null || iface.conservation.base !== null) return;
      iface.conservation.base = received + droppedOnNetkit(this.#o.counters, iface) - judged;
      // After a detachment, the file still has the base from before it.
      this.#o.store.save(storedOf(iface));
    });
    this.measure(iface);
  }

  /** A former guard of this boot judged or reported what the link has received so far. */
  formerlyGuarded(iface: GuardedInterface): void {
    attempt(this.#o.onProblem, iface.link.name, () => {
      iface.receivedBase = receivedFrom(iface.link) ?? 0;
    });
  }

  /** Counts them if they are not counted and can be. */
  measure(iface: GuardedInterface): void {
    if (iface.packetsBeforeGuard >= 0 || !iface.binding || iface.attachError !== '') return;
    if (this.#o.whyNotAttach() !== '') return;
    attempt(this.#o.onProblem, iface.link.name, () => {
      // Read before the link's count: a packet in between is reported as unguarded, never lost.
      // A process that was killed after the binding left the kernel's count alone.
      const unbound = Math.max(iface.seenUnbound, passedUnbound(this.#o.counters, iface));
      const judged = this.#seen(iface) - unbound;
      const received = receivedFrom(iface.link);
      if (received === null) return; // the link is gone: its final count is published instead
      const all = received + droppedOnNetkit(this.#o.counters, iface);
      iface.packetsBeforeGuard = Math.max(0, all - iface.receivedBase - judged);
      this.#o.store.save(storedOf(iface));
    });
  }
}
