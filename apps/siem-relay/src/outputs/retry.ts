/** Decides what follows a failed delivery: how long to wait, or that retrying does not help. Pure. */
import { backoffMs } from '@bailiff/service';
import { DeliveryError, type DeliveryErrorCode } from './output.ts';

/** First wait after a failure, doubled up to the last. */
export const BACKOFF = { baseMs: 200, maxMs: 60_000 } as const;
/** A receiver may ask for a longer wait, up to this. */
export const MAX_RETRY_AFTER_MS = 900_000;
/**
 * A receiver that refuses this many events in a row refuses all, such as a wrong URL does. Each
 * further refusal waits like a failure, so that one output does not fill the dead letters.
 */
export const MAX_REFUSALS_IN_A_ROW = 20;

/**
 * Full jitter: a random part of the exponential wait, so that many relays do not return at once.
 * @param failures in a row, from 1
 * @param random in [0, 1)
 */
export function retryDelayMs(failures: number, random: number, retryAfterMs: number | null = null): number {
  const asked = Math.min(retryAfterMs ?? 0, MAX_RETRY_AFTER_MS);
  return Math.round(asked + backoffMs(failures, BACKOFF) * random);
}

export type NextStep = 'retry' | 'split' | 'dead-letter';

/** @param events of the attempt @param refusals in a row before this one */
export function nextStep(error: unknown, events: number, refusals: number): { step: NextStep; waits: boolean } {
  const isRefused = error instanceof DeliveryError && error.code === 'OUTPUT_REFUSED';
  if (!isRefused) return { step: 'retry', waits: true };
  if (events > 1) return { step: 'split', waits: false };
  return { step: 'dead-letter', waits: refusals >= MAX_REFUSALS_IN_A_ROW };
}

/** Statuses of a receiver that is not ready for anyone, or not reached by this URL with this secret. */
const MISCONFIGURED: ReadonlySet<number> = new Set([401, 403, 404, 405, 407, 410, 415]);
const BUSY: ReadonlySet<number> = new Set([425, 429, 503]);

/** Code of an HTTP status; null for success. Redirects are not followed. */
export function codeOfStatus(status: number): DeliveryErrorCode | null {
  if (status >= 200 && status < 300) return null;
  if (MISCONFIGURED.has(status)) return 'OUTPUT_MISCONFIGURED';
  if (BUSY.has(status)) return 'OUTPUT_BUSY';
  if (status === 408) return 'OUTPUT_TIMEOUT';
  if (status >= 400 && status < 500) return 'OUTPUT_REFUSED';
  return status >= 500 ? 'OUTPUT_FAILED' : 'OUTPUT_MISCONFIGURED';
}

/** Milliseconds of a Retry-After header: seconds or an HTTP date; null if absent or invalid. */
export function retryAfterOf(header: string | undefined, nowMs: number): number | null {
  if (header === undefined) return null;
  if (/^\d{1,9}$/.test(header.trim())) return Number(header) * 1_000;
  const at = Date.parse(header);
  return Number.isNaN(at) ? null : Math.max(0, at - nowMs);
}
