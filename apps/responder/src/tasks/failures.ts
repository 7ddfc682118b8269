/**
 * What a failed try means: pure. An error is either worth another try within a bound, or it is of the bus, without which nothing can be
 * recorded and so nothing be given up.
 */

import { BusError, reasonOf } from '@bailiff/bus';
import { KubeError } from '@bailiff/kube';
import { QuarantineError } from '@bailiff/response';

export interface RetryLimits {
  /** First wait; doubles from try to try. */
  baseMs: number;
  /** Longest wait. */
  maxMs: number;
  /** A task that has failed for this long, and at least `MIN_TRIES` times, is given up. */
  giveUpAfterMs: number;
  /** The same for an eviction that a disruption budget refuses. */
  budgetGiveUpAfterMs: number;
}

/** A responder that was busy or away for longer than the bound still tries this often. */
export const MIN_TRIES = 3;
/** Errors that no waiting mends are given up after MIN_TRIES, whatever the time. */
const HOPELESS: ReadonlySet<string> = new Set(['KUBE_INVALID', 'KUBE_CONFIG', 'QUARANTINE_FULL']);

export type Next =
  | { kind: 'retry'; afterMs: number; code: string; countsAsTry: boolean }
  | { kind: 'give-up'; code: string; reason: string; status: number };

export interface Tries {
  /** Failed tries so far, this one included. */
  tries: number;
  /** Since the first of them. */
  failingForMs: number;
}

/** @throws the error itself when it is none that a try may end with: a bug */
export function afterFailure(
  error: unknown,
  action: string,
  { tries, failingForMs }: Tries,
  limits: RetryLimits,
): Next {
  if (error instanceof BusError) {
    return { kind: 'retry', afterMs: waitMs(tries, limits), code: reasonOf(error, 'failed'), countsAsTry: false };
  }
  if (!(error instanceof KubeError) && !(error instanceof QuarantineError)) throw error;
  const budget = action === 'evict' && error.code === 'KUBE_TOO_MANY_REQUESTS';
  const code = budget ? 'disruption-budget' : reasonOf(error, 'failed');
  const boundMs = budget ? limits.budgetGiveUpAfterMs : limits.giveUpAfterMs;
  if (tries >= MIN_TRIES && (HOPELESS.has(error.code) || failingForMs >= boundMs)) {
    const status = error instanceof KubeError ? error.status : 0;
    return { kind: 'give-up', code, reason: `given up after ${tries} tries: ${error.message}`, status };
  }
  // What was read is out of date: look again at once.
  if (error.code === 'KUBE_CONFLICT' && tries === 1) return { kind: 'retry', afterMs: 0, code, countsAsTry: true };
  const asked = error instanceof KubeError ? (error.retryAfterMs ?? 0) : 0;
  return { kind: 'retry', afterMs: Math.max(asked, waitMs(tries, limits)), code, countsAsTry: true };
}

function waitMs(tries: number, { baseMs, maxMs }: RetryLimits): number {
  return Math.min(maxMs, baseMs * 2 ** Math.min(Math.max(tries - 1, 0), 20));
}
