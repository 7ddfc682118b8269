/** Exponential backoff with a cap and jitter in its upper half. Pure. */

export interface BackoffOptions {
  baseMs: number;
  maxMs: number;
}

/** Values of the reflector in client-go. */
export const DEFAULT_BACKOFF: BackoffOptions = { baseMs: 500, maxMs: 30_000 };

/**
 * Wait before attempt `attempt` + 1.
 * @param attempt failures so far, from 1
 * @param random in [0, 1)
 * @param atLeastMs requested by the server (Retry-After)
 */
export function backoffMs(
  attempt: number,
  { baseMs, maxMs }: BackoffOptions,
  random: number,
  atLeastMs: number | null = null,
): number {
  const full = Math.min(maxMs, baseMs * 2 ** Math.min(attempt - 1, 30));
  return Math.max(atLeastMs ?? 0, full / 2 + (full / 2) * random);
}

/** Resolves after `delayMs` or when the signal aborts; never rejects. */
export function pause(delayMs: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const finish = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', finish);
      resolve();
    };
    const timer = setTimeout(finish, delayMs);
    signal?.addEventListener('abort', finish, { once: true });
  });
}
