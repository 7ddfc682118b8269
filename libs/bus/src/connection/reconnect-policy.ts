/**
 * Lets a connection survive a clock that steps back: the client measures the wait since the last
 * attempt by Date.now(), and after an hour's step it would wait an hour.
 *
 * connect.ts calls it before each attempt. It corrects a private field of the client, whose version
 * is pinned exactly. If the field is missing, it does nothing. test/bus/reconnect.test.ts detects that.
 */
import type { NatsConnection } from '@nats-io/nats-core';

interface ClientInternals {
  protocol?: { servers?: { servers?: { lastConnect: number }[] } };
}

/** Replaces times in the future by now. */
export function correctTimes(nc: NatsConnection): void {
  const nowMs = Date.now();
  for (const server of (nc as unknown as ClientInternals).protocol?.servers?.servers ?? []) {
    if (server.lastConnect > nowMs) server.lastConnect = nowMs;
  }
}
