/**
 * The interfaces that this collector guards, live and gone. An ifindex has at most one live
 * generation; a generation that is gone stays until its last count is acknowledged. Only live
 * generations have a slot, so that a gone one never takes the place of a running pod.
 *
 * A pod chooses how many networks it requests (Multus), and a tenant how many such pods run. So a pod
 * gets a slot for a further interface only while more are free than it has, and than its namespace has
 * further interfaces, beyond those that stay for the first interfaces of pods. A tenant can also leave any number of
 * orphaned interfaces. Their slots count as free.
 */
import assert from 'node:assert/strict';
import type { IfaceKey } from '@bailiff/bpf';
import { FairCounts } from '@bailiff/service';
import type { Binding, LinkFacts } from '../../identity/identity.ts';
import { type FirstSeen, type GuardedInterface, isDroppedOrphan } from './guarded-interface.ts';

/** An interface that is not guarded. */
export interface OtherInterface {
  name: string;
  /** Absent: that of a pod interface. */
  kind?: string;
  coverage: 'not-covered' | 'not-applicable';
  reason: string;
  /** Set if only a slot is missing. */
  waitsForSlot?: Waiting;
  /** Its guard failed for want of descriptors or memory. */
  isShort?: boolean;
}

export interface Waiting {
  /** Its time to a guard counts from here. */
  seen: FirstSeen;
  /** Its pod, as far as it is known before it is bound. */
  linkNetnsid: LinkFacts['linkNetnsid'];
  /** Its programs, which find no record; null: none are attached. */
  programs: IfaceKey | null;
}

/** Of all slots, this part is only for first interfaces of pods: more than a kubelet starts by default. */
export const FIRST_INTERFACES = 1 / 4;

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

  /** Whether a new interface, by the namespace at its other end, is within the share of its pod and of the namespace of that. */
  hasShare(linkNetnsid: LinkFacts['linkNetnsid']): boolean {
    const own = this.guardedWith(linkNetnsid);
    if (own === 0) return true;
    const free = this.#maxInterfaces - this.#slots.size + this.#replaceable().length;
    const reserved = Math.floor(this.#maxInterfaces * FIRST_INTERFACES);
    return Math.max(own, this.furtherBeside(linkNetnsid)) < free - reserved;
  }

  #replaceable(): GuardedInterface[] {
    return [...this.#live.values()].filter(isDroppedOrphan);
  }

  /** The oldest interface that gives its slot to another one, as all that it sends is dropped; null: there is none. */
  oldestOrphan(): GuardedInterface | null {
    const [first, ...rest] = this.#replaceable();
    if (!first) return null;
    return rest.reduce((oldest, iface) => (iface.generation < oldest.generation ? iface : oldest), first);
  }

  /**
   * Number of interfaces beyond the first one of each pod, in the Kubernetes namespace of the pod that
   * has an interface in a network namespace; 0: its pod is not known yet.
   */
  furtherBeside(linkNetnsid: LinkFacts['linkNetnsid']): number {
    const live = [...this.#live.values()];
    const namespaces = live
      .filter(({ link }) => link.linkNetnsid === linkNetnsid)
      .flatMap(({ binding }) => binding?.podNamespace ?? []);
    const bound = live.flatMap(({ binding }) =>
      binding && namespaces.includes(binding.podNamespace) ? [binding] : [],
    );
    return bound.length - new Set(bound.map(({ podUid }) => podUid)).size;
  }

  /** Number of interfaces of the pod that has an interface in a namespace. */
  guardedWith(linkNetnsid: LinkFacts['linkNetnsid']): number {
    const live = [...this.#live.values()];
    const isThere = ({ link }: GuardedInterface) => link.linkNetnsid === linkNetnsid;
    // A pod can move its ends into namespaces that it makes.
    const pods = new Set(live.filter(isThere).flatMap(({ binding }) => binding?.podUid ?? []));
    return live.filter((iface) => isThere(iface) || pods.has(iface.binding?.podUid ?? '')).length;
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

  /** The oldest of the namespace with most of the matching generations that are gone. */
  oldestGoneOfMost(matches: (iface: GuardedInterface) => boolean): GuardedInterface | null {
    const counts = new FairCounts(Number.POSITIVE_INFINITY);
    for (const iface of this.#all.values()) if (iface.gone && matches(iface)) counts.add(namespaceOf(iface));
    const most = counts.largest();
    return this.oldestGone((iface) => matches(iface) && namespaceOf(iface) === most);
  }

  /** Bindings of live interfaces whose pods have not ended. */
  *bindings(): Iterable<Binding> {
    for (const { binding, orphaned } of this.#live.values()) if (binding && !orphaned) yield binding;
  }
}

const namespaceOf = ({ binding, pod }: GuardedInterface): string => binding?.podNamespace ?? pod?.namespace ?? '';
