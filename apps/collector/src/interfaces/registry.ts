/**
 * The interfaces that this collector guards, live and gone. An ifindex has one live generation at most; a gone one stays until its
 * last count is acknowledged. Slots are the live ones': unique among them, free as soon as their interface is detached, so that what is
 * gone and not acknowledged never takes the place of a pod that runs.
 */
import assert from 'node:assert/strict';
import type { Binding } from '../identity/identity.ts';
import type { FirstTold, GuardedInterface } from './guarded-interface.ts';

export interface OtherInterface {
  name: string;
  coverage: 'not-covered' | 'not-applicable';
  reason: string;
  /** It would be guarded if there were room: how it was told of, as its time runs from there. */
  waitsForSlot?: FirstTold;
}

export class Registry {
  readonly #live = new Map<number, GuardedInterface>();
  readonly #all = new Map<number, GuardedInterface>();
  readonly #slots = new Set<number>();
  readonly #maxInterfaces: number;
  /** Interfaces that are looked at and not guarded, with the reason: for the node's status. */
  readonly others = new Map<number, OtherInterface>();

  constructor(maxInterfaces: number) {
    this.#maxInterfaces = maxInterfaces;
  }

  /** Lowest free slot; null when all are taken. */
  freeSlot(): number | null {
    for (let slot = 0; slot < this.#maxInterfaces; slot += 1) if (!this.#slots.has(slot)) return slot;
    return null;
  }

  add(iface: GuardedInterface): void {
    this.#all.set(iface.generation, iface);
    if (!iface.gone) {
      assert(!this.#slots.has(iface.slot), `slot ${iface.slot} is taken`);
      this.#slots.add(iface.slot);
      assert(!this.#live.has(iface.ifindex), `ifindex ${iface.ifindex} has a live generation`);
      this.#live.set(iface.ifindex, iface);
    }
  }

  /** The live generation of an ifindex. */
  live(ifindex: number): GuardedInterface | undefined {
    return this.#live.get(ifindex);
  }

  byGeneration(generation: number): GuardedInterface | undefined {
    return this.#all.get(generation);
  }

  markGone(iface: GuardedInterface): void {
    iface.gone = true;
    if (this.#live.get(iface.ifindex) !== iface) return;
    this.#live.delete(iface.ifindex);
    this.#slots.delete(iface.slot);
  }

  forget(iface: GuardedInterface): void {
    assert(iface.gone, 'only a gone interface is forgotten');
    this.#all.delete(iface.generation);
  }

  allLive(): Iterable<GuardedInterface> {
    return this.#live.values();
  }

  all(): Iterable<GuardedInterface> {
    return this.#all.values();
  }

  get liveCount(): number {
    return this.#live.size;
  }

  /** The gone generation that has waited longest, of those asked for. Generations only grow. */
  oldestGone(wanted: (iface: GuardedInterface) => boolean): GuardedInterface | null {
    let oldest: GuardedInterface | null = null;
    for (const iface of this.#all.values()) {
      if (iface.gone && wanted(iface) && (!oldest || iface.generation < oldest.generation)) oldest = iface;
    }
    return oldest;
  }

  /** Bindings of live interfaces. */
  *bindings(): Iterable<Binding> {
    for (const iface of this.#live.values()) if (iface.binding) yield iface.binding;
  }
}
