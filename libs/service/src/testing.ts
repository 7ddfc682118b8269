/**
 * Helpers for tests: `waitFor` instead of sleeps, temporary directories, a manual clock, and a captured
 * process environment for `runService`.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { inspect } from 'node:util';
import type { Clock } from './clock.ts';
import type { ServiceIo } from './process-io.ts';
import { type Cancel, pause } from './retry.ts';

export interface WaitForOptions {
  /** Named in the failure message. */
  what?: string;
  timeoutMs?: number;
  intervalMs?: number;
  /** Shown in the failure message with the last value. */
  state?: () => unknown;
}

type Falsy = false | null | undefined | 0 | '';

/**
 * Calls `probe` until it returns a truthy value, or one that passes `until`, and returns that
 * value. An exception counts as "not yet". @throws Error with the last value or error and `state()`
 * after `timeoutMs` (30 s, because processes start slowly under load)
 */
export async function waitFor<T>(
  probe: () => T | Promise<T>,
  options: WaitForOptions & { until: (value: T) => boolean },
): Promise<T>;
export async function waitFor<T>(probe: () => T | Promise<T>, options?: WaitForOptions): Promise<Exclude<T, Falsy>>;
export async function waitFor<T>(
  probe: () => T | Promise<T>,
  options: WaitForOptions & { until?: (value: T) => boolean } = {},
): Promise<T> {
  const { what = 'condition', timeoutMs = 30_000, intervalMs = 20, until = Boolean, state } = options;
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      const value = await probe();
      if (until(value)) return value;
      last = value;
    } catch (error) {
      last = error;
    }
    if (performance.now() >= deadline) break;
    await new Promise((resolve) => setTimeout(resolve, intervalMs));
  }
  const shown = inspect(last, { depth: 6, breakLength: 120 });
  const around = state ? `\nstate: ${inspect(await state(), { depth: 6, breakLength: 120 })}` : '';
  throw new Error(`waited ${timeoutMs} ms for ${what}; last: ${shown}${around}`);
}

/**
 * Waits as waitFor does. @returns the number of probes, as a bound for how soon a condition holds.
 * On a loaded or stalled machine the probes are delayed as much as the probed process, so their
 * number is more reliable than milliseconds.
 */
export async function looksFor(probe: () => unknown, options: WaitForOptions = {}): Promise<number> {
  let looks = 0;
  const look = () => {
    looks += 1;
    return probe();
  };
  await waitFor(look, options);
  return looks;
}

const directories: string[] = [];

/** A new directory, which tools/directories-setup.ts removes after the file of the test. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(path.join(tmpdir(), 'bailiff-test-'));
  directories.push(directory);
  return directory;
}

export function removeTemporaryDirectories(): void {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
}

/** A clock that moves only by `advance`. Timers fire by time, then in the order they were set. */
export class ManualClock implements Clock {
  #nowMs: number;
  #startMs: number;
  #stepMs = 0;
  #nextId = 0;
  #timers = new Map<number, { atMs: number; fn: () => void; periodMs: number | null }>();

  constructor(startMs = 1_700_000_000_000) {
    this.#nowMs = startMs;
    this.#startMs = startMs;
  }
  nowMs(): number {
    return this.#nowMs + this.#stepMs;
  }
  nowMicros(): number {
    return this.nowMs() * 1000;
  }
  monotonicMs(): number {
    return this.#nowMs - this.#startMs;
  }
  get pendingTimers(): number {
    return this.#timers.size;
  }
  setTimer(fn: () => void, delayMs: number): Cancel {
    return this.#add(fn, delayMs, null);
  }
  setRepeating(fn: () => void, periodMs: number): Cancel {
    return this.#add(fn, periodMs, periodMs);
  }
  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return pause(delayMs, signal, (fn, ms) => this.setTimer(fn, ms));
  }
  /** Steps the wall time only, like an operator or NTP. */
  step(ms: number): void {
    this.#stepMs += ms;
  }
  /** Advances time and fires due timers; lets promises settle between two timers. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    for (;;) {
      const due = [...this.#timers].filter(([, t]) => t.atMs <= untilMs).sort((a, b) => a[1].atMs - b[1].atMs)[0];
      if (!due) break;
      const [id, timer] = due;
      this.#nowMs = Math.max(this.#nowMs, timer.atMs);
      if (timer.periodMs === null) this.#timers.delete(id);
      else timer.atMs += timer.periodMs;
      timer.fn();
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#nowMs = untilMs;
    await new Promise((resolve) => setImmediate(resolve));
  }
  #add(fn: () => void, delayMs: number, periodMs: number | null): Cancel {
    const id = this.#nextId++;
    this.#timers.set(id, { atMs: this.#nowMs + Math.max(0, delayMs), fn, periodMs });
    return () => this.#timers.delete(id);
  }
}

/** Environment for `runService` that a test can inspect and send signals to. */
export function captureIo(env: Record<string, string> = {}) {
  let out = '';
  let err = '';
  let log = '';
  const listeners = new Set<(signal: NodeJS.Signals) => void>();
  const io: ServiceIo = {
    env,
    stdout: (text) => {
      out += text;
    },
    stderr: (text) => {
      err += text;
    },
    logDestination: {
      write: (text: string) => {
        log += text;
      },
    },
    onSignal(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  return {
    io,
    stdout: () => out,
    stderr: () => err,
    /** Log output as written. */
    logText: () => log,
    logLines: () =>
      log
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Record<string, unknown>),
    listening: () => listeners.size > 0,
    signal: (name: NodeJS.Signals = 'SIGTERM') => {
      for (const listener of listeners) listener(name);
    },
  };
}
