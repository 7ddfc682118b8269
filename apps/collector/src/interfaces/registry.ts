/**
 * The interfaces that this collector guards, live and gone. An ifindex has at most one live
 * generation; a generation that is gone stays until its last count is acknowledged. Only live
 * generations have a slot, so that a gone one never takes the place of a running pod.
 */
import assert from 'node:assert/strict';
import type { Binding } from '../identity/identity.ts';
import type { FirstSeen, GuardedInterface } from './guarded-interface.ts';

/** An interface that is not guarded. */
export interface OtherInterface {
  name: string;
  coverage: 'not-covered' | 'not-applicable';
  reason: string;
  /** Set if only a slot is missing: its time to a guard counts from here. */
  waitsForSlot?: FirstSeen;
  /** Its guard failed for want of descriptors or memory. */
  isShort?: boolean;
}

export class Registry {
  readonly #live = new Map<number, GuardedInterface>();
  readonly #all = new Map<number, GuardedInterface>();
  readonly #slots = new Set<number>();
  readonly #maxInterfaces: number;
  /** Interfaces that are not guarded, by ifindex: for the node's status. */
  readonly others = new Map<number, OtherInterface>();

  constructor(maxInterfaces: number) {
    this.#maxInterfaces = maxInterfaces;
  }

  /** Lowest free slot; null: all are taken. */
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

  /** The matching generation that is gone and the oldest. Generations only grow. */
  oldestGone(matches: (iface: GuardedInterface) => boolean): GuardedInterface | null {
    let oldest: GuardedInterface | null = null;
    for (const iface of this.#all.values()) {
      if (iface.gone && matches(iface) && (!oldest || iface.generation < oldest.generation)) oldest = iface;
    }
    return oldest;
  }

  /** Bindings of live interfaces whose pods have not ended. */
  *bindings(): Iterable<Binding> {
    for (const { binding, orphaned } of this.#live.values()) if (binding && !orphaned) yield binding;
  }
}
