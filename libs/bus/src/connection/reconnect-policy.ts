/**
 * What the client does when its connection broke, and what it keeps to itself: why an attempt failed, and that it waits by the wall clock.
 *
 * Place in the path: connect.ts asks for both. It reaches into the client, whose version is pinned exactly; without these parts it would do
 * nothing. test/bus/reconnect.test.ts holds them.
 */
import type { NatsConnection } from '@nats-io/nats-core';

interface ClientInternals {
  protocol?: {
    dial?: (server: unknown) => Promise<void>;
    servers?: { servers?: { lastConnect: number }[] };
  };
}

export class ReconnectPolicy {
  #internals: ClientInternals = {};

  /** @param onFailed called with why an attempt to connect again came to nothing */
  watch(nc: NatsConnection, onFailed: (error: unknown) => void): void {
    this.#internals = nc as unknown as ClientInternals;
    const { protocol } = this.#internals;
    const dial = protocol?.dial?.bind(protocol);
    if (!protocol || !dial) return;
    protocol.dial = (server) =>
      dial(server).catch((error: unknown) => {
        onFailed(error);
        throw error;
      });
  }

  /**
   * To be called before each attempt. The client waits until the time of the last one is long enough ago by Date.now(): after a clock that
   * was set back by an hour, an hour. A last attempt that is yet to come was now.
   */
  correctTimes(): void {
    const nowMs = Date.now();
    for (const server of this.#internals.protocol?.servers?.servers ?? []) {
      if (server.lastConnect > nowMs) server.lastConnect = nowMs;
    }
  }
}
