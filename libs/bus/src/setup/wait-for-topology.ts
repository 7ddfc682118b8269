/**
 * Waits until the bus is set up. In a cluster all components start at once, and the setup Job
 * creates the streams.
 *
 * Until then the readiness check `topology` names what is missing and the remedy. Errors that time
 * does not heal (permissions, wrong user) are thrown at once.
 */

import { retry } from '@bailiff/service/retry';
import { busBackoffMs } from '../connection/backoff.ts';
import type { Bus } from '../connection/connect.ts';
import { BusError, isUnavailable, toBusError } from '../connection/errors.ts';
import { isJetStreamOff, JETSTREAM_OFF, JETSTREAM_OFF_REMEDY } from '../connection/jetstream-health.ts';
import { streamInfo } from '../streams/direct.ts';
import { SETUP_REMEDY } from '../topology/topology.ts';

/** What waiting needs of a service. */
export interface WaitingService {
  signal: AbortSignal;
  /** Adds a readiness check. */
  health: { ready(name: string, check: () => true | string): void };
  /** Called when the service starts to wait, and again each time the reason changes. */
  onWait(what: 'the bus' | 'the setup of the bus', error: BusError): void;
}

async function checkStream(bus: Bus, stream: string): Promise<void> {
  try {
    await streamInfo(bus, stream);
  } catch (cause) {
    const error = toBusError(cause, stream);
    if (isUnavailable(error) && bus.connected && isJetStreamOff(bus)) {
      throw new BusError(error.code, `${JETSTREAM_OFF}: ${JETSTREAM_OFF_REMEDY}`, { cause });
    }
    // One that is being restored is named, with its own remedy: set-up would create streams that the restore needs absent.
    if (error.code !== 'BUS_NO_STREAM' || error.message.startsWith(`${stream} is being restored`)) throw error;
    throw new BusError(error.code, `the bus has no stream ${stream}: ${SETUP_REMEDY}`, { cause });
  }
}

/**
 * Resolves when all streams exist. @throws BusError that time does not heal; the signal's reason
 * when it aborts first
 */
export async function waitForTopology(bus: Bus, streams: readonly string[], service: WaitingService): Promise<void> {
  let reason = 'not checked yet';
  service.health.ready('topology', () => reason === '' || reason);
  const check = async () => {
    for (const stream of streams) await checkStream(bus, stream);
  };
  await retry(check, {
    signal: service.signal,
    waitMs: (cause, failures) => {
      const error = toBusError(cause, 'the setup of the bus');
      service.signal.throwIfAborted();
      if (!isUnavailable(error)) throw error;
      if (error.message !== reason) service.onWait('the setup of the bus', error);
      reason = error.message;
      return busBackoffMs(failures - 1);
    },
  });
  reason = '';
}
