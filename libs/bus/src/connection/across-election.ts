/**
 * Repeats a read, or another idempotent request, while servers elect a leader: meanwhile a request
 * about a stream gets no response.
 *
 * A server that hangs does not respond to a ping either, and ends the read at once. Limit: ATTEMPTS.
 */
import { pause, within } from '@bailiff/service/retry';
import type { Bus } from './connect.ts';
import { BusError } from './errors.ts';

const ATTEMPTS = 3;
const PAUSE_MS = 500;
const PING_MS = 1_000;

/** @param read may be repeated @throws its last error; the signal's reason when it aborts first */
export async function acrossElection<T>(bus: Bus, signal: AbortSignal | undefined, read: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await read();
    } catch (error) {
      const isLast = attempt === ATTEMPTS || !(error instanceof BusError) || error.code !== 'BUS_TIMEOUT';
      if (isLast || !(await responds(bus))) throw error;
      await pause(PAUSE_MS, signal);
      signal?.throwIfAborted();
    }
  }
}

async function responds({ nc }: Bus): Promise<boolean> {
  const ponged = nc.rtt().then(
    () => true,
    () => false,
  );
  return within(PING_MS, ponged, () => false);
}
