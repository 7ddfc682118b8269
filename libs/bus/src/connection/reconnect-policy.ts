/**
 * Corrects how the NATS client reconnects: reports why an attempt failed, and survives a clock that
 * steps back.
 *
 * connect.ts uses it. It patches private fields of the client, whose version is pinned exactly. If
 * a field is missing, it does nothing. test/bus/reconnect.test.ts detects that.
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

  /** @param onFailed called with the error of each failed reconnection attempt */
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
   * Call before each attempt. The client measures the wait since the last attempt by Date.now(): if
   * the clock is set back by an hour, it would wait an hour. A time in the future is replaced by
   * now.
   */
  correctTimes(): void {
    const nowMs = Date.now();
    for (const server of this.#internals.protocol?.servers?.servers ?? []) {
      if (server.lastConnect > nowMs) server.lastConnect = nowMs;
    }
  }
}
