/**
 * How a service comes onto the bus: connected, and everything there that it works on.
 *
 * Place in the path: services begin here; a collector and bus-auth, which work without what others set up, take connectBus. Invariants: a
 * service waits for whatever time or somebody else may heal, is not ready meanwhile, and says what it waits for, once for each reason; it
 * never waits without a word. What the service has for this comes as `BusService`: the bus knows no process frame.
 */
import { type Bus, type BusOptions, connectBus, isConnected, onLoginRefused } from '../connection/connect.ts';
import type { BusError } from '../connection/errors.ts';
import { isStoring } from '../connection/jetstream-health.ts';
import { type WaitingService, waitForTopology } from './wait-for-topology.ts';

/** What connecting needs of a service. */
export interface BusService extends WaitingService {
  /** Adds a step to the shutdown. */
  onStop(name: string, step: () => Promise<void>): void;
  /** Called when the bus starts to reject the login, at start or later. The client retries with the current content of the file. */
  onLoginRefused(error: BusError): void;
}

/**
 * Connects, however long that takes, and resolves when the streams are there; a bucket's is `KV_<bucket>`. The service's way down drains the bus.
 * @throws BusError that nothing heals (BUS_PERMISSION); the signal's reason when it aborts first
 */
export async function connectService(
  service: BusService,
  options: Omit<BusOptions, 'signal' | 'waitForServer' | 'onRetry'>,
  streams: readonly string[],
): Promise<Bus> {
  let bus: Bus | null = null;
  service.health.ready('bus', () => {
    const connected = isConnected(bus);
    return connected === true && bus ? isStoring(bus) : connected;
  });
  let reason = '';
  const onRetry = (error: BusError) => {
    if (error.message === reason) return;
    reason = error.message;
    if (error.code === 'BUS_AUTHENTICATION') service.onLoginRefused(error);
    else service.onWait('the bus', error);
  };
  const connected = await connectBus({ ...options, signal: service.signal, waitForServer: true, onRetry });
  bus = connected;
  service.onStop('bus', () => connected.drain());
  onLoginRefused(connected, (error) => service.onLoginRefused(error));
  connected.statusListeners.add((status) => {
    if (status.type === 'connected') reason = '';
    else if (status.type === 'unreachable') onRetry(status.error);
  });
  await waitForTopology(connected, streams, service);
  return connected;
}
