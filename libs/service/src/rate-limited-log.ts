/**
 * Logs a repeated problem at most once a minute, with the number of suppressed occurrences. The
 * caller counts every occurrence in a metric.
 */
import type { Logger } from 'pino';
import { RecentMap } from './recent-map.ts';

const REPEAT_MS = 60_000;
/** Limit of remembered problems. The oldest is forgotten and would be logged again. */
const MAX_REMEMBERED = 512;

export class RateLimitedLog {
  readonly #log: Pick<Logger, 'warn'>;
  readonly #seen = new RecentMap<string, { atMs: number; times: number }>(MAX_REMEMBERED);

  constructor(log: Pick<Logger, 'warn'>) {
    this.#log = log;
  }

  /** @param key identifies the problem */
  warn(key: string, fields: object, message: string): void {
    const now = performance.now();
    const seen = this.#seen.get(key);
    if (seen && now - seen.atMs < REPEAT_MS) {
      seen.times += 1;
      return;
    }
    this.#seen.set(key, { atMs: now, times: 0 });
    this.#log.warn({ ...fields, ...(seen ? { times: seen.times } : {}) }, message);
  }
}
