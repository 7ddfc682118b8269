// A holder of one node's token: connections without an end, and requests for many large responses,
// which the server keeps in memory. The controls have a server that does not list connections to
// bus-auth.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { FRAMES_PER_SECOND, NODE_MESSAGES_PER_SECOND, openBucket, userOf, violationSubject } from '@bailiff/bus';
import { MAX_SNAPSHOT_BYTES } from '@bailiff/schemas';
import { type RateLimitedLog, systemClock } from '@bailiff/service';
import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { ConnectionGuard, MAX_ENDS_PER_MINUTE } from '../../apps/bus-auth/src/connection-guard.ts';
import { MAX_CONNECTIONS_PER_USER } from '../../apps/bus-auth/src/connection-shares.ts';
import type { Metrics } from '../../apps/bus-auth/src/metrics.ts';
import { runCli } from '../../apps/cli/src/testing.ts';
import { Pace } from '../../libs/bus/src/connection/node-pace.ts';
import { inboxPrefixFor } from '../../libs/bus/src/topology/identities.ts';
import { MAX_CLOSED_CLIENTS, MAX_PAYLOAD_BYTES } from '../../libs/bus/src/topology/server-limits.ts';
import { freeze } from '../support/bus.ts';
import { publishBytes } from '../support/raw-nats.ts';
import { AuthRig, CONNECTION_LISTS, NODES } from './bus-auth/rig.ts';

const [A, B] = NODES;
const USER = userOf({ role: 'collector', node: A });
const INBOX = '_INBOX_collector_node-a.x';
const MIB = 1024 ** 2;
/** The list of some pods. Larger ones end the connection sooner (MAX_PENDING_BYTES). */
const LIST_BYTES = 16 * 1024;
const READS = `PUB $JS.API.DIRECT.GET.LATEST_bailiff_pods.$KV.bailiff_pods.${A} ${INBOX} 0\r\n\r\n`.repeat(700);
const CONNECTIONS = 12;
/** Without the guard, memory grows beyond this; with it, at most two thirds were seen, garbage included. */
const MUCH = 1_400 * MIB;
/** A message of a megabyte. nats-server before 2.11 keeps in memory what it has not stored yet. */
const LARGE = publishBytes({ subject: violationSubject(A, 'spoof'), reply: INBOX, body: Buffer.alloc(1_000_000) });
/** How many times as much a server without the guard accepts, and would go on. */
const TIMES = 3;

async function start(options: { without?: RegExp } = {}) {
  const rig = await AuthRig.start({ nats: options });
  const admin = await rig.topology();
  await openBucket(admin, 'bailiff_pods').put(A, 'x'.repeat(LIST_BYTES));
  const auth = await rig.busAuth(['--logins-per-minute', '60']);
  const isWatching = async () => (await auth.metric('connections_watched')) === 1;
  if (!options.without) await waitFor(isWatching, { what: 'a list of connections' });
  return { rig, auth, token: await rig.tokenOf(A) };
}

/** Resolves when a connection is logged in, or has ended. */
function logIn(rig: AuthRig, token: string, localAddress = '127.0.0.1', user = USER, inbox = INBOX): Promise<Socket> {
  const socket = connect({ port: rig.nats.port, host: '127.0.0.1', localAddress });
  const login = JSON.stringify({ verbose: false, headers: true, no_responders: true, user, pass: token });
  socket.write(`CONNECT ${login}\r\nSUB ${inbox} 1\r\nPING\r\n`);
  return new Promise((resolve) => {
    let received = '';
    const onData = (data: Buffer) => {
      received += data.toString('latin1');
      if (!received.includes('PONG')) return;
      socket.off('data', onData).resume();
      resolve(socket);
    };
    socket.on('data', onData);
    socket.on('error', () => undefined).on('close', () => resolve(socket));
  });
}

const residentBytes = ({ nats }: AuthRig) =>
  1024 * Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${nats.pid}/status`, 'utf8'))?.[1] ?? 0);

interface Flood {
  /** Memory of the server. */
  bytes: number;
  /** How often the server has accepted what is sent. */
  accepted: number;
  /** Open connections. */
  open: number;
}

/** Sends over as many connections as it gets, without pause. @returns the largest memory of the server, and what it accepted */
async function flood(
  rig: AuthRig,
  token: string,
  sent: string | Buffer,
  isOver: (now: Flood) => boolean | Promise<boolean>,
): Promise<Omit<Flood, 'open'>> {
  let [bytes, accepted, over] = [0, 0, false];
  const open = new Set<Socket>();
  const onAccepted = (error?: Error | null) => {
    if (!error) accepted += 1;
  };
  const one = async () => {
    while (!over) {
      const socket = await logIn(rig, token);
      if (over) socket.destroy();
      open.add(socket);
      const send = () => {
        if (!over && !socket.destroyed && socket.write(sent, onAccepted)) setImmediate(send);
      };
      socket.on('drain', send);
      send();
      if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve));
      open.delete(socket);
    }
  };
  const attackers = Array.from({ length: CONNECTIONS }, one);
  const look = async () => {
    const now = residentBytes(rig);
    bytes = Math.max(bytes, now);
    over = await isOver({ bytes: now, accepted, open: open.size });
    return over;
  };
  const state = () => ({ mebibytes: bytes / MIB, accepted, open: open.size });
  await waitFor(look, { what: 'the end of the flood', timeoutMs: 90_000, intervalMs: 100, state });
  for (const socket of open) socket.destroy();
  await Promise.all(attackers);
  return { bytes, accepted };
}

/** Floods a server with the guard, until it has ended the flood. */
async function floodGuarded({ rig, auth, token }: Awaited<ReturnType<typeof start>>, sent: string | Buffer) {
  const isKeptOut = async ({ open }: Flood) =>
    (await auth.metric('dropped_total{reason="flooding"}')) > 0 && open === 0;
  const found = await flood(rig, token, sent, isKeptOut);
  expect(await auth.metric('connections_ended_total{reason="flooding"}')).toBeGreaterThan(0);
  // Another node is not affected.
  expect(await rig.login(userOf({ role: 'collector', node: B }), await rig.tokenOf(B))).toBe('in');
  return found;
}

/** The control: nothing ends the flood, until the server has accepted `enough`, or its memory is full. */
async function floodUnguarded(sent: string | Buffer, enough: number): Promise<void> {
  const control = await start({ without: CONNECTION_LISTS });
  await using rig = control.rig;
  await flood(rig, control.token, sent, ({ bytes, accepted }) => accepted >= enough || bytes > MUCH);
  expect(await control.auth.metric('connections_ended_total{reason="flooding"}')).toBe(0);
}

/** What a command of an operator prints. */
async function print(rig: AuthRig, args: readonly string[]): Promise<string> {
  const env = {
    BAILIFF_NATS_URL: rig.nats.url,
    BAILIFF_NATS_PASSWORD_FILE: rig.write('cli.password', 'password-of-cli'),
  };
  return (await runCli(args, { env, home: rig.directory })).stdout;
}

test('connections - a node that floods the bus is ended, and the memory of the server stays small', async () => {
  const guarded = await start();
  const { rig } = guarded;
  await using _rig = rig;
  const { bytes, accepted } = await floodGuarded(guarded, READS);
  expect(bytes).toBeLessThan(MUCH);
  const named = new RegExp(`${A}: bus-auth ended \\d+ connections? of it, .* get no response for \\d+s`);
  for (const command of [['status'], ['doctor', '--only', 'bus']]) {
    const shows = async () => named.test((await print(rig, command)).replaceAll(/\s+/g, ' '));
    await waitFor(shows, { what: `${command[0]} to name the node`, timeoutMs: 15_000, intervalMs: 500 });
  }
  await floodUnguarded(READS, TIMES * accepted);
}, 240_000);

test('connections - a node that sends large messages faster than they are stored is ended', async () => {
  const guarded = await start();
  await using _rig = guarded.rig;
  const { bytes, accepted } = await floodGuarded(guarded, LARGE);
  expect(bytes).toBeLessThan(MUCH / 2);
  await floodUnguarded(LARGE, TIMES * accepted);
}, 240_000);

/** Ends connections without a login, until the server lists no other closed ones. */
async function fillClosed({ nats }: AuthRig): Promise<void> {
  const one = async () => {
    const socket = connect({ port: nats.port, host: '127.0.0.1' }).on('error', () => undefined);
    await once(socket, 'data');
    socket.destroy();
    await once(socket, 'close');
  };
  await Promise.all(Array.from({ length: 2 * MAX_CLOSED_CLIENTS }, one));
}

test.each([
  ['closes each connection before the next list', async () => undefined],
  ['has the server forget it before the next list', fillClosed],
])('connections - so is one that %s', async (_, afterEach) => {
  const { rig, auth, token } = await start();
  await using _rig = rig;
  const isKeptOut = async () => {
    const socket = await logIn(rig, token);
    if (!socket.closed) {
      socket.end(Buffer.concat(Array(32).fill(LARGE)));
      await new Promise((resolve) => socket.once('close', resolve));
      await afterEach(rig);
    }
    return (await auth.metric('dropped_total{reason="flooding"}')) > 0;
  };
  await waitFor(isKeptOut, { what: 'its logins to get no response', timeoutMs: 60_000, intervalMs: 1 });
});

test.each([
  ['a line that is none', 'X\r\n'],
  ['an error', "-ERR 'x'\r\n"],
  ['a message without its end', 'PUB x 1\r\nabc'],
  ['a message that is too large', `PUB x ${MAX_PAYLOAD_BYTES + 1}\r\n`],
  ['a line that is too long', `PUB ${'x'.repeat(8_192)} 0\r\n\r\n`],
  ['a login that is no JSON', 'CONNECT {"user"\r\n'],
])('connections - so is one that the server ends by %s, before it has counted the last messages', async (_, last) => {
  const { rig, auth, token } = await start();
  await using _rig = rig;
  const small = publishBytes({ subject: violationSubject(A, 'spoof'), body: '' });
  // The control: an end by the client.
  for (const end of ['', last]) {
    expect(await auth.metric('connections_ended_total{reason="malformed"}')).toBe(0);
    const socket = await logIn(rig, token);
    socket.end(Buffer.concat([small, Buffer.from(end)]));
    await new Promise((resolve) => socket.once('close', resolve));
  }
  const isBlamed = async () => (await auth.metric('connections_ended_total{reason="malformed"}')) > 0;
  await waitFor(isBlamed, { what: 'the end to be judged' });
  expect((await logIn(rig, token)).closed).toBe(true);
  expect(await auth.metric('dropped_total{reason="flooding"}')).toBe(1);
});

test('connections - so is one that resets each connection while the server responds, and counts nothing', async () => {
  const { rig, auth, token } = await start();
  await using _rig = rig;
  // Far below its share.
  const sent = READS.slice(0, READS.length / 14);
  const isKeptOut = async () => {
    const socket = await logIn(rig, token);
    if (!socket.closed) {
      socket.write(sent);
      await once(socket, 'data');
      socket.resetAndDestroy();
      await once(socket, 'close');
    }
    return (await auth.metric('dropped_total{reason="flooding"}')) > 0;
  };
  await waitFor(isKeptOut, { what: 'its logins to get no response', timeoutMs: 120_000, intervalMs: 1 });
  expect(await auth.metric('connections_ended_total{reason="reset"}')).toBeGreaterThan(0);
  expect(await auth.metric('connections_ended_total{reason="flooding"}')).toBe(0);
}, 150_000);

test('connections - one that leaves responses unread, to requests that the server has not counted, has a share', async () => {
  const { rig, auth, token } = await start();
  await using _rig = rig;
  const admin = await rig.nats.connect('admin');
  await openBucket(admin, 'bailiff_pods').put(A, 'x'.repeat(MAX_SNAPSHOT_BYTES));
  const heavy = () => auth.metric('connections_ended_total{reason="heavy"}');
  let logins = 0;
  const isOver = async () => {
    const before = await heavy();
    const socket = await logIn(rig, token);
    if (!socket.closed) {
      logins += 1;
      // After a large message, the server reads 64 KiB at once.
      socket.write(LARGE);
      await Promise.race([once(socket, 'data'), once(socket, 'close')]);
      socket.pause().write(READS.slice(0, 60_000));
      const isJudged = async () => socket.closed || (await heavy()) > before;
      await waitFor(isJudged, { what: 'the connection to be judged', timeoutMs: 60_000 });
      socket.destroy();
    }
    return (await auth.metric('dropped_total{reason="flooding"}')) > 0;
  };
  await waitFor(isOver, { what: 'a login without a response', timeoutMs: 60_000, intervalMs: 1 });
  // The control: a node to which another one has responses sent logs in again.
  expect(logins).toBeGreaterThanOrEqual(MAX_ENDS_PER_MINUTE);
  expect(await auth.metric('connections_ended_total{reason="flooding"}')).toBe(0);
  expect(await rig.login(userOf({ role: 'collector', node: B }), await rig.tokenOf(B))).toBe('in');
}, 120_000);

test('connections - so has one with more than four, which may end before the server has counted their requests', async () => {
  const { rig, auth, token } = await start();
  await using _rig = rig;
  const open: Socket[] = [];
  let ended = 0;
  const isOver = async () => {
    const socket = await logIn(rig, token);
    if (socket.closed) return (await auth.metric('dropped_total{reason="flooding"}')) > 0;
    open.push(socket);
    if (open.length <= MAX_CONNECTIONS_PER_USER) return false;
    const oldest = open.shift() as Socket;
    if (!oldest.closed) await new Promise((resolve) => oldest.once('close', resolve));
    ended += 1;
    return false;
  };
  await waitFor(isOver, { what: 'a login without a response', timeoutMs: 60_000, intervalMs: 1 });
  for (const socket of open) socket.destroy();
  // The control: fewer ends delay no login.
  expect(ended).toBeGreaterThanOrEqual(MAX_ENDS_PER_MINUTE);
}, 90_000);

test('connections - a collector is not blamed for what another node has the server send it, whatever it sends', async () => {
  const { rig, auth, token } = await start();
  await using _rig = rig;
  await openBucket(await rig.nats.connect('admin'), 'bailiff_pods').put(A, 'x'.repeat(MAX_SNAPSHOT_BYTES));
  const user = userOf({ role: 'collector', node: B });
  const inbox = `${inboxPrefixFor({ role: 'collector', node: B })}.x`;
  const collector = await logIn(rig, await rig.tokenOf(B), '127.0.0.2', user, inbox);
  const thief = await logIn(rig, token);
  const frame = publishBytes({ subject: violationSubject(B, 'spoof'), body: Buffer.alloc(1_000) });
  const read = READS.slice(0, READS.length / 700).replace(INBOX, inbox);
  // Both below what a node may send.
  const [frames, reads] = [FRAMES_PER_SECOND - 50, 110].map((rate) => new Pace(rate, () => performance.now()));
  const send = (socket: Socket, pace: Pace | undefined, sent: string | Buffer) => {
    for (; pace?.waitMs === 0 && !socket.destroyed; pace.take()) socket.write(sent);
  };
  const isEnded = () => {
    send(collector, frames, frame);
    send(thief, reads, read);
    return collector.closed;
  };
  await waitFor(isEnded, { what: 'the end of the connection', timeoutMs: 60_000, intervalMs: 10 });
  expect(await auth.metric('connections_ended_total{reason="heavy"}')).toBe(1);
  expect(await auth.metric('connections_ended_total{reason="flooding"}')).toBe(0);
  expect(await rig.login(user, await rig.tokenOf(B))).toBe('in');
  thief.destroy();
}, 90_000);

test('connections - the user for pushes, too, whose publishes the server refuses and logs', async () => {
  const { rig, auth, token } = await start();
  await using _rig = rig;
  const refused = publishBytes({ subject: `x.${'x'.repeat(1_000)}`, body: '' });
  const isKeptOut = async () => {
    const socket = await logIn(rig, token, '127.0.0.1', userOf({ role: 'push', node: A }));
    if (!socket.closed) {
      socket.write(Buffer.concat(Array(2 * NODE_MESSAGES_PER_SECOND).fill(refused)));
      await new Promise((resolve) => socket.once('close', resolve));
    }
    return (await auth.metric('dropped_total{reason="flooding"}')) > 0;
  };
  await waitFor(isKeptOut, { what: 'its logins to get no response', timeoutMs: 60_000, intervalMs: 1 });
});

test('connections - a user has a share; the oldest one of the address with most ends', async () => {
  const { rig, token } = await start();
  await using _rig = rig;
  const collector = await logIn(rig, token, '127.0.0.2');
  const thief: Socket[] = [];
  while (thief.length < MAX_CONNECTIONS_PER_USER) thief.push(await logIn(rig, token));
  await waitFor(() => thief[0]?.closed === true, { what: 'the oldest connection of the thief to end' });
  expect(collector.closed).toBe(false);
  expect(thief.slice(1).map((one) => one.closed)).toEqual(thief.slice(1).map(() => false));
  for (const one of [collector, ...thief]) one.destroy();
});

test('connections - two replicas of bus-auth, and a collector that reconnects: none of its connections ends', async () => {
  const { rig, auth } = await start();
  await using _rig = rig;
  const other = await rig.busAuth();
  const bus = await rig.connect(await rig.collector(A));
  for (let times = 0; times < 8; times += 1) {
    const { connects } = bus;
    await bus.nc.reconnect();
    await waitFor(() => bus.connects > connects && bus.connected, { what: 'the connection' });
  }
  const watched = async () => (await other.metric('connections_watched')) === 1;
  await waitFor(watched, { what: 'the other replica' });
  for (const replica of [auth, other]) {
    expect(await replica.metric('connections_ended_total{reason="too-many"}')).toBe(0);
    expect(await replica.metric('connections_ended_total{reason="flooding"}')).toBe(0);
    expect(await replica.metric('connections_ended_total{reason="reset"}')).toBe(0);
  }
  expect(bus.connected).toBe(true);
});

test('connections - a bus-auth that was stopped has not been refused a list; control: a server that sends none', async () => {
  await using rig = await AuthRig.start();
  await rig.topology();
  let monotonicMs = 0;
  let request = () => {};
  const clock = {
    ...systemClock,
    monotonicMs: () => monotonicMs,
    setRepeating: (run: () => void) => {
      request = run;
      return () => {};
    },
  };
  const log = { warn: () => {} } as unknown as RateLimitedLog;
  const metrics = { connectionsEnded: { inc: () => {} } } as unknown as Metrics;
  const bus = await rig.nats.connect('bus-auth');
  const guard = new ConnectionGuard({ bus, metrics, log, clock, onEnded: () => {} });
  const listed = () => waitFor(() => guard.isWatching, { what: 'a list of connections' });
  expect(guard.isWatching).toBe(false);
  request();
  await listed();
  // Nothing ran meanwhile.
  monotonicMs += 600_000;
  expect(guard.status().watched).toBe(true);
  await freeze(rig.nats.pid);
  try {
    request();
    monotonicMs += 11_000;
    expect(guard.status().watched).toBe(false);
  } finally {
    process.kill(rig.nats.pid, 'SIGCONT');
  }
  await listed();
  guard.close();
});
