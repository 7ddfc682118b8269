/**
 * Exact growth of counters within what was read, in whatever order: for every sum that a person
 * sees. Pure.
 *
 * A violation covers the packets (cumulative - (count + suppressed), cumulative]. It adds what the
 * hull of all intervals of its counter grows by. A repeated frame adds nothing, and neither does the
 * part of a violation that a frame with a lost acknowledgement already contained. A counter belongs
 * to the node that reports it: no node can hide packets of another one.
 *
 * Bounds: MAX_HULLS counters, of which a node gets a further one only while more are free than it
 * has. Violations of further counters are added as reported, and `inexact` is set.
 */

/** 250 pods on each of 400 nodes with one counter each; 100 bytes per entry. */
export const MAX_HULLS = 100_000;

/** The part of a violation that counts. */
export interface CountedViolation {
  counterEpoch: string;
  cumulativePackets: number;
  count: number;
  suppressed: number;
}

interface Hull {
  low: number;
  high: number;
}

export class CounterHulls {
  readonly #nodes = new Map<string, Map<string, Hull>>();
  readonly #most: number;
  #size = 0;
  /** Some packets may be counted twice. */
  inexact = false;

  constructor(most = MAX_HULLS) {
    this.#most = most;
  }

  /** Packets or operations that a violation adds to what was read before. */
  growth(node: string, { counterEpoch, cumulativePackets: high, count, suppressed }: CountedViolation): number {
    const low = Math.max(0, high - count - suppressed);
    const counters = this.#nodes.get(node) ?? new Map<string, Hull>();
    const hull = counters.get(counterEpoch);
    if (!hull) {
      this.#add(node, counters, counterEpoch, { low, high });
      return high - low;
    }
    const before = hull.high - hull.low;
    hull.low = Math.min(hull.low, low);
    hull.high = Math.max(hull.high, high);
    return hull.high - hull.low - before;
  }

  #add(node: string, counters: Map<string, Hull>, counterEpoch: string, hull: Hull): void {
    if (counters.size >= this.#most - this.#size) {
      this.inexact = true;
      return;
    }
    this.#nodes.set(node, counters.set(counterEpoch, hull));
    this.#size += 1;
  }
}
