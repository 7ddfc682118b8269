/** How long what changes outside takes to the kernel: a CNI record, a list or a configuration of the bus. Clocks that differ read as 0. */
import type { Clock } from '@bailiff/service';
import type { Metrics } from '../metrics.ts';
import { type BusDocument, isRuntimePolicy } from './bus-documents.ts';

export class ChangeTimes {
  readonly #metrics: Pick<Metrics, 'applySeconds' | 'inForceSeconds'>;
  readonly #clock: Pick<Clock, 'nowMs'>;
  /** When the bus stored the oldest runtime policy that was taken and is not in force yet. */
  #oldestMs: number | null = null;

  constructor(metrics: Pick<Metrics, 'applySeconds' | 'inForceSeconds'>, clock: Pick<Clock, 'nowMs'>) {
    this.#metrics = metrics;
    this.#clock = clock;
  }

  #since(ms: number): number {
    return Math.max(0, this.#clock.nowMs() - ms) / 1000;
  }

  /** A record bound an interface. */
  bound(writtenAtMs: number): void {
    this.#metrics.applySeconds.observe({ source: 'cni' }, this.#since(writtenAtMs));
  }

  /** What a document says is in the maps now; a runtime policy is applied with others, in a moment. @param storedMicros 0: not known */
  taken(document: Pick<BusDocument, 'what' | 'key'>, storedMicros: number): void {
    if (storedMicros === 0) return;
    const { what, key } = document;
    const storedMs = storedMicros / 1000;
    if (isRuntimePolicy(document)) this.#oldestMs = Math.min(this.#oldestMs ?? storedMs, storedMs);
    else if (what === 'config')
      this.#metrics.inForceSeconds.observe({ kind: key.split('.', 1)[0] as string }, this.#since(storedMs));
    else this.#metrics.applySeconds.observe({ source: what }, this.#since(storedMs));
  }

  /** All runtime policies that were taken are in force, or refused. */
  applied(): void {
    if (this.#oldestMs !== null) this.#metrics.inForceSeconds.observe({ kind: 'runtime' }, this.#since(this.#oldestMs));
    this.#oldestMs = null;
  }
}
