// What weak clients can make a server hold in memory: responses that are not read, requests without
// a response, subscriptions of many tokens, connections, and the list of closed connections. The controls
// have the defaults of nats-server.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect as connectTcp, type Socket } from 'node:net';
import {
  CONNECTION_LIMITS,
  ensureTopology,
  MAX_CLOSED_CLIENTS,
  MAX_CONNECTIONS,
  MAX_PENDING_BYTES,
  MAX_SUBSCRIPTION_TOKENS,
  RESPONSE_MS,
} from '@bailiff/bus';
import { freePort, type StartNatsOptions, startNats, type TestNats } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { RawNats } from '../support/raw-nats.ts';

const MIB = 1024 ** 2;
const LIST = '$KV.bailiff_pods.node-a';
const VALUE_BYTES = MIB / 2;
const READS = 120;
const FAILED_LOGINS = 100;
const ACKS = 50;
/** A control line has 4 kB. */
const TOKENS = 1_900;
const WATCHED = 'bailiff.v1.push.bailiff_config';

/** A server with a monitoring port. */
async function start(options: StartNatsOptions = {}) {
  const monitorPort = await freePort();
  const nats = await startNats({ monitorPort, ...options });
  await ensureTopology(await nats.connect('admin'));
  return {
    nats,
    monitored: async (path: string) => (await fetch(`http://127.0.0.1:${monitorPort}${path}`)).text(),
    [Symbol.asyncDispose]: () => nats.stop(),
  };
}

const rawUser = ({ port }: TestNats, user: string) => RawNats.connect({ port, user, password: `password-of-${user}` });

async function openSocket(port: number, first: string): Promise<Socket> {
  const socket = connectTcp(port, '127.0.0.1');
  socket.on('error', () => undefined);
  await once(socket, 'data');
  socket.write(first);
  return socket;
}

/** Requests the largest pod list of a node many times, and reads nothing. @returns unsent bytes, and whether the server closed the connection */
async function readNothing(options: StartNatsOptions) {
  await using server = await start(options);
  const { nats, monitored } = server;
  await using writer = await rawUser(nats, 'ipam-sync');
  await writer.store({ subject: LIST, body: Buffer.alloc(VALUE_BYTES, 'x') });
  const { jsm } = await nats.connect('admin');
  await waitFor(async () => (await jsm.streams.info('LATEST_bailiff_pods')).state.messages === 1);
  const login = { headers: true, user: 'collector-node-a', pass: 'password-of-collector-node-a', name: 'slow' };
  const socket = await openSocket(nats.port, `CONNECT ${JSON.stringify(login)}\r\nSUB _INBOX_collector_node-a.x 1\r\n`);
  socket.pause();
  socket.write(`PUB $JS.API.DIRECT.GET.LATEST_bailiff_pods.${LIST} _INBOX_collector_node-a.x 0\r\n\r\n`.repeat(READS));
  let result = { pending: 0, isClosed: false };
  await waitFor(
    async () => {
      const { connections } = JSON.parse(await monitored('/connz')) as {
        connections: { name?: string; pending_bytes: number }[];
      };
      const slow = connections.find(({ name }) => name === 'slow');
      result = { pending: Math.max(result.pending, slow?.pending_bytes ?? 0), isClosed: !slow };
      return result.pending > MAX_PENDING_BYTES || nats.log.includes('MaxPending of');
    },
    { what: 'the server to hold the responses, or to end the connection', state: () => result },
  );
  socket.destroy();
  return { ...result, log: nats.log };
}

test('a connection that does not read is closed before it holds much memory', async () => {
  const { pending, log } = await readNothing({});
  expect(pending).toBeLessThanOrEqual(MAX_PENDING_BYTES);
  expect(log).toContain(`MaxPending of ${MAX_PENDING_BYTES} Exceeded`);
});

test('control: with the default, the server holds more than that', async () => {
  const { pending, isClosed } = await readNothing({ without: /^max_pending: .*$/gm });
  expect(pending).toBeGreaterThan(MAX_PENDING_BYTES);
  expect(isClosed).toBe(false);
});

/** Sends acknowledgements that get no response. @returns how many the server remembers */
async function acknowledgeNothing(options: StartNatsOptions) {
  const server = await start(options);
  const reader = await rawUser(server.nats, 'siem-reader');
  for (let index = 0; index < ACKS; index += 1) {
    reader.publish({ subject: '$JS.ACK.SIEM.siem-ocsf.1.0.0.1.0', reply: `_INBOX_siem-reader.${index}`, body: '+WPI' });
  }
  await reader.flush();
  const waiting = async () => (await server.monitored('/accountz?acc=BAILIFF')).split('"_R_').length - 1;
  return {
    waiting,
    async [Symbol.asyncDispose]() {
      await reader[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

test('a request without a response is forgotten soon', async () => {
  await using sent = await acknowledgeNothing({});
  await using control = await acknowledgeNothing({ without: /, response_threshold: "5000ms"/g });
  const before = await sent.waiting();
  expect(before).toBeGreaterThanOrEqual(ACKS);
  await waitFor(async () => (await sent.waiting()) <= before - ACKS, {
    what: 'the server to forget the requests',
    timeoutMs: 4 * RESPONSE_MS,
    intervalMs: 250,
    state: sent.waiting,
  });
  expect(await control.waiting(), 'control: with the default, they are kept').toBeGreaterThanOrEqual(ACKS);
});

const memoryMib = ({ pid }: TestNats) =>
  Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;

/** One connection of a node with its largest number of subscriptions. @returns what the server then has more, in MiB */
async function subscribeDeep(options: StartNatsOptions): Promise<number> {
  await using server = await start(options);
  const { nats } = server;
  await using raw = await RawNats.connect({
    port: nats.port,
    user: 'push-node-a',
    password: 'password-of-collector-node-a',
  });
  const before = memoryMib(nats);
  for (let index = 1; index < CONNECTION_LIMITS.maxSubscriptions; index += 1) {
    raw.write(`SUB ${WATCHED}.k${index}${'.a'.repeat(TOKENS)} s${index}\r\n`);
  }
  await raw.flush();
  return memoryMib(nats) - before;
}

test('subscriptions of many tokens are refused, so that they take no memory', async () => {
  expect(await subscribeDeep({})).toBeLessThan(32);
  expect(await subscribeDeep({ without: /^max_subscription_tokens: .*$/gm }), 'control').toBeGreaterThan(100);
});

test('a subscription of as many tokens as allowed gets its messages, one of more is refused', async () => {
  await using server = await start();
  const admin = await server.nats.connect('admin');
  const most = `$KV.bailiff_config${'.a'.repeat(MAX_SUBSCRIPTION_TOKENS - WATCHED.split('.').length)}`;
  const pushed = (key: string) => key.replace('$KV', 'bailiff.v1.push');
  await using raw = await RawNats.connect({
    port: server.nats.port,
    user: 'push-node-a',
    password: 'password-of-collector-node-a',
  });
  raw.write(`SUB ${pushed(most)} most\r\nSUB ${pushed(most)}.a more\r\n`);
  await raw.flush();
  expect(raw.received).toContain(`"${pushed(most)}.a", too many tokens`);
  await admin.js.publish(most, 'a value');
  await waitFor(() => raw.received.includes(`MSG ${pushed(most)} most `), { state: () => raw.received.slice(-500) });
});

/** The list of closed connections after failed logins with long names. */
async function closedAfterFailures(options: StartNatsOptions): Promise<number> {
  await using server = await start(options);
  const login = JSON.stringify({ user: 'unknown', pass: '', name: '<'.repeat(3_500) });
  for (let index = 0; index < FAILED_LOGINS; index += 1) {
    const socket = await openSocket(server.nats.port, `CONNECT ${login}\r\n`);
    socket.resume();
    await once(socket, 'close');
  }
  return (await server.monitored('/connz?state=closed&limit=10000')).length;
}

test('the list of closed connections stays short when logins fail', async () => {
  // JSON writes "<" as six bytes.
  const entry = 6 * 3_500;
  expect(await closedAfterFailures({})).toBeLessThan((MAX_CLOSED_CLIENTS + 1) * (entry + 2_048));
  expect(await closedAfterFailures({ without: /^max_closed_clients: .*$/gm })).toBeGreaterThan(FAILED_LOGINS * entry);
});

test.each([
  ['reader', MAX_CONNECTIONS.READERS as number],
  ['siem-reader', MAX_CONNECTIONS.SIEM as number],
  ['cli', MAX_CONNECTIONS.OPERATORS as number],
] as const)('%s has a limited number of connections, and the core is not affected', async (user, most) => {
  await using server = await start();
  const { nats } = server;
  const open: RawNats[] = [];
  for (let index = 0; index < most; index += 1) open.push(await rawUser(nats, user));
  await expect(rawUser(nats, user)).rejects.toThrow('the server ended the connection');
  await waitFor(() => /maximum account active connections exceeded/i.test(nats.log), { state: () => nats.log });
  for (let index = 0; index < most + 1; index += 1) open.push(await rawUser(nats, 'correlator'));
  for (const one of open) await one[Symbol.asyncDispose]();
});
