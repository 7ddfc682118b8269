/** Problems of a collector: each occurrence is counted, and one a minute of the same words about the same thing is logged. */
import { RateLimitedLog } from '@bailiff/service';
import type { Logger } from 'pino';
import type { Counter } from 'prom-client';

export class ProblemLog {
  readonly #log: RateLimitedLog;
  readonly #counter: Counter;

  constructor(log: Logger, counter: Counter) {
    this.#log = new RateLimitedLog(log);
    this.#counter = counter;
  }

  report(part: string, subject: string, reason: string, error?: unknown): void {
    this.#counter.inc({ part });
    this.#log.warn(`${part}\n${subject}\n${reason}`, { part, subject, reason, err: error }, 'problem');
  }
}
