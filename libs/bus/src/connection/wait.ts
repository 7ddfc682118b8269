/** Backoff, pauses and abort handlers. */
import { setMaxListeners } from 'node:events';

/** First wait after a refusal, doubled up to BACKOFF_LAST_MS. */
export const BACKOFF_FIRST_MS = 100;
const BACKOFF_LAST_MS = 5_000;

export function backoffMs(attempt: number): number {
  return Math.min(BACKOFF_LAST_MS, BACKOFF_FIRST_MS * 2 ** Math.min(attempt, 10));
}

/**
 * Runs a callback once when a signal aborts. Returns a function that removes it. The signal must
 * not be aborted yet.
 */
export function onAbort(signal: AbortSignal | undefined, run: () => void): () => void {
  if (!signal) return () => undefined;
  // One signal ends all operations of an app, so many listeners are not a leak.
  setMaxListeners(0, signal);
  signal.addEventListener('abort', run, { once: true });
  return () => signal.removeEventListener('abort', run);
}

/** Waits. Rejects with the signal's reason when it aborts first. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return Promise.reject(signal.reason as Error);
  return new Promise((resolve, reject) => {
    const forget = onAbort(signal, () => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    });
    const timer = setTimeout(() => {
      forget();
      resolve();
    }, ms);
  });
}
