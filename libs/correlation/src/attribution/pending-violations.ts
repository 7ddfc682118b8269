/**
 * Pending violations: each waits for its pod to appear in a snapshot. Pure, in stream time.
 *
 * Invariants: a violation leaves at the stream time from which its attribution holds, ordered by
 * that time and then by stream position. The logs alone determine both, so every replica processes
 * it at the same point. The violations of one pod keep their order. Bounds: MAX_PENDING and
 * MAX_TEXT in total, MAX_PENDING_PER_NODE and MAX_TEXT_PER_NODE for a node, of which pods of a
 * namespace use more only while more is free than they have. Beyond them a violation is refused at
 * once as `unproven-pod`.
 */
import type { ProjectedViolation } from '@bailiff/schemas';
import { FairCounts } from '@bailiff/service/fair-counts';
import type { Attribution } from './attribution.ts';

/** Limits the share of a node that floods the stream. */
export const MAX_PENDING_PER_NODE = 2_048;
export const MAX_PENDING = 65_536;
/** In UTF-16 units. The strings of an ordinary violation have 300 to 600. */
export const MAX_TEXT_PER_NODE = 2 * 1024 * 1024;
export const MAX_TEXT = 32 * 1024 * 1024;

export interface PendingViolation {
  node: string;
  sequence: number;
  /** When the bus stored the frame. */
  timestampMicros: number;
  /** Stream time of the frame. */
  streamMicros: number;
  frameSequence: number;
  index: number;
  violation: ProjectedViolation;
}

export interface Released {
  pending: PendingViolation;
  attribution: Attribution;
}

/** Violations of a node and their characters, by namespace. */
interface Used {
  readonly count: FairCounts;
  readonly text: FairCounts;
}

/** By time, then by place in the stream. */
const inOrder = (a: Released, b: Released): number =>
  a.attribution.atMicros - b.attribution.atMicros ||
  a.pending.sequence - b.pending.sequence ||
  a.pending.index - b.pending.index;

type Attribute = (pending: PendingViolation) => Attribution;

export class PendingViolations {
  /** In the order of their release by the inventory of `#version`. */
  #waiting: Released[] = [];
  readonly #perNode = new Map<string, Used>();
  /** Characters of all pending violations. */
  #text = 0;
  #version = -1;

  get size(): number {
    return this.#waiting.length;
  }

  /** @returns false if a bound is reached */
  add(pending: PendingViolation, attribution: Attribution): boolean {
    const { count, text } = this.#perNode.get(pending.node) ?? {
      count: new FairCounts(MAX_PENDING_PER_NODE),
      text: new FairCounts(MAX_TEXT_PER_NODE),
    };
    const namespace = namespaceOf(pending);
    const length = textOf(pending.violation);
    if (this.#waiting.length >= MAX_PENDING || !count.hasRoom(namespace)) return false;
    if (this.#text + length > MAX_TEXT || text.roomFor(namespace) < length) return false;
    this.#insert({ pending, attribution });
    count.add(namespace);
    text.add(namespace, length);
    this.#perNode.set(pending.node, { count, text });
    this.#text += length;
    return true;
  }

  #insert(added: Released): void {
    let [low, high] = [0, this.#waiting.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (inOrder(this.#waiting[middle] as Released, added) <= 0) low = middle + 1;
      else high = middle;
    }
    this.#waiting.splice(low, 0, added);
  }

  /** Time of the next release by the current inventory; null if none is pending. */
  nextMicros(version: number, attribute: Attribute): number | null {
    this.#refresh(version, attribute);
    return this.#waiting[0]?.attribution.atMicros ?? null;
  }

  /**
   * Removes and returns the violations that are released at or before a stream time.
   * @param version of the inventory that `attribute` uses
   */
  release(nowMicros: number, version: number, attribute: Attribute): Released[] {
    this.#refresh(version, attribute);
    let due = 0;
    while (due < this.#waiting.length && (this.#waiting[due] as Released).attribution.atMicros <= nowMicros) due++;
    if (due === 0) return [];
    const released = this.#waiting.splice(0, due);
    for (const { pending } of released) this.#subtract(pending);
    return released;
  }

  /** An attribution holds for one version of the inventory. */
  #refresh(version: number, attribute: Attribute): void {
    if (version === this.#version) return;
    this.#version = version;
    for (const waiting of this.#waiting) waiting.attribution = attribute(waiting.pending);
    this.#waiting.sort(inOrder);
  }

  #subtract(pending: PendingViolation): void {
    const { count, text } = this.#perNode.get(pending.node) as Used;
    const length = textOf(pending.violation);
    this.#text -= length;
    count.remove(namespaceOf(pending));
    text.remove(namespaceOf(pending), length);
    if (count.size === 0) this.#perNode.delete(pending.node);
  }
}

const namespaceOf = ({ violation }: PendingViolation) => violation.pod?.namespace ?? '';

const lengthOf = (strings: object): number =>
  Object.values(strings).reduce((sum: number, value) => sum + (typeof value === 'string' ? value.length : 0), 0);

/** Characters that a pending violation keeps in memory. */
function textOf({ vector, counterEpoch, severity, pod, sample, operation }: ProjectedViolation): number {
  const parts = [pod, sample, sample?.process, operation].filter((part) => part !== null && part !== undefined);
  return vector.length + counterEpoch.length + severity.length + parts.reduce((sum, part) => sum + lengthOf(part), 0);
}
