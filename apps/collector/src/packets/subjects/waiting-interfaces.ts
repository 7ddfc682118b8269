/**
 * Interfaces that wait for a slot: all are taken, or their pod or its namespace has its share
 * (registry.ts). They have no record in the kernel, so the mode of unknown interfaces decides on their packets: with
 * `unknown: enforce`, they are dropped. The status names each with the remedy, and a call of the CNI
 * plugin fails with it. Bound: interfaces of the node.
 */

import { getLink, type IfaceKey, type LinkRecord, type SpoofObject } from '@bailiff/bpf';
import { attempt, type OnProblem } from '../../process/problem-log.ts';
import type { FirstSeen, GuardedInterface } from './guarded-interface.ts';
import type { Registry, Waiting } from './registry.ts';

export interface WaitingOptions {
  onProblem: OnProblem;
  object: SpoofObject;
  registry: Registry;
  /** Why programs are not attached; empty: they are. */
  whyNotAttach(): string;
}

const RESIZE = '`collector detach --all` and `collector attach` (pinned maps keep their size)';

export class WaitingInterfaces {
  readonly #o: WaitingOptions;

  constructor(options: WaitingOptions) {
    this.#o = options;
  }

  /** Adds an interface without a slot, or updates it. */
  put(link: LinkRecord, seen: FirstSeen): void {
    const { registry, onProblem } = this.#o;
    const { ifindex, linkNetnsid, name } = link;
    const reason = `${this.#why(link)}raise maxInterfaces, then ${RESIZE}`;
    const before = registry.others.get(ifindex)?.waitsForSlot;
    const waitsForSlot: Waiting = { seen, linkNetnsid, programs: before?.programs ?? null };
    registry.others.set(ifindex, { name, coverage: 'not-covered', reason, waitsForSlot });
    onProblem(name, reason);
    // A netkit pair that drops by itself would begin to pass.
    if (link.kind === 'veth') attempt(this.#o.onProblem, name, () => this.#attach(ifindex, waitsForSlot));
  }

  #why({ linkNetnsid }: LinkRecord): string {
    const { object, registry } = this.#o;
    const { maxInterfaces } = object.maps;
    if (registry.freeSlot() === null) return `${maxInterfaces} interfaces are guarded, the capacity of the maps: `;
    const own = registry.guardedWith(linkNetnsid);
    const further = registry.furtherBeside(linkNetnsid);
    if (further > own)
      return `pods of its namespace have ${further} interfaces beyond their first ones, their share of ${maxInterfaces} on this node: request fewer networks, or `;
    return `its pod has ${own} other interfaces, its share of ${maxInterfaces} on this node: request fewer networks, or `;
  }

  #attach(ifindex: number, waiting: Waiting): void {
    const { object, whyNotAttach } = this.#o;
    if (whyNotAttach() !== '') return;
    waiting.programs ??= { ifindex, generation: object.maps.meta.allocateGeneration() };
    object.attach(waiting.programs);
  }

  /** It has a slot: its programs stay attached, for its generation. */
  guarded({ ifindex, generation }: GuardedInterface, programs: IfaceKey | null): void {
    this.#o.registry.others.delete(ifindex);
    if (programs) this.#o.object.rekey(programs, generation);
  }

  /** Its link is gone. */
  remove(ifindex: number): void {
    const { object, registry } = this.#o;
    const other = registry.others.get(ifindex);
    const programs = other?.waitsForSlot?.programs;
    if (programs) attempt(this.#o.onProblem, other.name, () => object.detach(programs));
    registry.others.delete(ifindex);
  }

  /** The one that waits longest, has a share and exists. */
  next(): { link: LinkRecord; seen: FirstSeen } | null {
    const { registry } = this.#o;
    for (const [ifindex, { waitsForSlot }] of registry.others) {
      if (!waitsForSlot || !registry.hasShare(waitsForSlot.linkNetnsid)) continue;
      // The event of its removal may not be read yet.
      const link = getLink(ifindex);
      if (link) return { link, seen: waitsForSlot.seen };
    }
    return null;
  }
}
