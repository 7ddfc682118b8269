/** Repeats a check of a command until it is true or its time has passed. */
import { pause } from '@bailiff/service/retry';
import type { CliIo } from './io.ts';

const POLL_MS = 250;

/** @returns whether `check` became true within `withinMs`. @throws the signal's reason when it aborts */
export async function pollUntil(io: CliIo, withinMs: number, check: () => Promise<boolean>): Promise<boolean> {
  const endMs = io.nowMs() + withinMs;
  for (;;) {
    if (await check()) return true;
    if (io.nowMs() >= endMs) return false;
    await pause(POLL_MS, io.signal);
    io.signal?.throwIfAborted();
  }
}
