/**
 * Violations that wait for their pod to be listed. Pure state in stream time.
 *
 * Invariants: each leaves at a stream time that follows from the logs alone (the time its answer holds from), in the order of that time and then of
 * the stream, so that every replica judges it at the same place among the others; violations of one pod keep their order.
 * Bounds: MAX_PARKED in all and MAX_PARKED_PER_NODE of one node; beyond them a claim is refused as unproven, at once.
 */
import type { JudgedViolation } from '@bailiff/schemas';
import type { Standing } from './foreign.ts';

/** A node that floods with claims takes no more than this of the room. */
export const MAX_PARKED_PER_NODE = 2_048;
export const MAX_PARKED = 65_536;

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
  readonly #perNode = new Map<string, number>();
  /** Earliest time at which one may leave, by what was known at the last look; Infinity when none waits. */
  #nextMicros = Number.POSITIVE_INFINITY;
  #looked = -1;

  get size(): number {
    return this.#waiting.length;
  }

  /** False when there is no room. */
  park(violation: ParkedViolation, standing: Standing): boolean {
    const ofNode = this.#perNode.get(violation.node) ?? 0;
    if (this.#waiting.length >= MAX_PARKED || ofNode >= MAX_PARKED_PER_NODE) return false;
    this.#waiting.push(violation);
    this.#perNode.set(violation.node, ofNode + 1);
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
        this.#leave(parked.node);
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

  #leave(node: string): void {
    const left = (this.#perNode.get(node) ?? 0) - 1;
    if (left > 0) this.#perNode.set(node, left);
    else this.#perNode.delete(node);
  }
}
