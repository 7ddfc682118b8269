/**
 * Restart policy of the apps, like a kubelet's Always with backoff: an app that exits without a
 * stop by the lab is restarted, as on a node.
 *
 * Bounds: at most LAST_WAIT_MS between two starts; after STEADY_MS of running the backoff starts
 * again.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Child } from './children.ts';

/** Shorter than a kubelet's 10 s to 5 min, for interactive use. */
const FIRST_WAIT_MS = 250;
const LAST_WAIT_MS = 10_000;
const STEADY_MS = 30_000;

/** Wait before the restart after `failures` consecutive exits. */
export function restartWaitMs(failures: number): number {
  return Math.min(LAST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(failures - 1, 10));
}

export class Restarts {
  readonly #onProblem: (text: string) => void;
  readonly #end = new AbortController();
  readonly #starting = new Set<Promise<Child>>();

  constructor(onProblem: (text: string) => void) {
    this.#onProblem = onProblem;
  }

  /** Keeps an app running until it is stopped. */
  keep(child: Child, start: () => Promise<Child>): void {
    this.#follow(child, start).catch((error: Error) => this.#onProblem(`${child.name}: ${error.message}`));
  }

  async #follow(first: Child, start: () => Promise<Child>): Promise<void> {
    const { signal } = this.#end;
    let failures = 0;
    for (let child = first; ; ) {
      const beganMs = performance.now();
      const status = await child.ended;
      failures = performance.now() - beganMs < STEADY_MS ? failures + 1 : 1;
      if (child.wasStopped() || signal.aborted) return;
      const waitMs = restartWaitMs(failures);
      this.#onProblem(`${child.name} ended (${status}) and is restarted in ${waitMs} ms`);
      await delay(waitMs, undefined, { signal }).catch(() => undefined);
      if (child.wasStopped() || signal.aborted) return;
      const starting = start();
      this.#starting.add(starting);
      child = await starting.finally(() => this.#starting.delete(starting));
    }
  }

  /** Starts nothing further; resolves when no start is open. */
  async stop(): Promise<void> {
    this.#end.abort();
    await Promise.allSettled(this.#starting);
  }
}
