/**
 * Liveness and readiness: named checks that return true or a reason. A check that throws, or does
 * not return within 2 s, fails with that reason, so that a kubelet probe never hangs on a
 * dependency.
 */

import { within } from './retry.ts';

/** True if healthy, else the reason; false fails without a reason. */
export type Check = () => boolean | string | Promise<boolean | string>;

export interface HealthReport {
  ok: boolean;
  /** "ok" or the reason, by name of the check. */
  checks: Record<string, string>;
}

const CHECK_TIMEOUT_MS = 2_000;

export class Health {
  #live = new Map<string, Check>();
  #ready = new Map<string, Check>();
  #started = false;
  #stopping = false;
  #failed = false;

  /** Adds a readiness check, or replaces the one with the same name. */
  ready(name: string, check: Check): void {
    this.#ready.set(name, check);
  }
  /** Adds a liveness check. Only for failures that a restart fixes. */
  live(name: string, check: Check): void {
    this.#live.set(name, check);
  }
  /**
   * Marks the start as complete. Until then the process is not ready, because checks may still be
   * missing.
   */
  started(): void {
    this.#started = true;
  }
  /**
   * The process is not ready from now on, so that traffic and probes move away before the shutdown
   * steps.
   * @param failed it stops because of an error
   */
  stopping(failed = false): void {
    this.#stopping = true;
    this.#failed = failed;
  }
  /** Whether the process stops because of an error. */
  get failed(): boolean {
    return this.#failed;
  }
  checkLive(): Promise<HealthReport> {
    return report(this.#live);
  }
  async checkReady(): Promise<HealthReport> {
    if (this.#stopping) return { ok: false, checks: { shutdown: 'stopping' } };
    const { ok, checks } = await report(this.#ready);
    return this.#started ? { ok, checks } : { ok: false, checks: { ...checks, start: 'under way' } };
  }
}

async function report(checks: ReadonlyMap<string, Check>): Promise<HealthReport> {
  const results = await Promise.all([...checks].map(async ([name, check]) => [name, await answer(check)] as const));
  return { ok: results.every(([, text]) => text === 'ok'), checks: Object.fromEntries(results) };
}

async function answer(check: Check): Promise<string> {
  try {
    const value = await within(CHECK_TIMEOUT_MS, check(), () => `no result within ${CHECK_TIMEOUT_MS} ms`);
    return value === true ? 'ok' : value === false ? 'failed' : value;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
