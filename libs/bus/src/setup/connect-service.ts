/**
 * Connects a service to the bus and waits for the streams that it needs.
 *
 * A collector and bus-auth work without streams and call connectBus instead. A service retries
 * everything that time or an operator may heal. Meanwhile it is not ready and reports each reason
 * once. libs/service implements `BusService`: the bus does not depend on the process frame.
 */
import { type CertificateEnd, watchCertificates } from '../connection/certificate.ts';
import { type Bus, type BusOptions, connectBus, isConnected, onLoginRefused } from '../connection/connect.ts';
import type { BusError } from '../connection/errors.ts';
import { isStoring } from '../connection/jetstream-health.ts';
import { type WaitingService, waitForTopology } from './wait-for-topology.ts';

/** What connecting needs of a service. */
export interface BusService extends WaitingService {
  /** Adds a step to the shutdown. */
  onStop(name: string, step: () => Promise<void>): void;
  /**
   * Called when the bus starts to reject the login, at start or later. Retries read the file again.
   */
  onLoginRefused(error: BusError): void;
  /** Where the metric about the certificates of the bus reads. */
  onCertificates?(read: () => readonly CertificateEnd[]): void;
  /** A reader found its stream recreated and reads it from its beginning. */
  onRecreated(stream: string): void;
}

/**
 * Connects without a time limit and resolves when the streams exist; a bucket's stream is
 * `KV_<bucket>`. The service's shutdown drains the bus.
 * @throws BusError that time does not heal (BUS_PERMISSION); the signal's reason when it aborts
 * first
 */
export async function connectService(
  service: BusService,
  options: Omit<BusOptions, 'signal' | 'waitForServer' | 'onRetry'>,
  streams: readonly string[],
): Promise<Bus> {
  let bus: Bus | null = null;
  let reason = '';
  service.health.ready('bus', () => {
    const connected = isConnected(bus ?? { connected: false, disconnectReason: reason });
    return connected === true && bus ? isStoring(bus) : connected;
  });
  const onRetry = (error: BusError) => {
    if (error.message === reason) return;
    reason = error.message;
    if (error.code === 'BUS_AUTHENTICATION') service.onLoginRefused(error);
    else service.onWait('the bus', error);
  };
  const connected = await connectBus({ ...options, signal: service.signal, waitForServer: true, onRetry });
  bus = connected;
  service.onStop('bus', () => connected.drain());
  service.onCertificates?.(watchCertificates(connected, options, service.signal));
  onLoginRefused(connected, (error) => service.onLoginRefused(error));
  connected.recreatedListeners.add((stream) => service.onRecreated(stream));
  connected.statusListeners.add((status) => {
    if (status.type === 'connected') reason = '';
    else if (status.type === 'unreachable') onRetry(status.error);
  });
  await waitForTopology(connected, streams, service);
  return connected;
}
