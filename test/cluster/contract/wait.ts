// Waiting for something to become true, with what was last seen in the failure.

import { setTimeout as sleep } from 'node:timers/promises';

/** Pause between looks. */
const intervalMs = 25;

/** Polls until `look` returns something truthy, and returns it. Throws with the last state after `timeoutMs`. */
export async function waitFor<T>(
  what: string,
  look: () => T | Promise<T>,
  timeoutMs = 30_000,
): Promise<NonNullable<T>> {
  const deadline = performance.now() + timeoutMs;
  let last: T;
  do {
    last = await look();
    if (last) return last as NonNullable<T>;
    await sleep(intervalMs);
  } while (performance.now() < deadline);
  throw new Error(`not within ${timeoutMs} ms: ${what}; last seen: ${JSON.stringify(last)}`);
}
