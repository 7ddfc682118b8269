// A node that reads without pause. While nats-server serves the direct gets of a stream, writes to
// that stream wait: first the responses are sent, and a request with `multi_last` (2.11 and later)
// also holds the lock of the stream. So a node reads copies that no identity writes. The control has
// the right to read the buckets themselves.
import {
  type Bus,
  ensureTopology,
  LATEST_STREAMS,
  latestStream,
  type NatsUser,
  openBucket,
  permissionsFor,
} from '@bailiff/bus';
import { startNats, type TestNats, testUsers } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { flood } from '../support/api-flood.ts';
import { RawNats } from '../support/raw-nats.ts';

const USER = 'collector-node-a';
const DIRECT = '$JS.API.DIRECT.GET';
const KEYS = 100;
const WRITES = 50;
/** A write takes milliseconds beside a flood of reads of the copy, and seconds in the control. */
const SLOW_MS = 1_000;
/** Messages of nearly 1 MiB, one for each connection that a token opens at once. */
const MULTI = JSON.stringify({ multi_last: Array(240_000).fill('>'), batch: 1 });
const CONNECTIONS = 12;

async function start(users: NatsUser[] = testUsers(['node-a'])): Promise<TestNats> {
  const nats = await startNats({ users });
  const admin = await nats.connect('admin');
  await ensureTopology(admin);
  for (const bucket of ['bailiff_pods', 'bailiff_quarantine']) await openBucket(admin, bucket).put('node-a', '{}');
  const config = openBucket(admin, 'bailiff_config');
  for (let key = 0; key < KEYS; key += 1) await config.put(`runtime.namespace.ns-${key}.p`, '{}');
  // Otherwise the flood gets nothing but 404.
  const copied = async () => {
    const infos = await Promise.all(LATEST_STREAMS.map((stream) => admin.jsm.streams.info(stream)));
    return infos.every(({ state }) => state.messages > 0);
  };
  await waitFor(copied, { what: 'the copies' });
  return nats;
}

/** The same with a node that may read the buckets. */
const startOpen = () =>
  start(
    testUsers(['node-a']).map((user) => {
      if (user.user !== USER) return user;
      const { publish, subscribe } = permissionsFor({ role: 'collector', node: 'node-a' });
      return { ...user, permissions: { subscribe, publish: { allow: [...publish.allow, `${DIRECT}.>`] } } };
    }),
  );

/** A writer that is connected before a node begins. */
const writerOf = (nats: TestNats) => nats.connect('admin', { timeoutMs: 2 * SLOW_MS });

/** How long writes of a bucket take, one after the other. @returns after `enough` */
async function measure(writer: Bus, name: string, enough: (times: readonly number[]) => boolean) {
  const bucket = openBucket(writer, name);
  const times: number[] = [];
  const once = async () => {
    const beganMs = performance.now();
    // A write without a response counts as a slow one.
    await bucket.put('node-b', '{}').catch(({ code }) => expect(code).toBe('BUS_TIMEOUT'));
    times.push(performance.now() - beganMs);
    return enough(times);
  };
  await waitFor(once, { what: 'enough writes', intervalMs: 1, timeoutMs: 40_000, state: () => times });
  return times.toSorted((a, b) => a - b);
}
const isSlow = (times: readonly number[]) => times.some((ms) => ms > SLOW_MS);

const keyOf = (stream: string, bucket: string) => ({ subject: `${DIRECT}.${stream}.$KV.${bucket}.node-a` });
const READS = [
  ['bailiff_quarantine', keyOf(latestStream('bailiff_quarantine'), 'bailiff_quarantine')],
  ['bailiff_pods', keyOf(latestStream('bailiff_pods'), 'bailiff_pods')],
  ['bailiff_config', { subject: `${DIRECT}.${latestStream('bailiff_config')}`, body: '{"seq":1}' }],
] as const;

test.each(READS)('a node that reads %s without pause does not hold up its writes', async (bucket, request) => {
  await using nats = await start();
  const writer = await writerOf(nats);
  await using flooding = await flood(nats.port, USER, request);
  await waitFor(() => flooding.received().includes('Nats-Stream: LATEST_'), {
    what: 'the flood',
    state: flooding.received,
  });
  const times = await measure(writer, bucket, ({ length }) => length === WRITES);
  expect(times[WRITES / 2]).toBeLessThan(SLOW_MS);
});

test('control: a node that reads the bucket itself holds them up', async () => {
  await using nats = await startOpen();
  const writer = await writerOf(nats);
  await using flooding = await flood(nats.port, USER, keyOf('KV_bailiff_quarantine', 'bailiff_quarantine'));
  const times = await measure(writer, 'bailiff_quarantine', isSlow);
  expect(times.at(-1)).toBeGreaterThan(SLOW_MS);
  expect(flooding.received()).not.toContain('Permissions Violation');
});

/** Sends one request over each connection. @returns the connections */
async function sendMany(nats: TestNats, stream: string) {
  const open = () => RawNats.connect({ port: nats.port, user: USER, password: `password-of-${USER}` });
  const raws = await Promise.all(Array.from({ length: CONNECTIONS }, open));
  for (const raw of raws)
    raw.publish({ subject: `${DIRECT}.${stream}`, body: MULTI, reply: `_INBOX_collector_node-a.raw` });
  return {
    received: () => raws.map((raw) => raw.received).join(''),
    [Symbol.asyncDispose]: async () => void (await Promise.all(raws.map((raw) => raw[Symbol.asyncDispose]()))),
  };
}

test('a request with many filters does not hold up changes of the configuration; a bucket refuses it', async () => {
  await using nats = await start();
  const writer = await writerOf(nats);
  await using refused = await sendMany(nats, 'KV_bailiff_config');
  await waitFor(() => refused.received().includes('Permissions Violation'), { state: refused.received });
  await using _sent = await sendMany(nats, latestStream('bailiff_config'));
  const times = await measure(writer, 'bailiff_config', ({ length }) => length === WRITES);
  expect(times[WRITES / 2]).toBeLessThan(SLOW_MS);
});

test('control: to the bucket itself, it does', async () => {
  await using nats = await startOpen();
  const writer = await writerOf(nats);
  const [, minor] = /^2\.(\d+)/.exec(writer.nc.info?.version ?? '') ?? [];
  if (Number(minor) < 11) return;
  await using _sent = await sendMany(nats, 'KV_bailiff_config');
  const times = await measure(writer, 'bailiff_config', isSlow);
  expect(times.at(-1)).toBeGreaterThan(SLOW_MS);
});
