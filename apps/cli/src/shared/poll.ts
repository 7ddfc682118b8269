/** Repeats the reading of a command until it is what the command waits for, or its time has passed. */
import { pause } from '@bailiff/service/retry';
import type { CliIo } from './io.ts';

const POLL_MS = 250;

interface Waiting {
  withinMs: number;
  everyMs?: number;
}

/**
 * @returns the last value, also if it is not the wanted one. @throws the signal's reason when it
 * aborts
 */
export async function poll<T>(
  { nowMs, signal }: Pick<CliIo, 'nowMs'> & { signal?: AbortSignal },
  { withinMs, everyMs = POLL_MS }: Waiting,
  read: () => Promise<T>,
  isWanted: (value: T) => boolean,
): Promise<T> {
  const endMs = nowMs() + withinMs;
  for (;;) {
    const value = await read();
    if (isWanted(value) || nowMs() >= endMs) return value;
    await pause(everyMs, signal);
    signal?.throwIfAborted();
  }
}
