/**
 * Time as a dependency, so that windows, cooldowns and backoff are testable without waiting. Wall
 * time may step; durations use `monotonicMs`.
 */
import { setMaxListeners } from 'node:events';

/** Cancels a timer; a second call has no effect. */
export type Cancel = () => void;

export interface Clock {
  /** Wall time, microseconds since the epoch (fits a JavaScript integer until the year 2255). */
  nowMicros(): number;
  /** Wall time, milliseconds since the epoch. */
  nowMs(): number;
  /** Milliseconds from an arbitrary start; never steps back. */
  monotonicMs(): number;
  /** Calls `fn` once after `delayMs`. */
  setTimer(fn: () => void, delayMs: number): Cancel;
  /** Calls `fn` every `periodMs` until cancelled. */
  setRepeating(fn: () => void, periodMs: number): Cancel;
  /**
   * Resolves after `delayMs`, or at once when `signal` aborts; the caller checks the signal. Never
   * rejects.
   */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}

/** `sleep` on top of any `setTimer`. */
export function sleepWith(
  setTimer: (fn: () => void, delayMs: number) => Cancel,
  delayMs: number,
  signal?: AbortSignal,
): Promise<void> {
  if (signal?.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const finish = () => {
      cancel();
      signal?.removeEventListener('abort', finish);
      resolve();
    };
    const cancel = setTimer(finish, delayMs);
    // One signal ends all operations of an app, so many listeners are not a leak.
    if (signal) setMaxListeners(0, signal);
    signal?.addEventListener('abort', finish, { once: true });
  });
}

/** The system clock. */
export const systemClock: Clock = {
  nowMicros: () => Date.now() * 1000,
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  setTimer(fn, delayMs) {
    const timer = setTimeout(fn, delayMs);
    return () => clearTimeout(timer);
  },
  setRepeating(fn, periodMs) {
    const timer = setInterval(fn, periodMs);
    return () => clearInterval(timer);
  },
  sleep: (delayMs, signal) => sleepWith(systemClock.setTimer, delayMs, signal),
};
