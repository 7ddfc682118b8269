/**
 * Decides what follows a failed attempt: retry or give up. Pure. Errors of the bus are retried
 * without a bound, because without the bus the failure cannot be recorded.
 */

import { BusError, reasonOf } from '@bailiff/bus';
import { KubeError } from '@bailiff/kube';
import { DISRUPTION_BUDGET, QuarantineError } from '@bailiff/response';

export interface RetryLimits {
  /** First wait; doubles with each attempt. */
  baseMs: number;
  /** Longest wait. */
  maxMs: number;
  /** A task fails for good after this time and at least `MIN_TRIES` attempts. */
  giveUpAfterMs: number;
  /** The same for an eviction that a disruption budget refuses. */
  budgetGiveUpAfterMs: number;
  /** The same while the API server is away: as long as the verdict is not too old. */
  outageGiveUpAfterMs: number;
}

/** Minimum attempts, also if the responder was stopped for longer than the bound. */
export const MIN_TRIES = 3;
/** Errors that waiting does not fix: given up after MIN_TRIES, regardless of the time. */
const PERMANENT: ReadonlySet<string> = new Set(['KUBE_INVALID']);

/** No request reaches the API server, this process has no credential for it, or it accepts none of this account. */
const AWAY: ReadonlySet<string> = new Set(['KUBE_UNREACHABLE', 'KUBE_CONFIG', 'KUBE_UNAUTHORIZED']);
/** Likewise of an attempt that has only read. Of a change, the pod can be the reason: webhooks see it. */
const AWAY_FOR_READS: ReadonlySet<string> = new Set([
  ...AWAY,
  ...['KUBE_TIMEOUT', 'KUBE_SERVER', 'KUBE_TOO_MANY_REQUESTS'],
]);

/**
 * - countsAsTry: false for errors of the bus.
 * - isAway: the bus or the API server is away, which is no failure of the task: `failingForMs` does not grow.
 */
export type Next =
  | { kind: 'retry'; afterMs: number; code: string; countsAsTry: boolean; isAway: boolean }
  | { kind: 'give-up'; code: string; reason: string; status: number };

export interface Tries {
  /** Failed attempts, including this one. */
  tries: number;
  /** Time since the first of them, without times at which the bus or the API server was away. */
  failingForMs: number;
  /** Time since the task was due, approved or started. */
  overdueForMs: number;
  /** False: the attempt has only read. */
  hasAsked: boolean;
}

/** @throws the error itself if it is unexpected, which is a bug */
export function afterFailure(
  error: unknown,
  action: string,
  { tries, failingForMs, overdueForMs, hasAsked }: Tries,
  limits: RetryLimits,
): Next {
  if (error instanceof BusError) {
    return {
      kind: 'retry',
      afterMs: waitMs(tries, limits),
      code: reasonOf(error, 'failed'),
      countsAsTry: false,
      isAway: true,
    };
  }
  if (!(error instanceof KubeError) && !(error instanceof QuarantineError)) throw error;
  const budget = hasAsked && action === 'evict' && error.code === 'KUBE_TOO_MANY_REQUESTS';
  const code = budget ? DISRUPTION_BUDGET : reasonOf(error, 'failed');
  const isAway = (hasAsked ? AWAY : AWAY_FOR_READS).has(error.code) && error instanceof KubeError;
  const { budgetGiveUpAfterMs, giveUpAfterMs, outageGiveUpAfterMs } = limits;
  const isTooLong = isAway
    ? overdueForMs >= Math.max(giveUpAfterMs, outageGiveUpAfterMs)
    : failingForMs >= (budget ? budgetGiveUpAfterMs : giveUpAfterMs);
  if (tries >= MIN_TRIES && (PERMANENT.has(error.code) || isTooLong)) {
    const status = error instanceof KubeError ? error.status : 0;
    return { kind: 'give-up', code, reason: `given up after ${tries} tries: ${error.message}`, status };
  }
  // The facts are out of date: read them again at once.
  if (error.code === 'KUBE_CONFLICT' && tries === 1)
    return { kind: 'retry', afterMs: 0, code, countsAsTry: true, isAway };
  const asked = error instanceof KubeError ? (error.retryAfterMs ?? 0) : 0;
  return { kind: 'retry', afterMs: Math.max(asked, waitMs(tries, limits)), code, countsAsTry: true, isAway };
}

function waitMs(tries: number, { baseMs, maxMs }: RetryLimits): number {
  return Math.min(maxMs, baseMs * 2 ** Math.min(Math.max(tries - 1, 0), 20));
}
