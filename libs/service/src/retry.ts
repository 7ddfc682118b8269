/**
 * Backoff, interruptible pauses and abort handlers, for apps and libraries. Imports no other file,
 * so that a library that needs only this (`@bailiff/service/retry`) loads nothing else.
 */
import { setMaxListeners } from 'node:events';

/** Node fires a longer timer at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export interface BackoffOptions {
  baseMs: number;
  maxMs: number;
}

/**
 * Exponential backoff with a cap: the wait after `failures` failures in a row, from 1. Pure.
 * @param random in [0, 1): jitter in the upper half; without it the full wait
 * @param atLeastMs requested by the server (Retry-After)
 */
export function backoffMs(
  failures: number,
  { baseMs, maxMs }: BackoffOptions,
  random = 1,
  atLeastMs: number | null = null,
): number {
  const full = Math.min(maxMs, baseMs * 2 ** Math.min(failures - 1, 30));
  return Math.max(atLeastMs ?? 0, full / 2 + (full / 2) * random);
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

/**
 * A signal that aborts after `timeoutMs`, with a TimeoutError, or with `signal`. Until it is disposed of, it holds its
 * timer: Node.js 20 may collect an AbortSignal.timeout() of which AbortSignal.any() alone knows, so that it never fires.
 */
export function timeLimit(timeoutMs: number, signal?: AbortSignal): { signal: AbortSignal } & Disposable {
  const limit = new AbortController();
  if (signal?.aborted) limit.abort(signal.reason);
  const cancel = setNodeTimer(
    () => limit.abort(new DOMException(`no end within ${timeoutMs} ms`, 'TimeoutError')),
    timeoutMs,
  );
  const forget = onAbort(signal, () => limit.abort(signal?.reason));
  return {
    signal: limit.signal,
    [Symbol.dispose]: () => {
      cancel();
      forget();
    },
  };
}

/** Cancels a timer; a second call has no effect. */
export type Cancel = () => void;

/**
 * Resolves after `delayMs`, or at once when `signal` aborts; the caller checks the signal. Never
 * rejects.
 */
export function pause(
  delayMs: number,
  signal?: AbortSignal,
  setTimer: (fn: () => void, delayMs: number) => Cancel = setNodeTimer,
): Promise<void> {
  if (signal?.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const finish = () => {
      cancel();
      forget();
      resolve();
    };
    const cancel = setTimer(finish, delayMs);
    const forget = onAbort(signal, finish);
  });
}

/** Resolves as `work`, or as `late` after `timeoutMs`, which may throw. The work itself goes on. */
export async function within<T>(timeoutMs: number, work: T | Promise<T>, late: () => T): Promise<T> {
  let cancel: Cancel = () => {};
  const timeout = new Promise<void>((resolve) => {
    cancel = setNodeTimer(resolve, timeoutMs);
  });
  try {
    return await Promise.race([work, timeout.then(late)]);
  } finally {
    cancel();
  }
}

export interface RetryOptions {
  /**
   * The wait before the next attempt, after `failures` failures in a row, from 1; null: the error is
   * thrown. May throw another error, or wait itself and return 0.
   */
  waitMs(error: unknown, failures: number): number | null | Promise<number | null>;
  /** Ends the waits and the attempts: its reason is thrown. */
  signal?: AbortSignal | undefined;
}

/** Repeats `work`, which must be safe to repeat, until it succeeds or `waitMs` gives up. */
export async function retry<T>(work: () => Promise<T>, { signal, waitMs }: RetryOptions): Promise<T> {
  for (let failures = 1; ; failures += 1) {
    signal?.throwIfAborted();
    try {
      return await work();
    } catch (error) {
      const ms = await waitMs(error, failures);
      if (ms === null) throw error;
      if (ms > 0) await pause(ms, signal);
    }
  }
}

/** Calls `fn` once after `delayMs`. */
export function setNodeTimer(fn: () => void, delayMs: number): Cancel {
  const timer = setTimeout(fn, Math.min(delayMs, LONGEST_TIMER_MS));
  return () => clearTimeout(timer);
}
