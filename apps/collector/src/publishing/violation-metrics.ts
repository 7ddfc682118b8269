/**
 * Totals of stored violations for the metrics, as plain numbers: thousands of frames a second carry
 * up to 64 violations each, and the metrics are read only at a scrape. A frame counts when the bus
 * has stored it: what a killed process had not stored is counted by the next one.
 *
 * Limit: MAX_VECTORS names. Vectors of packets are fewer. Runtime policies count by the name of the
 * policy, not of the rule, because operators choose these names.
 */
import { VECTORS } from '@bailiff/bpf';
import type { Violation, ViolationKind } from '@bailiff/schemas';
import type { VectorTotals } from '../metrics.ts';

/** Further names count as `other`. */
export const MAX_VECTORS = 128;
const OTHER = 'other';

export interface FrameCount {
  parts: { totals: VectorTotals; action: Violation['action']; count: number; suppressed: number }[];
  /**
   * Wall-clock microseconds of the oldest violation that is published for the first time, from its
   * sample; null: there is none.
   */
  firstMicros: number | null;
}

export class ViolationTotals {
  /** Vectors of packets exist from the start, so that a rate shows their first burst. */
  readonly #totals = new Map<string, VectorTotals>(
    VECTORS.map((vector) => [vector, { kind: 'spoof', vector, drop: 0, audit: 0 }]),
  );
  readonly suppressed: Record<ViolationKind, number> = { spoof: 0, lsm: 0 };

  /**
   * Counts the violations of a frame, without adding them. Call it when the frame is published: its
   * violations are reused afterwards.
   */
  countOf(violations: readonly Violation[]): FrameCount {
    let firstMicros: number | null = null;
    const parts: FrameCount['parts'] = [];
    for (const violation of violations) {
      const { kind, action, count, suppressed, cumulativePackets, firstSeenAt } = violation;
      parts.push({ totals: this.#of(kind, violation.vector), action, count, suppressed });
      // The first violation of its cell, with a sample that has the time.
      const isFirst = count > 0 && cumulativePackets === count + suppressed && hasSample(violation);
      if (isFirst && (firstMicros === null || firstSeenAt < firstMicros)) firstMicros = firstSeenAt;
    }
    return { parts, firstMicros };
  }

  /** Adds a frame that the bus has stored. */
  add({ parts }: FrameCount): void {
    for (const { totals, action, count, suppressed } of parts) {
      totals[action] += count + suppressed;
      this.suppressed[totals.kind] += suppressed;
    }
  }

  #of(kind: ViolationKind, vector: string): VectorTotals {
    const name = kind === 'lsm' ? (vector.split('/', 1)[0] as string) : vector;
    const known = this.#totals.get(name);
    if (known) return known;
    if (this.#totals.size >= MAX_VECTORS && name !== OTHER) return this.#of(kind, OTHER);
    const created = { kind, vector: name, drop: 0, audit: 0 };
    this.#totals.set(name, created);
    return created;
  }

  all(): Iterable<Readonly<VectorTotals>> {
    return this.#totals.values();
  }
}

const hasSample = ({ sample, operation }: Violation): boolean => sample !== null || operation !== null;
