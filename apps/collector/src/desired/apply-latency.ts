/**
 * Measures how long outside changes take to reach the kernel: CNI records, lists and configuration
 * of the bus. A clock that is behind reads as 0.
 */
import type { Clock } from '@bailiff/service';
import type { Metrics } from '../metrics.ts';
import { type BusDocument, isRuntimePolicy } from './bus-documents.ts';

export class ApplyLatency {
  readonly #metrics: Pick<Metrics, 'applySeconds' | 'inForceSeconds'>;
  readonly #clock: Pick<Clock, 'nowMs'>;
  /** When the bus stored the oldest received runtime policy that is not in force yet. */
  #oldestPolicyMs: number | null = null;

  constructor(metrics: Pick<Metrics, 'applySeconds' | 'inForceSeconds'>, clock: Pick<Clock, 'nowMs'>) {
    this.#metrics = metrics;
    this.#clock = clock;
  }

  #since(ms: number): number {
    return Math.max(0, this.#clock.nowMs() - ms) / 1000;
  }

  /** A CNI record bound an interface. */
  recordApplied(writtenAtMs: number): void {
    this.#metrics.applySeconds.observe({ source: 'cni' }, this.#since(writtenAtMs));
  }

  /**
   * A document is in the maps now. A runtime policy is only received; `runtimeApplied` follows.
   * @param storedMicros 0: unknown
   */
  documentApplied(document: Pick<BusDocument, 'what' | 'key'>, storedMicros: number): void {
    if (storedMicros === 0) return;
    const { what, key } = document;
    const storedMs = storedMicros / 1000;
    if (isRuntimePolicy(document)) this.#oldestPolicyMs = Math.min(this.#oldestPolicyMs ?? storedMs, storedMs);
    else if (what === 'config')
      this.#metrics.inForceSeconds.observe({ kind: key.split('.', 1)[0] as string }, this.#since(storedMs));
    else this.#metrics.applySeconds.observe({ source: what }, this.#since(storedMs));
  }

  /** Every received runtime policy is in force or rejected. */
  runtimeApplied(): void {
    if (this.#oldestPolicyMs !== null)
      this.#metrics.inForceSeconds.observe({ kind: 'runtime' }, this.#since(this.#oldestPolicyMs));
    this.#oldestPolicyMs = null;
  }
}
