/**
 * Violations that wait for their pod to be listed. Pure state in stream time.
 *
 * Invariants: each leaves at a stream time that follows from the logs alone (the time its answer holds from), in the order of that time and then of
 * the stream, so that every replica judges it at the same place among the others; violations of one pod keep their order.
 * Bounds: MAX_PARKED in all and MAX_PARKED_PER_NODE of one node, and as many of their characters as MAX_TEXT and MAX_TEXT_PER_NODE allow; beyond them a
 * claim is refused as unproven, at once.
 */
import type { JudgedViolation } from '@bailiff/schemas';
import type { Standing } from './attribution.ts';

/** A node that floods with claims takes no more than this of the room. */
export const MAX_PARKED_PER_NODE = 2_048;
export const MAX_PARKED = 65_536;
/** In UTF-16 units. The strings of an ordinary violation take 300 to 600. */
export const MAX_TEXT_PER_NODE = 2 * 1024 * 1024;
export const MAX_TEXT = 32 * 1024 * 1024;

export interface ParkedViolation {
  node: string;
  sequence: number;
  /** Stream time of its frame. */
  timestampMicros: number;
  frameSequence: number;
  index: number;
  violation: JudgedViolation;
}

export interface Released {
  parked: ParkedViolation;
  standing: Standing;
}

export class Parking {
  #waiting: ParkedViolation[] = [];
  readonly #perNode = new Map<string, { count: number; text: number }>();
  /** Of all that wait. */
  #text = 0;
  /** Earliest time at which one may leave, by what was known at the last look; Infinity when none waits. */
  #nextMicros = Number.POSITIVE_INFINITY;
  #looked = -1;

  get size(): number {
    return this.#waiting.length;
  }

  /** False when there is no room. */
  park(violation: ParkedViolation, standing: Standing): boolean {
    const ofNode = this.#perNode.get(violation.node) ?? { count: 0, text: 0 };
    const text = textOf(violation.violation);
    if (this.#waiting.length >= MAX_PARKED || ofNode.count >= MAX_PARKED_PER_NODE) return false;
    if (this.#text + text > MAX_TEXT || ofNode.text + text > MAX_TEXT_PER_NODE) return false;
    this.#waiting.push(violation);
    this.#perNode.set(violation.node, { count: ofNode.count + 1, text: ofNode.text + text });
    this.#text += text;
    this.#nextMicros = Math.min(this.#nextMicros, standing.atMicros);
    return true;
  }

  /** When the next one leaves, by what is known; null when none waits. */
  nextMicros(version: number, standingOf: (parked: ParkedViolation) => Standing): number | null {
    if (this.#waiting.length === 0) return null;
    if (version !== this.#looked) this.#look(version, standingOf);
    return this.#nextMicros;
  }

  /**
   * Takes out what leaves at or before a stream time.
   * @param version of the members that `standingOf` asks
   */
  release(nowMicros: number, version: number, standingOf: (parked: ParkedViolation) => Standing): Released[] {
    if (this.#waiting.length === 0) return [];
    if (version === this.#looked && this.#nextMicros > nowMicros) return [];
    const released: Released[] = [];
    const staying: ParkedViolation[] = [];
    this.#looked = version;
    this.#nextMicros = Number.POSITIVE_INFINITY;
    for (const parked of this.#waiting) {
      const standing = standingOf(parked);
      if (standing.atMicros <= nowMicros) {
        released.push({ parked, standing });
        this.#leave(parked);
      } else {
        staying.push(parked);
        this.#nextMicros = Math.min(this.#nextMicros, standing.atMicros);
      }
    }
    this.#waiting = staying;
    return released.sort(
      (a, b) =>
        a.standing.atMicros - b.standing.atMicros ||
        a.parked.sequence - b.parked.sequence ||
        a.parked.index - b.parked.index,
    );
  }

  #look(version: number, standingOf: (parked: ParkedViolation) => Standing): void {
    this.#looked = version;
    this.#nextMicros = Number.POSITIVE_INFINITY;
    for (const parked of this.#waiting) this.#nextMicros = Math.min(this.#nextMicros, standingOf(parked).atMicros);
  }

  #leave({ node, violation }: ParkedViolation): void {
    const text = textOf(violation);
    const before = this.#perNode.get(node) as { count: number; text: number };
    this.#text -= text;
    if (before.count > 1) this.#perNode.set(node, { count: before.count - 1, text: before.text - text });
    else this.#perNode.delete(node);
  }
}

const lengthOf = (strings: object): number =>
  Object.values(strings).reduce((sum: number, value) => sum + (typeof value === 'string' ? value.length : 0), 0);

/** Characters that a violation keeps alive while it waits. */
function textOf({ vector, counterEpoch, severity, pod, sample, operation }: JudgedViolation): number {
  const parts = [pod, sample, sample?.process, operation].filter((part) => part !== null && part !== undefined);
  return vector.length + counterEpoch.length + severity.length + parts.reduce((sum, part) => sum + lengthOf(part), 0);
}
