/**
 * Retries an operation on the bus while time may heal its error.
 *
 * Used for dead letters and for reads that must not be skipped. Any other error (permission, message
 * too large) is thrown at once. Limits: one attempt in RETRY_MS; the signal ends it.
 */
import { retry } from '@bailiff/service/retry';
import type { Bus } from './connect.ts';
import { BusError, type BusErrorCode, isTransient } from './errors.ts';

const RETRY_MS = 1_000;
/** Not reported to `onWait`: the readiness check `bus` reports a lost connection. */
const UNREACHABLE: BusErrorCode = 'BUS_UNREACHABLE';

export interface RetryOptions {
  /** Resolves after the time, or at once when the signal aborts. */
  clock: { sleep(ms: number, signal: AbortSignal): Promise<void> };
  /** Called before each retry on a connected bus. */
  onWait(error: BusError): void;
  signal: AbortSignal;
}

/**
 * Runs `work` until it succeeds. `work` must be safe to repeat. @throws errors that time does not
 * heal; the signal's reason when it aborts first
 */
export function retryTransient<T>(
  bus: Pick<Bus, 'whenConnected'>,
  work: () => Promise<T>,
  { clock, onWait, signal }: RetryOptions,
): Promise<T> {
  return retry(work, {
    signal,
    waitMs: async (error) => {
      signal.throwIfAborted();
      if (!(error instanceof BusError) || !isTransient(error)) return null;
      if (error.code !== UNREACHABLE) {
        onWait(error);
        await clock.sleep(RETRY_MS, signal);
      }
      await bus.whenConnected(signal);
      return 0;
    },
  });
}
