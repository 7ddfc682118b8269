// Servers that accept a connection and then do nothing: no attempt leaves a socket behind, an abort
// ends an attempt at once, and a connection whose peer reads nothing is given up.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect as connectTcp, createServer, type Server, type Socket } from 'node:net';
import path from 'node:path';
import { type Bus, type BusError, connectBus } from '@bailiff/bus';
import { startNats } from '@bailiff/bus/testing';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { connect as connectByClient } from '@nats-io/transport-node';
import { afterEach, describe, expect, test } from 'vitest';
import { Transport } from '../../libs/bus/src/connection/transport.ts';
import { freeze } from '../support/bus.ts';

const TIMEOUT_MS = 150;
const info = (port: number, more = {}) =>
  `INFO ${JSON.stringify({ server_id: 'S', version: '2.10.27', proto: 1, host: '127.0.0.1', port, max_payload: 1_048_576, ...more })}\r\n`;

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function listen(onConnection: (socket: Socket, port: number) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    onConnection(socket, (server.address() as AddressInfo).port);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  ends.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** A port whose packets nothing answers: its listener is stopped and its queue is full. */
async function blackHole(): Promise<number> {
  const source = `const s=require('node:net').createServer();s.listen({port:0,host:'127.0.0.1',backlog:1},()=>console.log(s.address().port))`;
  const child: ChildProcess = spawn(process.execPath, ['-e', source], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(child.stdout as NodeJS.ReadableStream, 'data')) as [Buffer];
  const port = Number(line.toString());
  await freeze(child.pid as number);
  // The queue holds one connection more than its size.
  const fill = [0, 1].map(() => connectTcp(port, '127.0.0.1'));
  ends.push(() => {
    for (const socket of fill) socket.destroy();
    child.kill('SIGKILL');
  });
  await Promise.all(fill.map((socket) => once(socket, 'connect')));
  return port;
}

/** This process's sockets to a port, those that are still connecting included. */
function socketsTo(port: number): number {
  const [ESTABLISHED, SYN_SENT] = ['01', '02'];
  const hex = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const rows = readFileSync('/proc/net/tcp', 'utf8').split('\n').slice(1);
  return rows.filter((row) => {
    const [, , remote = '', state = ''] = row.trim().split(/\s+/);
    return remote.endsWith(hex) && (state === ESTABLISHED || state === SYN_SENT);
  }).length;
}

const silentServers: [string, () => Promise<number>, number][] = [
  ['accepts and sends nothing', () => listen(() => undefined), 0],
  ['sends half of its first line', () => listen((socket) => socket.write('INFO {"server_id"')), 0],
  ['never answers the login', () => listen((socket, port) => socket.write(info(port))), 0],
  ['demands TLS and never shakes hands', () => listen((s, port) => s.write(info(port, { tls_required: true }))), 0],
  ['does not even accept', blackHole, 2],
];

describe('attempts', () => {
  test.each(silentServers)('a server that %s - every attempt ends and leaves no socket', async (_, start, others) => {
    const port = await start();
    const servers = `nats://127.0.0.1:${port}`;
    const failures: string[] = [];
    const end = new AbortController();
    const connecting = connectBus({
      servers,
      user: 'correlator',
      password: 'x',
      name: 'test',
      timeoutMs: TIMEOUT_MS,
      signal: end.signal,
      waitForServer: true,
      onRetry: ({ code }: BusError) => void failures.push(code),
    });
    connecting.catch(() => undefined);
    await waitFor(() => failures.length >= 4, { what: 'four attempts', state: () => failures });
    expect(new Set(failures)).toEqual(new Set(['BUS_UNREACHABLE']));
    // At most the attempt that is running now.
    expect(socketsTo(port) - others).toBeLessThanOrEqual(1);
    end.abort(new Error('stop'));
    await expect(connecting).rejects.toThrow('stop');
    await waitFor(() => socketsTo(port) === others, { what: 'no socket', state: () => socketsTo(port) });
  });

  test('control - the transport of the client leaves a socket for each attempt', async () => {
    const port = await listen(() => undefined);
    for (let attempt = 1; attempt <= 3; attempt += 1) {
      const options = { servers: `nats://127.0.0.1:${port}`, timeout: TIMEOUT_MS, reconnect: false };
      await expect(connectByClient(options)).rejects.toThrow();
    }
    expect(socketsTo(port)).toBe(3);
  });

  test.each(silentServers)('a server that %s - an abort ends the attempt at once', async (_, start, others) => {
    const port = await start();
    const end = new AbortController();
    const options = { servers: `nats://127.0.0.1:${port}`, user: 'cli', password: 'x', name: 'test' };
    const connecting = connectBus({ ...options, timeoutMs: 60_000, signal: end.signal });
    connecting.catch(() => undefined);
    await waitFor(() => socketsTo(port) > others, { what: 'the attempt', state: () => socketsTo(port) });
    end.abort(new Error('stop'));
    await expect(connecting).rejects.toThrow('stop');
    await waitFor(() => socketsTo(port) === others, { what: 'no socket', state: () => socketsTo(port) });
  });

  test('a stopped nats-server - the same, and the same server serves again when it goes on', async () => {
    await using nats = await startNats();
    const pid = nats.pid as number;
    await freeze(pid);
    const failures: string[] = [];
    const connecting = connectBus({
      ...nats.options('correlator'),
      name: 'test',
      timeoutMs: TIMEOUT_MS,
      waitForServer: true,
      onRetry: ({ code }: BusError) => void failures.push(code),
    });
    try {
      await waitFor(() => failures.length >= 4, { what: 'four attempts', state: () => failures });
      const port = Number(new URL(nats.url).port);
      expect(socketsTo(port)).toBeLessThanOrEqual(1);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    const bus: Bus = await connecting;
    expect(bus.connected).toBe(true);
    await bus.close();
  });
});

describe('a connection whose peer reads nothing', () => {
  const flood = Buffer.alloc(1024 * 1024);
  /** Connects by a transport, and writes until the buffers of both kernels are full. */
  async function full(): Promise<Transport> {
    const port = await listen((socket, at) => {
      socket.write(info(at));
      socket.pause();
    });
    const transport = new Transport();
    await transport.connect({ hostname: '127.0.0.1', port, tlsName: '' }, {});
    while (!transport.socket.writableNeedDrain || transport.socket.writableLength < flood.length) transport.send(flood);
    return transport;
  }

  test('a forced disconnect - ends although not everything is written', async () => {
    const transport = await full();
    transport.disconnect();
    await transport.closed();
    expect(transport.isClosed).toBe(true);
  });

  test('control - everything that the other end reads is written before', async () => {
    let read = 0;
    const port = await listen((socket, at) => {
      socket.write(info(at));
      socket.on('data', (chunk) => {
        read += chunk.length;
      });
    });
    const transport = new Transport();
    await transport.connect({ hostname: '127.0.0.1', port, tlsName: '' }, {});
    for (let n = 0; n < 8; n += 1) transport.send(flood);
    transport.disconnect();
    await transport.closed();
    await waitFor(() => read === 8 * flood.length, { what: 'all bytes', state: () => read });
  });
});

describe('a bus that answers no login: it may be overloaded by the logins themselves', () => {
  const ATTEMPTS = 8;

  /** Attempts of a client. `isLost`: its first login succeeds, and the connection ends then. */
  async function attemptsOf(credentials: { tokenFile: string } | { password: string }, isLost: boolean) {
    let attempts = 0;
    let isFirst = isLost;
    const port = await listen((socket, port) => {
      attempts += 1;
      socket.write(info(port));
      if (!isFirst) return;
      isFirst = false;
      attempts = 0;
      socket.on('data', (data) => {
        if (data.includes('PING')) socket.write('PONG\r\n', () => setImmediate(() => socket.destroy()));
      });
    });
    const end = new AbortController();
    const options = { servers: `nats://127.0.0.1:${port}`, user: 'collector-a', name: 'test', timeoutMs: TIMEOUT_MS };
    const connecting = connectBus({ ...options, ...credentials, waitForServer: true, signal: end.signal });
    ends.push(async () => {
      end.abort();
      await connecting.then((bus) => bus.close()).catch(() => undefined);
    });
    if (isLost) await connecting;
    return () => attempts;
  }

  test.each([
    ['a first login', false],
    ['a login after a lost connection', true],
  ])('%s - a token waits longer each time; a password, which needs no other service, does not', async (_, isLost) => {
    const directory = temporaryDirectory();
    ends.push(() => rmSync(directory, { recursive: true }));
    const tokenFile = path.join(directory, 'token');
    writeFileSync(tokenFile, 'token');
    const byToken = await attemptsOf({ tokenFile }, isLost);
    const byPassword = await attemptsOf({ password: 'p' }, isLost);
    await waitFor(() => byPassword() >= ATTEMPTS, { what: 'attempts with a password', timeoutMs: 30_000 });
    // At the earliest after 0.4, 1.05, 2.2, 4.35 and 8.5 s.
    expect([byToken() >= 2, byToken() <= ATTEMPTS - 2]).toEqual([true, true]);
  });
});
