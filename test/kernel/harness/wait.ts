/** Waiting for a condition, with the last state in the failure; never for a time. */
import { setTimeout as delay } from 'node:timers/promises';

const POLL_MS = 5;

/** Polls `read` until `done`; fails with what was read last. */
export async function waitFor<T>(
  what: string,
  read: () => T | Promise<T>,
  done: (state: T) => boolean,
  timeoutMs = 30_000,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const state = await read();
    if (done(state)) return state;
    if (performance.now() > deadline) {
      const text = JSON.stringify(state, (_, value) => (typeof value === 'bigint' ? `${value}n` : value));
      throw new Error(`${what}: not within ${timeoutMs} ms; last state ${text?.slice(0, 2000)}`);
    }
    await delay(POLL_MS);
  }
}
