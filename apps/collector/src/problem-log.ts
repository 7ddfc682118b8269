/**
 * One log line a problem, not one an occurrence: the same words about the same thing are logged again after a minute at the earliest,
 * with how often they came. Every occurrence is counted in a metric.
 */
import type { Logger } from 'pino';
import type { Counter } from 'prom-client';

const REPEAT_MS = 60_000;
/** Distinct problems remembered; beyond it the oldest is forgotten and would be logged again. */
const MAX_REMEMBERED = 512;

export class ProblemLog {
  readonly #log: Logger;
  readonly #counter: Counter;
  readonly #seen = new Map<string, { atMs: number; times: number }>();

  constructor(log: Logger, counter: Counter) {
    this.#log = log;
    this.#counter = counter;
  }

  report(part: string, subject: string, reason: string, error?: unknown): void {
    this.#counter.inc({ part });
    const key = `${part}\n${subject}\n${reason}`;
    const now = performance.now();
    const seen = this.#seen.get(key);
    if (seen && now - seen.atMs < REPEAT_MS) {
      seen.times += 1;
      return;
    }
    if (this.#seen.size >= MAX_REMEMBERED) this.#seen.delete(this.#seen.keys().next().value as string);
    this.#seen.delete(key);
    this.#seen.set(key, { atMs: now, times: 0 });
    this.#log.warn({ part, subject, reason, err: error, ...(seen ? { times: seen.times } : {}) }, 'problem');
  }
}
