/**
 * Waiting until the bus takes or answers what cannot be left out: one place for what every app does when the bus is full, off or away.
 *
 * Place in the path: dead letters of correlator and responder, schemas that the responder asks for. Invariants: what room, a set-up, a restart of
 * the server or a connection heals is tried again and never dropped, and while the bus is there but does not take it, each try is told; what
 * time does not heal (rights, a message too large) is thrown at once. Bounds: one try in RETRY_MS; the signal ends it.
 */
import type { Bus } from './connect.ts';
import { BusError, type BusErrorCode } from './errors.ts';

const RETRY_MS = 1_000;
/** What is not told: that there is no connection is said by readiness. */
const UNREACHABLE: BusErrorCode = 'BUS_UNREACHABLE';
const RETRIED: ReadonlySet<BusErrorCode> = new Set(['BUS_FULL', 'BUS_NO_STREAM', 'BUS_TIMEOUT', UNREACHABLE]);

export interface RetryOptions {
  /** Resolves after the time, or at once when the signal aborts. */
  clock: { sleep(ms: number, signal: AbortSignal): Promise<void> };
  /** Tried again, because the bus has no room, no such stream or no answer. Called for each try. */
  onWait(error: BusError): void;
  signal: AbortSignal;
}

/** Does it until it is done. `work` must be safe to repeat. @throws what time does not heal; the signal's reason when it aborts first */
export async function retryTransient<T>(
  bus: Pick<Bus, 'whenConnected'>,
  work: () => Promise<T>,
  { clock, onWait, signal }: RetryOptions,
): Promise<T> {
  for (;;) {
    signal.throwIfAborted();
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof BusError) || !RETRIED.has(error.code)) throw error;
      if (error.code !== UNREACHABLE) {
        onWait(error);
        await clock.sleep(RETRY_MS, signal);
      }
      await bus.whenConnected(signal);
    }
  }
}
