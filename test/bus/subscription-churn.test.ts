// Subscriptions without pause. nats-server delivers a message under the lock of each receiving connection, and a
// connection that subscribes holds its lock nearly all the time, so the publisher waits. With the permitted
// connections it is slow; the control has as many as before, and hardly stores anything.
import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { ensureTopology, MAX_CONNECTIONS, MAX_SUBSCRIPTIONS } from '@bailiff/bus';
import { type StartNatsOptions, startNats } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';

const MANY = 16;
const EVENTS = 1_000;
/** Times what storing takes beside the permitted connections. The control has stored none by then. */
const TIMES = 2;

async function churn(port: number): Promise<Socket> {
  const socket = connectTcp(port, '127.0.0.1').on('error', () => undefined);
  await once(socket, 'data');
  const login = { verbose: false, headers: true, user: 'siem-reader', pass: 'password-of-siem-reader' };
  socket.write(`CONNECT ${JSON.stringify(login)}\r\nPING\r\n`);
  await once(socket, 'data');
  // Each ends by itself after a message.
  const most = MAX_SUBSCRIPTIONS.SIEM as number;
  const lines = Array.from(
    { length: 800 },
    (_, n) => `SUB bailiff.v1.siem.> ${n % most}\r\nUNSUB ${n % most} 1\r\n`,
  ).join('');
  const subscribe = () => {
    while (!socket.destroyed && socket.write(lines));
  };
  socket.on('data', () => undefined).on('drain', subscribe);
  subscribe();
  // The server has read some.
  await once(socket, 'drain');
  return socket;
}

/** Stores events as siem-relay does. @returns how many are stored, and a function that ends */
async function begin(connections: number, options: StartNatsOptions = {}) {
  const nats = await startNats(options);
  await ensureTopology(await nats.connect('admin'));
  const relay = await nats.connect('siem-relay');
  const sockets = await Promise.all(Array.from({ length: connections }, () => churn(nats.port)));
  const beginMs = performance.now();
  let stored = 0;
  for (let event = 0; event < EVENTS; event += 1) {
    relay.nc.request('bailiff.v1.siem.ocsf.network-activity.shop', '{}', { timeout: 120_000 }).then(
      () => {
        stored += 1;
      },
      () => undefined,
    );
  }
  return {
    stored: () => stored,
    elapsedMs: () => performance.now() - beginMs,
    isOpen: () => sockets.every(({ destroyed }) => !destroyed),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await nats.stop();
    },
  };
}

test('subscriptions - connectors that subscribe without pause do not stop the events, unless they have more connections', async () => {
  let tookMs = 0;
  {
    await using guarded = await begin(MAX_CONNECTIONS.SIEM as number);
    await waitFor(() => guarded.stored() === EVENTS, { what: 'all events', timeoutMs: 60_000, state: guarded.stored });
    expect(guarded.isOpen()).toBe(true);
    tookMs = guarded.elapsedMs();
  }
  await using control = await begin(MANY, { without: /, max_connections: \d+/g });
  const isOver = () => control.stored() === EVENTS || control.elapsedMs() > TIMES * tookMs;
  await waitFor(isOver, { what: 'twice the time', timeoutMs: 60_000 });
  expect(control.stored()).toBeLessThan(EVENTS);
}, 180_000);
