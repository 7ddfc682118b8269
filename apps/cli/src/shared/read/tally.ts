/**
 * Exact packet counts of many violations, by group. Pure. Per counter epoch, only the range that
 * its violations cover is counted: duplicates add nothing, and a lost message is covered by the
 * next one.
 *
 * Bound: MAX_EPOCHS counters. Violations of further counters are added as reported, and `inexact`
 * is set.
 */
import type { Violation } from '@bailiff/schemas';

/** 250 pods on each of 400 nodes with one counter each; 100 bytes per entry. */
export const MAX_EPOCHS = 100_000;

export interface TallyGroup<K> {
  key: K;
  packets: number;
  violations: number;
  firstAtMicros: number;
  lastAtMicros: number;
  firstSequence: number;
  lastSequence: number;
  /** The newest violation with a packet or an operation. */
  sample: Violation | null;
}

interface Hull {
  low: number;
  high: number;
}

export class Tally<K> {
  readonly #groups = new Map<string, TallyGroup<K>>();
  readonly #epochs = new Map<string, Hull>();
  readonly #maxEpochs: number;
  readonly #nameOf: (key: K) => string;
  inexact = false;

  /** @param nameOf returns equal strings for equal keys */
  constructor(nameOf: (key: K) => string, maxEpochs = MAX_EPOCHS) {
    this.#nameOf = nameOf;
    this.#maxEpochs = maxEpochs;
  }

  add(key: K, violation: Violation, sequence: number): void {
    const name = this.#nameOf(key);
    const group = this.#groups.get(name) ?? {
      key,
      packets: 0,
      violations: 0,
      firstAtMicros: violation.firstSeenAt,
      lastAtMicros: violation.lastSeenAt,
      firstSequence: sequence,
      lastSequence: sequence,
      sample: null,
    };
    this.#groups.set(name, group);
    group.violations += 1;
    group.packets += this.#growth(violation);
    group.firstAtMicros = Math.min(group.firstAtMicros, violation.firstSeenAt);
    group.lastAtMicros = Math.max(group.lastAtMicros, violation.lastSeenAt);
    group.lastSequence = sequence;
    if (violation.sample || violation.operation) group.sample = violation;
  }

  #growth({ counterEpoch, cumulativePackets: high, count, suppressed }: Violation): number {
    const low = Math.max(0, high - count - suppressed);
    const hull = this.#epochs.get(counterEpoch);
    if (!hull) {
      if (this.#epochs.size >= this.#maxEpochs) this.inexact = true;
      else this.#epochs.set(counterEpoch, { low, high });
      return high - low;
    }
    const before = hull.high - hull.low;
    hull.low = Math.min(hull.low, low);
    hull.high = Math.max(hull.high, high);
    return hull.high - hull.low - before;
  }

  /** Most packets first. */
  groups(): TallyGroup<K>[] {
    return [...this.#groups.values()].sort((a, b) => b.packets - a.packets || b.lastAtMicros - a.lastAtMicros);
  }
}
