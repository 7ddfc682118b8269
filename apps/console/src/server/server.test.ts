// The server of the console with a door of the test: what requests of weak attackers hold, and until when.
import { Agent, type ClientRequest, type IncomingMessage, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { waitFor } from '@bailiff/service/testing';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { type Guest, KEEP_MS, Refused } from '../access/door.ts';
import { EVERYTHING, scopeOf } from '../access/scope.ts';
import type { Changes, ConsoleData, LiveEvents } from '../data.ts';
import { Lives, MAX_SCOPES } from '../live/lives.ts';
import type { NowView, StatusView, TrialView } from '../wire.ts';
import { MAX_READS } from './readings.ts';
import { type ConsoleServer, MAX_CONNECTIONS, type ServerOptions, startServer } from './server.ts';

const SHOP = scopeOf(['shop']);
const TRIED: TrialView = {
  ...{ headline: 'it was tried', isSame: true, sections: [], notes: [] },
  ...{ apply: '', command: '', fileName: '', yaml: '' },
};
const NO_TABLE = { columns: [], rows: [], omitted: 0 };
const untilEnd = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));

let options: ServerOptions;
let server: ConsoleServer;
let lives: Lives;
/** Of the requests that were admitted, oldest first. */
let admitted: IncomingMessage[];
let admit: (request: IncomingMessage) => Promise<Guest>;
let onGraph: (signal: AbortSignal) => Promise<unknown>;
let onStatus: (signal: AbortSignal) => Promise<unknown>;
let onTrial: (signal: AbortSignal) => Promise<TrialView>;
let events: LiveEvents[];
let refused: string[];
let failed: unknown[];
let displaced: number;
const sockets: Socket[] = [];
const requests: ClientRequest[] = [];

beforeEach(async () => {
  admitted = [];
  events = [];
  refused = [];
  failed = [];
  displaced = 0;
  // A visitor sees the namespace shop, and `all` everything.
  admit = async ({ headers }) => {
    const name = String(headers['x-name'] ?? 'ann');
    return { name, scope: name === 'all' ? EVERYTHING : SHOP };
  };
  onGraph = async () => ({ read: true });
  onStatus = untilEnd;
  onTrial = async () => TRIED;
  const data = {
    columns: { verdicts: [], responses: [] },
    connected: () => true,
    status: (_, signal) => onStatus(signal) as Promise<StatusView>,
    waiting: async () => NO_TABLE,
    follow: (stream, _, to, signal) => {
      if (stream === 'VIOLATIONS') events.push(to);
      return untilEnd(signal);
    },
    graph: (_since, _maySee, signal) => onGraph(signal),
    trial: (_, signal) => onTrial(signal),
    learn: (_, signal) => onTrial(signal),
    simulate: (_, signal) => onTrial(signal),
    describe: () => ({ status: 500, error: 'it failed', remedy: '' }),
  } as Partial<ConsoleData> as ConsoleData;
  const changes = {} as Changes;
  lives = new Lives({ data, nowMs: () => Date.now() });
  const door = {
    kind: 'proxy' as const,
    admit: (one: IncomingMessage) => {
      admitted.push(one);
      return admit(one);
    },
  };
  options = {
    port: 0,
    page: { '/index.html': 'page', '/app.js': 'x'.repeat(4_000_000) },
    reports: {
      onRefused: (status, reason) => refused.push(`${status} ${reason}`),
      onFailed: (error) => failed.push(error),
      onDisplaced: () => {
        displaced += 1;
      },
      onChanged: () => {},
    },
    ...{ data, changes, lives, door },
  };
  server = await startServer(options);
});
afterEach(async () => {
  vi.useRealTimers();
  for (const one of [...sockets.splice(0), ...requests.splice(0)]) one.destroy();
  await server.close();
  await lives.close();
});

/** Lines of a request, as a program sends them. */
const lines = (path: string, headers: Record<string, string> = {}) => {
  const all = { host: new URL(server.origin).host, 'x-bailiff-key': '', ...headers };
  return `GET ${path} HTTP/1.1\r\n${Object.entries(all)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('')}\r\n`;
};

async function connected(localAddress = '127.0.0.1'): Promise<{ socket: Socket; text: () => string }> {
  const socket = connect({ port: server.port, host: '127.0.0.1', localAddress }).on('error', () => {});
  sockets.push(socket);
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  await new Promise((resolve) => socket.once('connect', resolve));
  return { socket, text: () => text };
}

function ask(
  path: string,
  headers: Record<string, string>,
): Promise<{ status: number; body: () => string; ended: () => boolean }> {
  return new Promise((resolve, reject) => {
    const sent = request(`${server.origin}${path}`, { headers, agent: false }, (response) => {
      let body = '';
      let ended = false;
      response.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk;
      });
      response.once('close', () => {
        ended = true;
      });
      resolve({ status: response.statusCode ?? 0, body: () => body, ended: () => ended });
    });
    requests.push(sent);
    sent.on('error', reject).end();
  });
}
const KEY = { 'x-bailiff-key': '' };

it('a page that is closed while its rights are asked for takes no place', async () => {
  let go = (_: Guest) => {};
  admit = () => new Promise((resolve) => (go = resolve));
  const gone = await connected();
  gone.socket.write(lines('/api/now'));
  await waitFor(() => admitted.length === 1);
  gone.socket.destroy();
  await waitFor(() => admitted[0]?.socket.destroyed);
  go({ name: 'ann', scope: SHOP });
  // The control, which is admitted later: a page that stays has a place, until it is closed.
  const stays = await connected();
  stays.socket.write(lines('/api/now'));
  await waitFor(() => admitted.length === 2);
  go({ name: 'bob', scope: SHOP });
  await waitFor(() => stays.text().includes('data: '));
  expect(server.streams()).toBe(1);
  stays.socket.destroy();
  await waitFor(() => server.streams() === 0);
});

it('requests before the response to an earlier one are not answered, and hold nothing', async () => {
  const many = await connected();
  many.socket.write(lines('/api/now').repeat(60));
  await waitFor(() => many.socket.destroyed || many.socket.readableEnded);
  await waitFor(() => server.streams() === 0);
  expect(admitted).toHaveLength(1);
  // The control: one after the other, each with an identity of its own.
  admit = async ({ headers }) => ({ name: String(headers['x-name']), scope: SHOP });
  const two = await connected();
  for (const name of ['ann', 'bob']) {
    onGraph = async () => ({ reader: admitted.at(-1)?.headers['x-name'] });
    two.socket.write(lines('/api/graph', { 'x-name': name }));
    await waitFor(() => two.text().includes(`{"reader":"${name}"}`));
  }
});

it('files of the page without a reader do not queue', async () => {
  const slow = await connected();
  slow.socket.pause();
  slow.socket.write(lines('/app.js').repeat(500));
  await waitFor(() => slow.socket.destroyed || (slow.socket.resume() && slow.socket.readableEnded));
  expect(slow.text().split('HTTP/1.1 200').length - 1).toBeLessThanOrEqual(1);
});

it('a client that reads one response after the other keeps its connection, however large they are', async () => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const ports = new Set<number | undefined>();
  for (let n = 0; n < 20; n += 1) {
    const length = await new Promise<number>((resolve, reject) => {
      const path = n % 2 === 0 ? '/app.js' : '/';
      const sent = request(`${server.origin}${path}`, { agent }, (response) => {
        ports.add(response.socket.localPort);
        let bytes = 0;
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
        });
        response.once('end', () => resolve(bytes));
      });
      sent.on('error', reject).end();
    });
    expect(length).toBe(n % 2 === 0 ? 4_000_000 : 4);
  }
  agent.destroy();
  expect(ports.size).toBe(1);
});

it('a page gets nothing while its rights are asked for again', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  const page = await ask('/api/now', KEY);
  await waitFor(() => page.body().includes('data: '));
  const seen = (name: string) =>
    events[0]?.onViolation({
      ...{ storedMs: Date.now(), node: 'node-a', vector: 'ipv4-source', action: 'drop', count: 1 },
      pod: { namespace: 'shop', name, uid: name },
    });
  let answer = (_: boolean) => {};
  admit = () =>
    new Promise((resolve, reject) => {
      answer = (isStill) =>
        isStill ? resolve({ name: 'ann', scope: SHOP }) : reject(new Refused(403, 'no right', ''));
    });
  seen('before');
  vi.advanceTimersByTime(1_000);
  await waitFor(() => page.body().includes('"before"'));
  vi.advanceTimersByTime(KEEP_MS);
  await waitFor(() => admitted.length === 2);
  seen('held');
  vi.advanceTimersByTime(1_000);
  answer(true);
  await waitFor(() => page.body().includes('"held"'), { what: 'what was held, after the answer' });
  vi.advanceTimersByTime(KEEP_MS);
  await waitFor(() => admitted.length === 3);
  seen('after-the-end');
  vi.advanceTimersByTime(4 * KEEP_MS);
  expect(admitted, 'one question at a time').toHaveLength(3);
  answer(false);
  await waitFor(() => page.ended());
  expect(page.body()).not.toContain('after-the-end');
});

it('visitors of some namespaces leave readings for those who may see all, and every refusal is counted', async () => {
  onGraph = untilEnd;
  const open = async (name: string) => {
    const before = refused.length;
    const reading = ask('/api/graph', { ...KEY, 'x-name': name }).catch(() => null);
    const at = admitted.length;
    await waitFor(() => admitted.length > at || refused.length > before);
    return reading;
  };
  for (let n = 0; refused.length === 0; n += 1) {
    expect(n).toBeLessThanOrEqual(MAX_READS);
    void open(`visitor-${n}`);
    const sent = n + 1;
    await waitFor(() => admitted.length === sent);
  }
  expect([admitted.length, refused]).toEqual([MAX_READS - MAX_READS / 4 + 1, ['503 too many readings run already']]);
  const before = refused.length;
  void open('all');
  await waitFor(() => admitted.length === MAX_READS);
  expect(refused, 'the control: there is room').toHaveLength(before);
});

it('visitors of some namespaces leave a state of the page for those who may see all', () => {
  const listen = () => {};
  const limited = Array.from({ length: MAX_SCOPES }, (_, n) => lives.subscribe(scopeOf([`team-${n}`]), listen));
  expect(limited.every((stop) => stop !== null)).toBe(true);
  expect(lives.subscribe(SHOP, listen), 'the control: the places are used up').toBeNull();
  expect(lives.subscribe(EVERYTHING, listen)).not.toBeNull();
});

it('a source that holds all connections keeps no visitor out, and ends no open page', async () => {
  const page = await connected();
  page.socket.write(lines('/api/now'));
  await waitFor(() => page.text().includes('data: '));
  await Promise.all(Array.from({ length: MAX_CONNECTIONS - 1 }, () => connected('127.0.0.2')));
  expect(displaced, 'the control: below the limit').toBe(0);
  await Promise.all(Array.from({ length: 40 }, () => connected('127.0.0.2')));
  await waitFor(() => displaced === 40);
  const late = await connected('127.0.0.3');
  late.socket.write(lines('/api/graph'));
  await waitFor(() => late.text().includes('{"read":true}'));
  expect([page.socket.destroyed, page.socket.readableEnded, server.streams()]).toEqual([false, false, 1]);
});

it('a source that reads no file of the page, on all connections, keeps no visitor out', async () => {
  await server.close();
  const page = { ...options.page, '/app.js': 'x'.repeat(16_000_000) };
  server = await startServer({ ...options, page, maxConnections: 8 });
  const unread = await Promise.all(Array.from({ length: 8 }, () => connected('127.0.0.2')));
  for (const { socket } of unread) socket.pause().write(lines('/app.js'));
  // Requests that were sent before are begun.
  expect((await ask('/api/graph', KEY)).status).toBe(200);
  const visitor = await connected('127.0.0.3');
  const before = displaced;
  await Promise.all(Array.from({ length: 6 }, () => connected('127.0.0.2')));
  await waitFor(() => displaced >= before + 5);
  // Until now it has sent nothing.
  visitor.socket.write(lines('/api/graph'));
  await waitFor(() => visitor.text().includes('{"read":true}'));
});

it('a reading keeps its place until its response was read: it is in memory until then', async () => {
  onGraph = async () => ({ text: 'x'.repeat(16_000_000) });
  const unread = await Promise.all(Array.from({ length: 2 * MAX_READS }, () => connected()));
  for (const { socket } of unread) socket.pause().write(lines('/api/graph'));
  await waitFor(() => refused.length > MAX_READS);
  expect((await ask('/api/graph', KEY)).status).toBe(503);
  expect((await ask('/api/graph', { ...KEY, 'x-name': 'all' })).status, 'the control: there is room').toBe(200);
  for (const { socket } of unread) socket.destroy();
  await waitFor(async () => (await ask('/api/graph', KEY)).status === 200);
});

it('a page that reads nothing loses its place with its rights', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  onStatus = async () => ({ text: 'x'.repeat(6_000_000) });
  const page = await connected();
  page.socket.pause().write(lines('/api/now'));
  await waitFor(() => server.streams() === 1);
  const control = await ask('/api/now', KEY);
  await waitFor(() => control.body().length > 6_000_000);
  await vi.advanceTimersByTimeAsync(KEEP_MS);
  await waitFor(() => admitted.length === 4);
  expect(server.streams(), 'the control: they have their rights').toBe(2);
  admit = async () => Promise.reject(new Refused(401, 'the token ended', ''));
  await vi.advanceTimersByTimeAsync(KEEP_MS);
  await waitFor(() => server.streams() === 0);
});

it('another site cannot make a browser start a trial or a reading, also without https', async () => {
  // What a browser sends for an image or a link of another site, to an address without https.
  const trial = '/api/trial?key=correlation.cluster._.repeated-spoofing&set=condition.gte=5';
  for (const path of [trial, '/api/graph', '/api/now'])
    expect([path, (await ask(path, { 'x-name': 'all' })).status]).toEqual([path, 403]);
  expect(admitted).toEqual([]);
  expect(refused).toHaveLength(3);
  expect((await ask('/api/graph', { ...KEY })).status).toBe(200);
  expect((await ask('/api/graph', { 'sec-fetch-site': 'same-origin' })).status).toBe(200);
});

it('a trial that was cancelled, and that the bus holds up, keeps no other one out', async () => {
  let [started, ended] = [0, () => {}];
  onTrial = () => {
    started += 1;
    return new Promise((_, reject) => {
      // A request to the bus does not end with the signal.
      ended = () => reject(new Error('the bus responds'));
    });
  };
  const cancelled = await connected();
  cancelled.socket.write(lines('/api/trial', { 'x-name': 'all' }));
  await waitFor(() => started === 1);
  const meanwhile = await ask('/api/learn', { ...KEY, 'x-name': 'all' });
  expect(meanwhile.status, 'the control: it was not cancelled yet').toBe(503);
  cancelled.socket.destroy();
  await waitFor(() => admitted[0]?.socket.destroyed);
  onTrial = async () => TRIED;
  const next = ask('/api/trial', { ...KEY, 'x-name': 'all' });
  await waitFor(() => admitted.length === 3);
  ended();
  const response = await next;
  await waitFor(() => response.ended());
  expect([response.status, response.body()]).toEqual([200, expect.stringContaining('it was tried')]);
});

it('what is about all namespaces is not even begun for a visitor of some', async () => {
  let begun = 0;
  onTrial = async () => {
    begun += 1;
    return TRIED;
  };
  const paths = ['/api/trial', '/api/learn', '/api/rules', '/api/policy', '/api/evidence', '/api/proposal'];
  for (const path of paths) expect([path, (await ask(path, KEY)).status]).toEqual([path, 403]);
  expect([begun, refused.length]).toEqual([0, paths.length]);
  const all = await ask('/api/trial', { ...KEY, 'x-name': 'all' });
  await waitFor(() => all.ended());
  expect([all.status, begun], 'the control').toEqual([200, 1]);
});

it.each([
  ['a right that ends', () => ({ name: 'all', scope: SHOP })],
  ['an API server that does not answer', () => new Refused(503, 'the API server does not answer', '')],
])('%s while a trial runs - its result is not sent', async (_name, later) => {
  let [started, end] = [0, (_: TrialView) => {}];
  onTrial = () => {
    started += 1;
    return new Promise((resolve) => {
      end = resolve;
    });
  };
  const first = ask('/api/trial', { ...KEY, 'x-name': 'all' });
  await waitFor(() => started === 1);
  end(TRIED);
  const control = await first;
  await waitFor(() => control.ended());
  expect(control.body(), 'the control').toContain('it was tried');
  const second = ask('/api/trial', { ...KEY, 'x-name': 'all' });
  await waitFor(() => started === 2);
  admit = async () => {
    const found = later();
    if (found instanceof Refused) throw found;
    return found;
  };
  end(TRIED);
  const response = await second;
  await waitFor(() => response.ended());
  expect(response.body()).toContain('your rights changed meanwhile');
  expect(response.body()).not.toContain('it was tried');
});

it('two visitors - one trial at a time, also while a body is read, and the place is free again', async () => {
  const headers = { ...KEY, origin: server.origin, 'content-type': 'application/json', 'x-name': 'all' };
  const slow = await connected();
  const head = lines('/api/simulation', { ...headers, 'content-length': '64' }).replace('GET', 'POST');
  slow.socket.write(`${head}{"policy"`);
  await waitFor(() => admitted.length === 1);
  const second = await ask('/api/trial', { ...KEY, 'x-name': 'all' });
  expect([second.status, refused]).toEqual([503, ['503 too many trials run already']]);
  slow.socket.destroy();
  await waitFor(() => admitted[0]?.socket.destroyed);
  const next = await ask('/api/trial', { ...KEY, 'x-name': 'all' });
  await waitFor(() => next.ended());
  expect(next.body()).toContain('it was tried');
  expect(failed, 'a request that ends early is no failure').toEqual([]);
});

it('a failure is reported, and its cause is not sent', async () => {
  admit = async () => {
    throw new TypeError('the secret cause');
  };
  const response = await ask('/api/graph', KEY);
  await waitFor(() => response.ended());
  expect([response.status, response.body()]).toEqual([500, expect.not.stringContaining('secret')]);
  expect(String(failed[0])).toContain('the secret cause');
});

it('a page that is opened gets the view that the others have, without a new one', () => {
  const views: NowView[] = [];
  const open = () => lives.subscribe(SHOP, (json) => views.push(JSON.parse(json) as NowView));
  vi.useFakeTimers({ toFake: ['Date', 'setInterval', 'clearInterval'] });
  open();
  vi.setSystemTime(Date.now() + 400);
  open();
  expect(views[1]?.nowMs, 'the same view').toBe(views[0]?.nowMs);
});
