/**
 * Publishes copies of messages to subjects that no Bailiff stream captures (`bailiff replay --to`).
 *
 * Such messages get no ack. A lost connection is an error of the next call, and so is a refusal,
 * which arrives late. A round trip after each BATCH messages limits what is in flight.
 */
import { headers as newHeaders } from '@nats-io/nats-core';
import type { Bus, BusStatus } from '../connection/connect.ts';
import { BusError, toBusError } from '../connection/errors.ts';

/**
 * Messages between two round trips: enough to hide the latency, few enough to notice a refusal
 * soon.
 */
const BATCH = 256;

export class CopyPublisher {
  readonly #bus: Bus;
  #sinceFlush = 0;
  #failure: BusError | null = null;
  readonly #listener = (status: BusStatus): void => {
    if (status.type === 'error') this.#failure ??= status.error;
    else if (status.type !== 'connected') this.#failure ??= new BusError('BUS_UNREACHABLE', 'the connection broke');
  };

  /** The caller closes it. */
  constructor(bus: Bus) {
    this.#bus = bus;
    bus.statusListeners.add(this.#listener);
  }

  /**
   * Sends one message. Returns a promise when it has to wait for the server. @throws BusError
   * BUS_PERMISSION, BUS_UNREACHABLE, BUS_TOO_LARGE
   */
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

  /** Resolves when the server has received everything. @throws as publish */
  async flush(): Promise<void> {
    this.#sinceFlush = 0;
    try {
      await this.#bus.nc.flush();
      // A refusal arrives before the first pong and is reported before the second.
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
