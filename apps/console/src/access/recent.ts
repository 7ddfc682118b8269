import { RecentMap } from '@bailiff/service/recent-map';

/**
 * Results of requests, kept briefly and shared by those who ask meanwhile. A failure is not kept.
 * Bound: `most` entries, of which the oldest is dropped first.
 */
export class Recent<T> {
  readonly #entries: RecentMap<string, { atMs: number; result: Promise<T> }>;
  readonly #keepMs: number;

  constructor(most: number, keepMs: number) {
    this.#entries = new RecentMap(most);
    this.#keepMs = keepMs;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** @param nowMs a monotonic clock */
  get(key: string, nowMs: number, make: () => Promise<T>): Promise<T> {
    const found = this.#entries.get(key);
    if (found && nowMs - found.atMs < this.#keepMs) return found.result;
    const entry = { atMs: nowMs, result: make() };
    this.#entries.set(key, entry);
    entry.result.catch(() => {
      if (this.#entries.get(key) === entry) this.#entries.delete(key);
    });
    return entry.result;
  }
}
