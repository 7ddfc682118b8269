/**
 * Polls for a state without notification (a namespace is gone, a snapshot is complete) at a named
 * interval, until the state is reached, the time is up or the caller aborts. The error contains the
 * last observed state.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { LabError } from './errors.ts';

export interface UntilOptions {
  timeoutMs: number;
  /** Default 25 ms: unnoticeable, and forty checks per second are cheap. */
  everyMs?: number;
  signal?: AbortSignal;
}

/** Result of a probe: the value, or a text that describes the present state. */
export type Probe<T> = { value: T } | { seen: string };

/** @throws LabError LAB_NOT_READY with the last state, LAB_INTERRUPTED if the signal aborts */
export async function until<T>(
  what: string,
  probe: () => Promise<Probe<T>> | Probe<T>,
  options: UntilOptions,
): Promise<T> {
  const deadline = performance.now() + options.timeoutMs;
  for (;;) {
    if (options.signal?.aborted) throw new LabError('LAB_INTERRUPTED', `stopped waiting for ${what}`);
    const result = await probe();
    if ('value' in result) return result.value;
    if (performance.now() >= deadline) {
      throw new LabError('LAB_NOT_READY', `${what}: not within ${options.timeoutMs} ms; last state: ${result.seen}`);
    }
    await delay(options.everyMs ?? 25, undefined, { signal: options.signal }).catch(() => undefined);
  }
}
