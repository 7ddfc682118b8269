/**
 * The number of entries of a map, for status and metrics. The kernel has no count, so counting walks the
 * map: some microseconds an entry, in which the process does nothing else. A count that took long is
 * kept, so that counting takes at most COUNT_SHARE of the time, however often it is read.
 */
import type { BpfMap } from './bpf-map.ts';

export const COUNT_SHARE = 1 / 200;
/** Faster counts are not kept. */
const FAST_MS = 1;

export class EntryCount {
  readonly #map: Pick<BpfMap, 'count'>;
  readonly #nowMs: () => number;
  #entries = 0;
  #keptUntilMs = Number.NEGATIVE_INFINITY;

  constructor(map: Pick<BpfMap, 'count'>, nowMs: () => number = () => performance.now()) {
    this.#map = map;
    this.#nowMs = nowMs;
  }

  read(): number {
    const beganMs = this.#nowMs();
    if (beganMs < this.#keptUntilMs) return this.#entries;
    this.#entries = this.#map.count();
    const tookMs = this.#nowMs() - beganMs;
    this.#keptUntilMs = tookMs < FAST_MS ? Number.NEGATIVE_INFINITY : beganMs + tookMs / COUNT_SHARE;
    return this.#entries;
  }
}
