/**
 * Copies of messages to subjects that no stream of ours takes: plain publish, held back by a round trip to the server now and then.
 *
 * Place in the path: `bailiff replay --to`. Nobody acknowledges such a message, so it is as sure as the connection: a connection that breaks is an
 * error of the next call, and so is a refusal by the server, which comes late. Bounds: BATCH messages on their way at once.
 */
import { headers as newHeaders } from '@nats-io/nats-core';
import type { Bus, BusStatus } from '../connection/connect.ts';
import { BusError, toBusError } from '../connection/errors.ts';

/** Between two round trips: enough to hide their time, few enough that a refusal is met soon. */
const BATCH = 256;

export class CopyPublisher {
  readonly #bus: Bus;
  #sinceFlush = 0;
  #failure: BusError | null = null;
  readonly #listener = (status: BusStatus): void => {
    if (status.type === 'error') this.#failure ??= status.error;
    else if (status.type !== 'connected') this.#failure ??= new BusError('BUS_UNREACHABLE', 'the connection broke');
  };

  /** Whoever makes it closes it. */
  constructor(bus: Bus) {
    this.#bus = bus;
    bus.statusListeners.add(this.#listener);
  }

  /** Sends one; a promise where it waits for the server. @throws BusError BUS_PERMISSION, BUS_UNREACHABLE, BUS_TOO_LARGE */
  publish(subject: string, data: Uint8Array, fields: Readonly<Record<string, string>>): void | Promise<void> {
    if (this.#failure) throw this.#failure;
    const headers = newHeaders();
    for (const [name, text] of Object.entries(fields)) headers.set(name, text);
    try {
      this.#bus.nc.publish(subject, data, { headers });
    } catch (cause) {
      throw toBusError(cause, subject);
    }
    this.#sinceFlush += 1;
    if (this.#sinceFlush >= BATCH) return this.flush();
  }

  /** Resolves when the server has taken all that was sent. @throws as publish */
  async flush(): Promise<void> {
    this.#sinceFlush = 0;
    try {
      await this.#bus.nc.flush();
      // A refusal comes before the answer to the first, and is told before the answer to the second.
      await this.#bus.nc.flush();
    } catch (cause) {
      throw this.#failure ?? toBusError(cause, 'flush');
    }
    if (this.#failure) throw this.#failure;
  }

  close(): void {
    this.#bus.statusListeners.delete(this.#listener);
  }
}
