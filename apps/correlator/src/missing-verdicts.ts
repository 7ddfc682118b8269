/**
 * Verdicts of the last minutes that were not published, for the status: above the limit per minute, or
 * refused by the bus. Pure.
 */
import type { MissingVerdicts as MissingStatus } from '@bailiff/schemas';

/** Without a further one for this long, they are no longer in the status. */
const RECENT_MS = 600_000;

export class MissingVerdicts {
  #total = 0;
  #recent: { count: number; sinceMs: number; lastMs: number } | null = null;

  /** @param total since the start @returns undefined without recent ones */
  observe(total: number, nowMs: number): MissingStatus | undefined {
    const grown = total - this.#total;
    this.#total = total;
    if (this.#recent && grown === 0 && nowMs - this.#recent.lastMs > RECENT_MS) this.#recent = null;
    if (grown > 0) {
      const { count, sinceMs } = this.#recent ?? { count: 0, sinceMs: nowMs };
      this.#recent = { count: count + grown, sinceMs, lastMs: nowMs };
    }
    return this.#recent
      ? { count: this.#recent.count, since: new Date(this.#recent.sinceMs).toISOString() }
      : undefined;
  }
}
