/**
 * Awaiting a state of the world that announces itself by nothing (a namespace gone, a snapshot complete): asks again at a
 * steady, named interval until the answer is there, the time is up or the caller gives up. Never a fixed sleep; the
 * failure says what was last seen.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { LabError } from './errors.ts';

export interface UntilOptions {
  timeoutMs: number;
  /** Default 25 ms: a person does not see it and forty looks a second cost nothing. */
  everyMs?: number;
  signal?: AbortSignal;
}

/** What a probe answers: the value when it is there, else words for what is seen instead. */
export type Probe<T> = { value: T } | { seen: string };

/** @throws LabError LAB_NOT_READY with the last state, LAB_INTERRUPTED when the signal aborts */
export async function until<T>(
  what: string,
  probe: () => Promise<Probe<T>> | Probe<T>,
  options: UntilOptions,
): Promise<T> {
  const deadline = performance.now() + options.timeoutMs;
  for (;;) {
    if (options.signal?.aborted) throw new LabError('LAB_INTERRUPTED', `gave up waiting for ${what}`);
    const answer = await probe();
    if ('value' in answer) return answer.value;
    if (performance.now() >= deadline) {
      throw new LabError('LAB_NOT_READY', `${what}: not after ${options.timeoutMs} ms; last seen: ${answer.seen}`);
    }
    await delay(options.everyMs ?? 25, undefined, { signal: options.signal }).catch(() => undefined);
  }
}
