/** Backoff of all retries on the bus. */
import { backoffMs } from '@bailiff/service/retry';

/** First wait after a failure, doubled up to the last. */
export const BUS_BACKOFF = { baseMs: 100, maxMs: 5_000 } as const;

/** @param attempt failures before this one, from 0 */
export const busBackoffMs = (attempt: number): number => backoffMs(attempt + 1, BUS_BACKOFF);
