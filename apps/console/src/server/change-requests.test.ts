// Confirmed changes at the server of the console, with a door and a writer of the test.
import { connect } from 'node:net';
import { waitFor } from '@bailiff/service/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Refused } from '../access/door.ts';
import { EVERYTHING, scopeOf } from '../access/scope.ts';
import type { Changes, ConfirmedChange, ConsoleData } from '../data.ts';
import { Lives } from '../live/lives.ts';
import { MAX_CHANGES } from './change-requests.ts';
import { type ConsoleServer, startServer } from './server.ts';

const CHANGE = { key: 'correlation.cluster._.a', set: ['condition.gte=5'], basis: '7', reason: 'quiet' };
const DONE = { text: 'written', isWritten: true, notes: [] };

let server: ConsoleServer;
let lives: Lives;
let apply: (change: ConfirmedChange) => Promise<typeof DONE>;
let begun: string[];
let changed: string[];
let refused: string[];
let failed: string[];

beforeEach(async () => {
  begun = [];
  changed = [];
  refused = [];
  failed = [];
  apply = async () => DONE;
  const data = {
    describe: (error) => {
      const { message } = error as Error;
      return { status: message === 'it changed' ? 409 : 500, error: message, remedy: '' };
    },
  } as Partial<ConsoleData>;
  const changes: Partial<Changes> = {
    apply: (change, { name }) => {
      begun.push(name);
      return apply(change);
    },
  };
  lives = new Lives({ data: data as ConsoleData, nowMs: () => Date.now() });
  server = await startServer({
    port: 0,
    page: {},
    lives,
    data: data as ConsoleData,
    changes: changes as Changes,
    door: {
      kind: 'proxy',
      admit: async ({ headers }) => {
        const name = String(headers['x-name'] ?? 'anna');
        return { name, scope: name === 'shop' ? scopeOf(['shop']) : EVERYTHING };
      },
    },
    reports: {
      onRefused: (status, reason) => refused.push(`${status} ${reason}`),
      onFailed: (error) => failed.push(String(error)),
      onDisplaced: () => {},
      onChanged: (name, { key, reason }) => changed.push(`${name} ${key} ${reason}`),
    },
  });
});
afterEach(async () => {
  await server.close();
  await lives.close();
  expect(failed).toEqual([]);
});

const confirm = async (headers: Record<string, string> = {}, change: object = CHANGE, signal?: AbortSignal) => {
  const response = await fetch(`${server.origin}/api/change`, {
    method: 'POST',
    body: JSON.stringify(change),
    headers: { origin: server.origin, 'content-type': 'application/json', 'x-bailiff-key': '', ...headers },
    ...(signal ? { signal } : {}),
  });
  return { status: response.status, body: await response.text() };
};

it('a confirmed change - is reported with the name of the visitor', async () => {
  expect(await confirm()).toEqual({ status: 200, body: JSON.stringify(DONE) });
  expect(changed).toEqual(['anna correlation.cluster._.a quiet']);
});

it('a confirmation without the key of the page, or by a viewer of some namespaces, is refused', async () => {
  const response = await fetch(`${server.origin}/api/change`, {
    method: 'POST',
    body: JSON.stringify(CHANGE),
    headers: { origin: server.origin, 'content-type': 'application/json', 'sec-fetch-site': 'same-origin' },
  });
  expect(response.status).toBe(403);
  expect((await confirm({ 'x-name': 'shop' })).status).toBe(403);
  expect([begun, refused.length]).toEqual([[], 2]);
  expect((await confirm()).status, 'the control').toBe(200);
});

it('a reason without a visible character is none', async () => {
  for (const reason of ['', ' \t', '\u0000\u0007', '\u200b\u2060'])
    expect([reason, (await confirm({}, { ...CHANGE, reason })).status]).toEqual([reason, 400]);
  expect((await confirm({}, { ...CHANGE, reason: '静かだった' })).status, 'the control').toBe(200);
  expect(begun).toHaveLength(1);
});

it('a confirmation that ends early is no failure of the console, and leaves its place', async () => {
  const { host } = new URL(server.origin);
  for (let sent = 0; sent < 2 * MAX_CHANGES; sent += 1) {
    const socket = connect(server.port, '127.0.0.1');
    const head = [
      ...['POST /api/change HTTP/1.1', `host: ${host}`, `origin: ${server.origin}`, 'x-bailiff-key: 1'],
      ...['content-type: application/json', 'content-length: 100', 'expect: 100-continue', '', ''],
    ];
    // The server asks for the body once it reads it.
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject).once('data', () => resolve());
      socket.write(head.join('\r\n'));
    });
    socket.write('{"key":');
    socket.destroy();
    await new Promise((resolve) => socket.once('close', resolve));
  }
  await waitFor(async () => (await confirm()).status === 200);
  expect(begun).toEqual(['anna']);
});

it('a refusal and a conflict keep their status, and nothing is reported as changed', async () => {
  apply = async () => {
    throw new Refused(403, 'you may not', '');
  };
  expect((await confirm()).status).toBe(403);
  apply = async () => {
    throw new Error('it changed');
  };
  expect((await confirm()).status).toBe(409);
  expect(changed).toEqual([]);
});

it('one visitor leaves changes for another', async () => {
  let end = () => {};
  const held = new Promise<typeof DONE>((resolve) => {
    end = () => resolve(DONE);
  });
  apply = () => held;
  const running = [];
  while (refused.length === 0) {
    expect(running.length).toBeLessThanOrEqual(MAX_CHANGES);
    const before = begun.length;
    running.push(confirm());
    await waitFor(() => begun.length > before || refused.length > 0);
  }
  expect(begun.length).toBeLessThan(MAX_CHANGES);
  running.push(confirm({ 'x-name': 'otto' }));
  await waitFor(() => begun.includes('otto'));
  end();
  const statuses = (await Promise.all(running)).map(({ status }) => status);
  expect(statuses.filter((status) => status === 503)).toHaveLength(1);
  expect((await confirm()).status, 'the places are free again').toBe(200);
});

it('a change whose page is closed is completed', async () => {
  let end = () => {};
  apply = () =>
    new Promise((resolve) => {
      end = () => resolve(DONE);
    });
  const closed = new AbortController();
  const sent = confirm({}, CHANGE, closed.signal).catch(() => 'closed');
  await waitFor(() => begun.length === 1);
  closed.abort();
  expect(await sent).toBe('closed');
  end();
  await waitFor(() => changed.length === 1);
});
