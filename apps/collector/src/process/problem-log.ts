/**
 * Counts every problem of the collector, and logs each distinct one at most once a minute. A
 * problem is distinct by part, subject and reason.
 */
import { RateLimitedLog } from '@bailiff/service';
import type { Logger } from 'pino';
import type { Counter } from 'prom-client';

/** Reports a problem of one part. @param subject what has it: an interface, a file; empty: the part itself */
export type OnProblem = (subject: string, reason: string, error?: unknown) => void;

/** Runs an action. An exception becomes a problem of the subject. */
export function attempt(onProblem: OnProblem, subject: string, action: () => void): void {
  try {
    action();
  } catch (error) {
    onProblem(subject, (error as Error).message, error);
  }
}

export class ProblemLog {
  readonly #log: RateLimitedLog;
  readonly #counter: Counter;

  constructor(log: Logger, counter: Counter) {
    this.#log = new RateLimitedLog(log);
    this.#counter = counter;
  }

  /** @param part label of the metric: the part of the collector that has the problem */
  report(part: string, subject: string, reason: string, error?: unknown): void {
    this.#counter.inc({ part });
    this.#log.warn(`${part}\n${subject}\n${reason}`, { part, subject, reason, err: error }, 'problem');
  }

  /** The report of one part. */
  of(part: string): OnProblem {
    return (subject, reason, error) => this.report(part, subject, reason, error);
  }

  /**
   * Runs an action of a timer or an event. An exception becomes a problem: it never ends the
   * process.
   */
  attempt(part: string, action: () => void): void {
    attempt(this.of(part), '', action);
  }
}
