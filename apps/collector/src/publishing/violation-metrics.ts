/**
 * What frames say, added up for the metrics: 64 violations a frame and thousands of frames a second, so plain numbers are kept and read
 * when they are scraped. Bound: MAX_VECTORS names; vectors of packets are fewer, and of runtime policies, whose names operators choose,
 * the name of the policy is told, not that of the rule.
 */
import { VECTORS } from '@bailiff/bpf';
import type { Violation, ViolationKind } from '@bailiff/schemas';
import type { VectorTotals } from '../metrics.ts';

/** Above it what comes is told as `other`. */
export const MAX_VECTORS = 128;
const OTHER = 'other';

export class BreachTally {
  /** Those of packets are there from the start, so that the first burst of one shows in a rate. */
  readonly #breaches = new Map<string, VectorTotals>(
    VECTORS.map((vector) => [vector, { kind: 'spoof', vector, drop: 0, audit: 0 }]),
  );
  readonly suppressed: Record<ViolationKind, number> = { spoof: 0, lsm: 0 };

  /**
   * Takes what a frame says, before it is acknowledged: its violations are filled anew after that.
   * @returns wall-clock microseconds of the oldest breach that the frame tells for the first time, by its sample; null: none
   */
  take(violations: readonly Violation[]): number | null {
    let firstMicros: number | null = null;
    for (const violation of violations) {
      const { kind, action, count, suppressed, cumulativePackets, firstSeenAt } = violation;
      this.#of(kind, violation.vector)[action] += count + suppressed;
      this.suppressed[kind] += suppressed;
      // A cell that was never told of before, and a sample that says when that began.
      const isFirst = count > 0 && cumulativePackets === count + suppressed && hasSample(violation);
      if (isFirst && (firstMicros === null || firstSeenAt < firstMicros)) firstMicros = firstSeenAt;
    }
    return firstMicros;
  }

  #of(kind: ViolationKind, vector: string): VectorTotals {
    const name = kind === 'lsm' ? (vector.split('/', 1)[0] as string) : vector;
    const known = this.#breaches.get(name);
    if (known) return known;
    if (this.#breaches.size >= MAX_VECTORS && name !== OTHER) return this.#of(kind, OTHER);
    const made = { kind, vector: name, drop: 0, audit: 0 };
    this.#breaches.set(name, made);
    return made;
  }

  all(): Iterable<Readonly<VectorTotals>> {
    return this.#breaches.values();
  }
}

const hasSample = ({ sample, operation }: Violation): boolean => sample !== null || operation !== null;
