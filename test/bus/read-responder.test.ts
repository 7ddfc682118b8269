// A reader that asks the server for much: nats-server from 2.11 on compares each filter of
// `multi_last` with each subject while the stream can store nothing, and reads up to `max_bytes` of
// the stream into memory. The control sends the same from the core account, where it reaches the
// server.
import { CORE, ensureTopology, FramePublisher, type NatsUser, respondToReads, violationSubject } from '@bailiff/bus';
import { startNats, type TestNats, testUsers } from '@bailiff/bus/testing';
import { encodeViolationFrame } from '@bailiff/schemas';
import { sampleFrame } from '@bailiff/schemas/testing';
import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { replay } from '../../libs/connector/src/replay.ts';
import { RawNats } from '../support/raw-nats.ts';

const VERDICTS = '$JS.API.DIRECT.GET.VERDICTS';
const VIOLATIONS = '$JS.API.DIRECT.GET.VIOLATIONS';
const SUBJECTS = 1_000;
/** As many as fit into a message of a reader. */
const MULTI = JSON.stringify({ multi_last: Array(4_000).fill('>'), batch: 1 });
/** A verdict is stored within milliseconds; the control takes some seconds. */
const SLOW_MS = 1_000;
const FRAMES = 40;
const FRAME_BYTES = 100_000;

const reaches = (users: NatsUser[]): NatsUser[] =>
  users.map((user) => (user.user === 'reader' ? { ...user, account: CORE } : user));

/** A bus whose reader is confined, or reaches the server. */
async function start(isConfined: boolean) {
  const users = testUsers(['node-a']);
  const nats = await startNats({ users: isConfined ? users : reaches(users) });
  const admin = await nats.connect('admin');
  await ensureTopology(admin);
  const relay = await nats.connect('siem-relay');
  const end = respondToReads(relay, () => performance.now(), console.error);
  await relay.nc.flush();
  const reader = await RawNats.connect({ port: nats.port, user: 'reader', password: 'password-of-reader' });
  const [, minor] = /^2\.(\d+)/.exec(admin.nc.info?.version ?? '') ?? [];
  return {
    nats,
    admin,
    reader,
    hasBatches: Number(minor) >= 11,
    /** Sends a request; `_INBOX_reader.raw` is the inbox of the helper. */
    ask: (subject: string, body: string) => reader.publish({ subject, body, reply: '_INBOX_reader.raw' }),
    async [Symbol.asyncDispose]() {
      await end();
      await reader[Symbol.asyncDispose]();
      await nats.stop();
    },
  };
}

async function fill(nats: TestNats, subject: (index: number) => string, count: number, size = 1) {
  const { nc, jsm } = await nats.connect('admin');
  for (let index = 0; index < count; index += 1) nc.publish(subject(index), 'x'.repeat(size));
  await nc.flush();
  const stream = subject(0).includes('verdicts') ? 'VERDICTS' : 'VIOLATIONS';
  await waitFor(async () => (await jsm.streams.info(stream)).state.messages >= count, {
    what: `${stream} to be full`,
  });
}

const verdict = (index: number) => `bailiff.v1.verdicts.high.shop.web-${index}.id`;

/** Longest time to store a verdict until the server has responded to a request with many filters. */
async function storeBeside(bus: Awaited<ReturnType<typeof start>>, from: number): Promise<number> {
  const seen = bus.reader.received.length;
  bus.ask(VERDICTS, MULTI);
  let longestMs = 0;
  for (let index = from; !bus.reader.received.includes('HMSG ', seen); index += 1) {
    const beganMs = performance.now();
    await bus.admin.js.publish(`bailiff.v1.verdicts.high.beside.web-${index}.id`, 'x', { timeout: 60_000 });
    longestMs = Math.max(longestMs, performance.now() - beganMs);
  }
  return longestMs;
}

test('a reader cannot block a stream by filters', async () => {
  await using bus = await start(true);
  await fill(bus.nats, verdict, SUBJECTS);
  expect(await storeBeside(bus, 0)).toBeLessThan(SLOW_MS);
  expect(bus.reader.received).toContain('NATS/1.0 408 Bad Request');
});

test('control: a request that reaches the server blocks the stream', async () => {
  await using bus = await start(false);
  if (!bus.hasBatches) return;
  let [subjects, longestMs] = [0, 0];
  // A fast machine needs more subjects.
  const isSlow = async () => {
    subjects += SUBJECTS;
    await fill(bus.nats, verdict, subjects);
    longestMs = await storeBeside(bus, subjects);
    return longestMs > SLOW_MS;
  };
  await waitFor(isSlow, { what: 'a blocked stream', timeoutMs: 60_000, state: () => ({ subjects, longestMs }) });
}, 90_000);

test('a reader gets one message a request', async () => {
  await using bus = await start(true);
  for (const query of [{ batch: FRAMES, max_bytes: 1e9 }, { batch: FRAMES }]) {
    const from = bus.reader.received.length;
    bus.ask(VIOLATIONS, JSON.stringify({ seq: 1, ...query }));
    await waitFor(() => bus.reader.received.slice(from).includes('NATS/1.0 408 Bad Request'));
  }
});

test('control: a request that reaches the server gets as much of the stream as it wants', async () => {
  await using bus = await start(false);
  await fill(bus.nats, () => 'bailiff.v1.violations.7.node-a.spoof', FRAMES, FRAME_BYTES);
  bus.ask(VIOLATIONS, JSON.stringify({ seq: 1, batch: FRAMES, max_bytes: 1e9 }));
  const received = () => bus.reader.received.split('Nats-Stream: VIOLATIONS').length - 1;
  await waitFor(() => received() === (bus.hasBatches ? FRAMES : 1), { state: received });
});

test('a reader reads the messages one by one, by a filter, and the newest', async () => {
  await using bus = await start(true);
  await fill(bus.nats, verdict, 3);
  const reader = await bus.nats.connect('reader');
  const get = async (query: object) => {
    const { headers, data } = await reader.nc.request(VERDICTS, JSON.stringify(query));
    return data.length === 0 ? headers?.code : `${headers?.get('Nats-Subject')} ${Buffer.from(data)}`;
  };
  expect(await get({ seq: 1 })).toBe(`${verdict(0)} x`);
  expect(await get({ seq: 1, next_by_subj: 'bailiff.v1.verdicts.*.*.web-1.*' })).toBe(`${verdict(1)} x`);
  expect(await get({ last_by_subj: '>' })).toBe(`${verdict(2)} x`);
  expect(await get({ seq: 4 })).toBe(404);
  expect(await get({ multi_last: ['>'] })).toBe(408);
});

test('the largest message that a node can store holds up no replay of what follows it', async () => {
  await using bus = await start(true);
  const node = await bus.nats.connect('collector-node-a');
  const subject = violationSubject('node-a', 'spoof');
  // With its headers.
  const largest = Buffer.alloc((node.nc.info?.max_payload ?? 0) - 64);
  const frame = encodeViolationFrame(sampleFrame({ nodeName: 'node-a' }));
  const publisher = new FramePublisher(node);
  for (const [index, data] of [largest, frame].entries()) await publisher.publish(subject, data, { msgId: `${index}` });
  const reader = await bus.nats.connect('reader', { timeoutMs: 1_000 });
  const seen: unknown[] = [];
  for await (const { sequence, value, problem } of replay(reader, 'VIOLATIONS', { from: { sequence: 1 } }))
    seen.push([sequence, value?.nodeName ?? problem]);
  expect(seen).toEqual([
    [1, expect.stringContaining('does not begin with')],
    [2, 'node-a'],
  ]);
}, 60_000);
