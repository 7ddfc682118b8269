/**
 * Waiting until the bus has been set up: in a cluster everything starts at once, and the streams come with the set-up.
 *
 * Place in the path: connectService asks it after connectBus. Invariants: until then the check `topology` says what is missing and what makes it; what
 * time does not heal (rights, a wrong user) is thrown at once.
 */
import type { Bus } from '../connection/connect.ts';
import { BusError, toBusError } from '../connection/errors.ts';
import { isJetStreamOff, JETSTREAM_OFF, JETSTREAM_OFF_REMEDY } from '../connection/jetstream-health.ts';
import { backoffMs, pause } from '../connection/wait.ts';
import { streamInfo } from '../streams/direct.ts';
import { SETUP_REMEDY } from '../topology/topology.ts';

/** What waiting needs of a service. */
export interface WaitingService {
  signal: AbortSignal;
  /** Adds a readiness check. */
  health: { ready(name: string, check: () => true | string): void };
  /** Called when the service starts to wait, and again each time the reason changes. */
  onWait(what: 'the bus' | 'the set-up of the bus', error: BusError): void;
}

/** What time, or somebody who sets the bus up, may heal. */
const RETRIED = new Set(['BUS_NO_STREAM', 'BUS_TIMEOUT', 'BUS_UNREACHABLE']);

async function checkStream(bus: Bus, stream: string): Promise<void> {
  try {
    await streamInfo(bus, stream);
  } catch (cause) {
    const error = toBusError(cause, stream);
    if (RETRIED.has(error.code) && bus.connected && isJetStreamOff(bus)) {
      throw new BusError(error.code, `${JETSTREAM_OFF}: ${JETSTREAM_OFF_REMEDY}`, { cause });
    }
    if (error.code !== 'BUS_NO_STREAM') throw error;
    throw new BusError(error.code, `the bus has no stream ${stream}: ${SETUP_REMEDY}`, { cause });
  }
}

/** Resolves when all are there. @throws BusError that nothing heals; the signal's reason when it aborts first */
export async function waitForTopology(bus: Bus, streams: readonly string[], service: WaitingService): Promise<void> {
  let reason = 'not looked at yet';
  service.health.ready('topology', () => reason === '' || reason);
  for (let attempt = 0; reason !== ''; attempt += 1) {
    try {
      for (const stream of streams) await checkStream(bus, stream);
      reason = '';
    } catch (cause) {
      const error = toBusError(cause, 'the set-up of the bus');
      service.signal.throwIfAborted();
      if (!RETRIED.has(error.code)) throw error;
      if (error.message !== reason) service.onWait('the set-up of the bus', error);
      reason = error.message;
      await pause(backoffMs(attempt), service.signal);
    }
  }
}
