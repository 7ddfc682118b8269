/**
 * Time as a dependency, so that windows, cooldowns and backoff are testable without waiting. Wall
 * time may step; durations use `monotonicMs`.
 */
import { type Cancel, pause, setNodeTimer } from './retry.ts';

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
  /** See `pause` of retry.ts. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}

/** The system clock. */
export const systemClock: Clock = {
  nowMicros: () => Date.now() * 1000,
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  setTimer: setNodeTimer,
  setRepeating(fn, periodMs) {
    const timer = setInterval(fn, periodMs);
    return () => clearInterval(timer);
  },
  sleep: pause,
};
