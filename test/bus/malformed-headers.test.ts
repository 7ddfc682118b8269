// A node can speak the protocol by hand and store any bytes as headers. No reader may fail or wait
// because of them. The controls read with the plain NATS client, which stops.
import {
  BucketReader,
  type Bus,
  captureSubject,
  consumeOrdered,
  ensureTopology,
  getLastMessage,
  getMessage,
  getNextMessage,
  type KvEntry,
  openBucket,
  request,
  respondToRequests,
  type StartAt,
  type StreamMessage,
  streamInfo,
  violationSubject,
} from '@bailiff/bus';
import { startNats, type TestNats, testUsers } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { MsgHdrsImpl } from '@nats-io/nats-core';
import { connect } from '@nats-io/transport-node';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { HeaderBlock, MAX_HEADER_BYTES } from '../../libs/bus/src/connection/incoming.ts';
import { connectCollector, readAll, text } from '../support/bus.ts';
import { CONTROLS, HEADERS } from '../support/malformed.ts';
import { headerBlock, type RawMessage, RawNats } from '../support/raw-nats.ts';
import { inOneAccount } from './rights.ts';

const OF_A = violationSubject('node-a', 'spoof');
const OF_B = violationSubject('node-b', 'spoof');
const GOOD = 'a frame of node-b';
/** Far above the time that any reader takes, and below the 35 s that the client took. */
const SOON_MS = 10_000;
const A_SPACE = headerBlock('a b: x');
const MANY = 'header: 9,100 names';

let nats: TestNats;
let thief: RawNats;
/** First and last sequence of the malformed messages; the good one follows. */
let first = 0;
let last = 0;

const rawUser = (user: string, password = `password-of-${user}`) =>
  RawNats.connect({ port: nats.port, user, password });

async function storeGood(): Promise<number> {
  return (await (await nats.connect('collector-node-b')).js.publish(OF_B, GOOD)).seq;
}

beforeAll(async () => {
  nats = await startNats();
  await ensureTopology(await nats.connect('admin'));
  thief = await rawUser('collector-node-a');
  for (const { name, message } of HEADERS) {
    last = await thief.store({ subject: OF_A, ...message }).catch((error: Error) => {
      throw new Error(`control: ${name} is not stored: ${error.message}`);
    });
    if (first === 0) first = last;
  }
  for (const { message } of CONTROLS) last = await thief.store({ subject: OF_A, ...message }).catch(() => last);
  expect(await storeGood()).toBe(last + 1);
});
afterAll(async () => {
  await thief?.[Symbol.asyncDispose]();
  await nats?.stop();
});

describe('malformed headers - the parser of the NATS client', () => {
  const blocks = HEADERS.flatMap(({ name, message: { header, headerLength }, throws }) =>
    header === undefined || headerLength === 0
      ? []
      : [{ name, bytes: Buffer.from(header as string, 'latin1'), throws }],
  );

  test.each(blocks.filter(({ name }) => name !== MANY))(
    'control: $name: throws: $throws; ours does not',
    ({ bytes, throws }) => {
      if (throws) expect(() => MsgHdrsImpl.decode(bytes)).toThrow();
      else MsgHdrsImpl.decode(bytes);
      const block = new HeaderBlock(bytes);
      for (const look of [() => block.get('a'), () => block.code, () => block.source(), () => block.description]) {
        expect(look).not.toThrow();
      }
    },
  );

  test('control: it takes at least a hundred times as long as ours for many names', () => {
    const { bytes } = blocks.find(({ name }) => name === MANY) as (typeof blocks)[number];
    const time = (what: () => unknown) => {
      const start = performance.now();
      what();
      return performance.now() - start;
    };
    const ours = Math.min(...[1, 2, 3].map(() => time(() => new HeaderBlock(bytes).get('KV-Operation'))));
    expect(time(() => MsgHdrsImpl.decode(bytes))).toBeGreaterThan(100 * ours);
  });

  test('control: a subscription that reads headers gets nothing any more', async () => {
    const { user, password } = nats.users.find((one) => one.user === 'reader') as { user: string; password: string };
    const ended = vi.spyOn(console, 'log').mockImplementation(() => undefined);
    const nc = await connect({ servers: nats.url, user, pass: password, reconnect: false });
    const received: string[] = [];
    nc.subscribe('bailiff.v1.replay.>', {
      callback: (_, message) => void received.push(`${message.subject} ${message.headers?.get('a') ?? ''}`),
    });
    await nc.flush();
    await using cli = await rawUser('cli');
    const send = async (token: string, header: Buffer) => {
      cli.publish({ subject: `bailiff.v1.replay.${token}`, header });
      await cli.flush();
    };
    await send('one', headerBlock('a: x'));
    await waitFor(() => received.length === 1, { what: 'a message before' });
    await send('two', A_SPACE);
    await send('three', headerBlock('a: x'));
    await waitFor(() => ended.mock.calls.some(([line]) => line === 'reader closed'), { what: 'the end of its reader' });
    expect(received).toEqual(['bailiff.v1.replay.one x']);
    await nc.close();
  });
});

/** Every message of VIOLATIONS from the first malformed one to the good one. */
const expectAll = (messages: StreamMessage[], from = first) => {
  expect(messages.map(({ sequence }) => sequence)).toEqual(messages.map((_, index) => from + index));
  expectGood(messages);
};
const expectGood = (messages: StreamMessage[]) => {
  expect(messages.at(-1)).toMatchObject({ subject: OF_B, injected: false });
  expect(text(messages.at(-1) as StreamMessage)).toBe(GOOD);
};

async function readUntilGood(bus: Bus, start: StartAt, begun: () => unknown = () => undefined, filter?: string) {
  const messages: StreamMessage[] = [];
  const restarts: string[] = [];
  const end = new AbortController();
  const reading = consumeOrdered(bus, 'VIOLATIONS', {
    start,
    ...(filter === undefined ? {} : { filterSubjects: [filter] }),
    onMessage: (message) => void messages.push(message),
    onRestart: (why) => restarts.push(why),
    signal: end.signal,
  });
  await begun();
  await waitFor(() => messages.at(-1)?.subject === OF_B && messages.at(-1)?.pending === 0, {
    what: 'the good message',
    timeoutMs: SOON_MS,
    state: () => ({ restarts, read: messages.length }),
  });
  end.abort();
  await reading;
  expect(restarts).toEqual([]);
  return messages;
}

describe.each(['correlator', 'siem-relay', 'cli'])('malformed headers - %s', (user) => {
  test.each<[string, () => StartAt]>([
    ['from the first message', () => 'all'],
    ['from a sequence', () => ({ sequence: first })],
    ['from a time', () => ({ timeMs: 0 })],
  ])('reads every message %s', async (_, start) => {
    expectAll(await readUntilGood(await nats.connect(user), start()));
  });

  test('reads the newest message of each subject', async () => {
    expectGood(await readUntilGood(await nats.connect(user), 'last-per-subject'));
  });

  test('reads the newest messages under a filter', async () => {
    expectAll(await readUntilGood(await nats.connect(user), 'all', undefined, 'bailiff.v1.violations.>'));
  });

  test('gets each message', async () => {
    const bus = await nats.connect(user);
    for (let sequence = first; sequence <= last + 1; sequence += 1) {
      expect(await getMessage(bus, 'VIOLATIONS', sequence)).toMatchObject({ sequence });
      expect(await getNextMessage(bus, 'VIOLATIONS', sequence, '>')).toMatchObject({ sequence });
    }
  });
});

// The newest nats-server removes the status of a published message.
test('malformed headers - status lines, blocks without protocol or end, and large ones are reported as not ours', async () => {
  const messages = await readUntilGood(await nats.connect('correlator'), 'all');
  const injected = messages.flatMap(({ sequence, injected: is }) =>
    is ? (HEADERS[sequence - first]?.name ?? []) : [],
  );
  expect(injected).toEqual(
    expect.arrayContaining([
      'header: another protocol',
      'header: 9,100 names',
      'header: one value of 60 kB',
      'header: empty, without data',
      'header: status 503 without data',
    ]),
  );
  for (const message of messages.filter(({ injected: is }) => is)) {
    expect(message).toMatchObject({ headers: undefined, data: new Uint8Array() });
  }
});

test('malformed headers - near the largest block, each way of reading decides alike: a consumer, direct gets and the API', async () => {
  await using server = await startNats();
  await ensureTopology(await server.connect('admin'));
  await using raw = await RawNats.connect({
    port: server.port,
    user: 'collector-node-a',
    password: 'password-of-collector-node-a',
  });
  const empty = headerBlock('a: ').length;
  const forged = 'Nats-Stream: VIOLATIONS\r\nNats-Sequence: 1';
  const sizes = [-300, -150, -50, 0, 1, 150].map((more) => MAX_HEADER_BYTES + more);
  const blocks = sizes.map((size) => headerBlock(`a: ${'x'.repeat(size - empty)}`));
  // The line of the server is the last one of its name, not this one.
  for (const at of [1_000, MAX_HEADER_BYTES])
    blocks.push(headerBlock(`a: ${'x'.repeat(at)}`, forged, `b: ${'y'.repeat(500)}`));
  for (const header of blocks) await raw.store({ subject: OF_A, header, body: GOOD });
  const read = async (user: string) => {
    const messages = await readAll(await server.connect(user), 'VIOLATIONS');
    return messages.map(({ injected, headers }) => [injected, headers?.stored?.length]);
  };
  const byConsumer = await read('correlator');
  expect(byConsumer).toEqual([
    ...sizes.map((size) => (size <= MAX_HEADER_BYTES ? [false, size] : [true, undefined])),
    ...[0, 0].map(() => [true, undefined]),
  ]);
  for (const user of ['siem-relay', 'cli', 'evidence-log', 'console'])
    expect(await read(user), user).toEqual(byConsumer);
  const correlator = await server.connect('correlator');
  for (let sequence = 1; sequence <= blocks.length; sequence += 1) {
    const found = await getMessage(correlator, 'VIOLATIONS', sequence);
    expect(found?.injected, String(sequence)).toBe(byConsumer[sequence - 1]?.[0]);
  }
});

test.each(['correlator', 'cli'])('malformed headers - %s reads a live message after them', async (user) => {
  const admin = await nats.connect('admin');
  const { state } = await streamInfo(admin, 'VIOLATIONS');
  const messages = await readUntilGood(await nats.connect(user), { sequence: state.last_seq + 1 }, async () => {
    for (const { message } of HEADERS) await thief.store({ subject: OF_A, ...message });
    await storeGood();
  });
  expectAll(messages, state.last_seq + 1);
});

describe('malformed headers - status of a node', () => {
  const key = '$KV.bailiff_nodes.node-a';
  const store = (message: Omit<RawMessage, 'subject' | 'reply'>) => thief.store({ subject: key, ...message });

  test.each([...HEADERS])('$name', async ({ message }) => {
    const sequence = await store(message);
    await openBucket(await nats.connect('collector-node-b'), 'bailiff_nodes').put('node-b', 'status of b');
    for (const user of ['ipam-sync', 'cli']) {
      const bus = await nats.connect(user);
      const bucket = openBucket(bus, 'bailiff_nodes');
      const start = performance.now();
      expect(await bucket.newest('node-a')).toMatchObject({ revision: sequence });
      expect(await getLastMessage(bus, 'KV_bailiff_nodes', key)).toMatchObject({ sequence });
      expect(await bucket.keys()).toContain('node-b');
      expect((await bucket.entries()).find((entry) => entry.key === 'node-b')).toMatchObject({ injected: false });
      expect(performance.now() - start).toBeLessThan(SOON_MS);
      await bus.close();
    }
  });

  test.each(['ipam-sync', 'cli'])('a watch of %s continues', async (user) => {
    const end = new AbortController();
    const seen: KvEntry[] = [];
    const bucket = openBucket(await nats.connect(user), 'bailiff_nodes');
    const watching = bucket.watch({ onEntry: (entry) => void seen.push(entry), signal: end.signal });
    const b = openBucket(await nats.connect('collector-node-b'), 'bailiff_nodes');
    for (const { name, message } of HEADERS.filter(({ throws }) => throws)) {
      const sequence = await store(message);
      await waitFor(() => seen.at(-1)?.revision === sequence, { what: `the status: ${name}`, timeoutMs: SOON_MS });
      const revision = await b.put('node-b', name);
      await waitFor(() => seen.at(-1)?.revision === revision, { what: `a status after ${name}`, timeoutMs: SOON_MS });
    }
    end.abort();
    await watching;
  });
});

// The server adds a header to a message that crosses accounts, so that no block is shorter.
test('malformed headers - a block of one byte ends a server with one account; with accounts it does not', async () => {
  const tryIt = async (server: TestNats) => {
    await using raw = await RawNats.connect({
      port: server.port,
      user: 'collector-node-a',
      password: 'password-of-collector-node-a',
    });
    await raw.store({ subject: '$KV.bailiff_nodes.node-a', header: 'N', body: 'x' });
    return openBucket(await server.connect('ipam-sync', { timeoutMs: 2_000 }), 'bailiff_nodes').keys();
  };
  await using one = await startNats({ users: inOneAccount(testUsers(['node-a'])) });
  await ensureTopology(await one.connect('admin'));
  await tryIt(one).catch(() => undefined);
  await waitFor(() => one.log.includes('truncation out of range'), { what: 'the control: it ends the server' });
  expect(await tryIt(nats)).toContain('node-a');
});

test('malformed headers - the configuration: pushes, reads and the log continue', async () => {
  await using admin = await rawUser('admin');
  const errors: unknown[] = [];
  const keys: string[] = [];
  const reader = new BucketReader(await connectCollector(nats, 'node-b'), 'bailiff_config', 'spoof.>', {
    onEntry: (entry) => keys.push(`${entry.key} ${text(entry)}`),
    onError: (error) => errors.push(error),
    rereadMs: 3_600_000,
  });
  const cli = openBucket(await nats.connect('cli'), 'bailiff_config');
  for (const [index, { name, message }] of HEADERS.entries()) {
    // The server ends at a block of one byte. Only identities of the core account can store it.
    if (message.header?.length === 1) continue;
    await admin.store({ subject: '$KV.bailiff_config.spoof.cluster._.default', ...message });
    await cli.put('spoof.namespace.shop.default', String(index));
    const line = `spoof.namespace.shop.default ${index}`;
    await waitFor(() => keys.at(-1) === line, {
      what: `a push after ${name}`,
      timeoutMs: SOON_MS,
      state: () => errors,
    });
  }
  reader.close();
});

describe('malformed headers - responses of a node to a request', () => {
  let response: Omit<RawMessage, 'subject' | 'reply'> = {};
  let node: RawNats;
  beforeAll(async () => {
    node = await rawUser('push-node-a', 'password-of-collector-node-a');
    await node.respond(captureSubject('node-a'), () => response);
  });
  afterAll(() => node?.[Symbol.asyncDispose]());

  test('control: the client ends its connection', async () => {
    const { user, password } = nats.users.find((one) => one.user === 'responder') as { user: string; password: string };
    const ended = vi.spyOn(console, 'log').mockImplementation(() => undefined);
    const nc = await connect({
      servers: nats.url,
      user,
      pass: password,
      inboxPrefix: '_INBOX_responder',
      reconnect: false,
    });
    response = { header: headerBlock('a: x') };
    await nc.request(captureSubject('node-a'));
    response = { header: A_SPACE };
    const late = nc.request(captureSubject('node-a'), '', { timeout: 500 }).catch((error: Error) => error.name);
    await waitFor(() => ended.mock.calls.some(([line]) => line === 'reader closed'), { what: 'the end of its reader' });
    expect(await late).toBe('TimeoutError');
    await nc.close();
  });

  test('the responder gets each of them, and the response of another node', async () => {
    const b = respondToRequests((await connectCollector(nats, 'node-b')).pushes as Bus, {
      subject: captureSubject('node-b'),
      respond: async () => 'of b',
      busy: () => 'busy',
      maxWaitMs: 1_000,
      monotonicMs: () => performance.now(),
      onError: (error) => expect.fail(error.message),
    });
    const bus = await nats.connect('responder');
    for (const { message } of HEADERS) {
      response = { ...message, body: '' };
      const { headerLength, header } = message;
      // The server removes a block without content.
      const isNoResponder = header === 'NATS/1.0 503\r\n\r\n';
      const asked = request(bus, captureSubject('node-a'), '', { timeoutMs: SOON_MS });
      if (isNoResponder) await expect(asked).rejects.toMatchObject({ code: 'BUS_NO_STREAM' });
      else expect((await asked).data.length).toBe(headerLength === 0 ? header?.length : 0);
      expect(text(await request(bus, captureSubject('node-b'), ''))).toBe('of b');
    }
    await b.close();
  });
});
