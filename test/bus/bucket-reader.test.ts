// What a BucketReader reads of the copy of a bucket, and how it notices that the copy is another one.
// test/bus/snapshot.test.ts has the rest.
import {
  BucketReader,
  type Bus,
  ensureTopology,
  FRAMES_PER_SECOND,
  latestStream,
  NODE_INTERVAL_MS,
  NODE_MESSAGES_PER_SECOND,
  openBucket,
  streamConfigs,
} from '@bailiff/bus';
import type { TestNats } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { BucketCopy } from '../../libs/bus/src/kv/bucket-copy.ts';
import { startBus, text } from '../support/bus.ts';

const BUCKET = 'KV_bailiff_config';
const COPY = latestStream('bailiff_config');
const KEY = 'spoof.cluster._.default';
const OTHER = 'spoof.namespace.a.default';

/** A reader that gets no pushes. */
async function follow(nats: TestNats, rereadMs = 3_600_000, firstRereadMs = rereadMs) {
  const story: string[] = [];
  const buses = { reads: await nats.connect('collector-node-a'), pushes: new Promise<Bus>(() => undefined) };
  const reader = new BucketReader(buses, 'bailiff_config', 'spoof.>', {
    onEntry: (entry) => story.push(`${entry.key}=${text(entry)}`),
    onSynced: () => story.push('synced'),
    onComplete: () => story.push('complete'),
    onRecreated: () => story.push('restart'),
    rereadMs,
    firstRereadMs,
  });
  const until = (line: string) =>
    waitFor(() => story.includes(line), { what: line, state: () => story, timeoutMs: 20_000 });
  return { reader, story, until };
}

async function write(nats: TestNats, key: string, values: readonly string[]): Promise<void> {
  const cli = await nats.connect('cli');
  for (const value of values) await openBucket(cli, 'bailiff_config').put(key, value);
  await cli.close();
}

const numbers = (count: number, from = 1) => Array.from({ length: count }, (_, n) => String(n + from));

/** Waits until the copy has a revision of a key. */
async function copied(admin: Bus, key: string, revision: number): Promise<void> {
  const newest = async () => (await new BucketCopy(admin, 'bailiff_config').newest(key)).found?.entry.revision;
  await waitFor(async () => (await newest()) === revision, { what: 'the copy', state: newest });
}

test('bucket reader - reads one value of each key', async () => {
  await using nats = await startBus();
  await write(nats, KEY, numbers(30));
  await write(nats, OTHER, ['a']);
  await copied(await nats.connect('admin'), OTHER, 31);
  const { reader, story, until } = await follow(nats);
  await until('complete');
  expect(story).toEqual([`${KEY}=30`, `${OTHER}=a`, 'synced', 'complete']);
  reader.close();
});

test('bucket reader - keeps what it has while the copy is of an earlier life of the bucket, and setup renews it', async () => {
  await using nats = await startBus();
  await write(nats, KEY, numbers(5));
  await write(nats, OTHER, ['gone']);
  const admin = await nats.connect('admin');
  await copied(admin, OTHER, 6);
  await admin.jsm.streams.delete(BUCKET);
  const config = streamConfigs().find(({ name }) => name === BUCKET);
  await admin.jsm.streams.add(config as Parameters<typeof admin.jsm.streams.add>[0]);
  await write(nats, 'spoof.namespace.b.default', ['new']);
  await write(nats, KEY, ['new']);
  // The control: the copy still has what was before.
  await copied(admin, OTHER, 6);
  const { reader, story, until } = await follow(nats, 20);
  await until('synced');
  expect(story.slice(0, 3)).toEqual([`${KEY}=5`, `${OTHER}=gone`, 'synced']);
  expect((await ensureTopology(admin)).created).toEqual([COPY]);
  await until(`${KEY}=new`);
  const values = story.slice(story.indexOf('restart')).filter((line) => !/synced|complete/.test(line));
  expect(values).toEqual(['restart', 'spoof.namespace.b.default=new', `${KEY}=new`]);
  expect((await ensureTopology(admin)).created).toEqual([]);
  reader.close();
});

test('bucket reader - a bucket that was recreated with more revisions than before is found', async () => {
  await using nats = await startBus();
  await write(nats, KEY, numbers(3));
  const admin = await nats.connect('admin');
  await copied(admin, KEY, 3);
  const { reader, story, until } = await follow(nats);
  await until('synced');
  await admin.jsm.streams.delete(BUCKET);
  await ensureTopology(admin);
  await write(nats, OTHER, ['new']);
  await write(nats, KEY, ['new']);
  await write(nats, 'disarm.cluster._.all', numbers(5));
  await copied(admin, 'disarm.cluster._.all', 7);
  story.length = 0;
  reader.reread();
  await until('complete');
  expect(story).toEqual(['restart', `${OTHER}=new`, `${KEY}=new`, 'synced', 'complete']);
  reader.close();
});

test('bucket reader - changes of all keys do not count as a recreated bucket', async () => {
  await using nats = await startBus();
  await write(nats, KEY, ['0']);
  await write(nats, OTHER, ['a']);
  const admin = await nats.connect('admin');
  await copied(admin, OTHER, 2);
  const { reader, story, until } = await follow(nats);
  await until('synced');
  await write(nats, KEY, numbers(5));
  await write(nats, OTHER, numbers(5, 1_000));
  await copied(admin, OTHER, 12);
  reader.reread();
  await until(`${OTHER}=1004`);
  expect([reader.restarts, story.filter((line) => line === 'synced').length]).toEqual([0, 1]);
  reader.close();
});

test('bucket reader - that a copy lacks a key proves nothing until it was read for some time, and never while it is empty', async () => {
  await using nats = await startBus();
  const { reader, story, until } = await follow(nats, 20);
  await until('synced');
  await waitFor(() => reader.rereads > 3, { what: 'more reads' });
  expect(story).toEqual(['synced']);
  await write(nats, OTHER, ['a']);
  await until('complete');
  expect(story).toEqual(['synced', `${OTHER}=a`, 'complete']);
  reader.close();
});

test('bucket reader - what it reads of a copy that is being filled is replaced soon by newer revisions', async () => {
  await using nats = await startBus();
  await write(nats, KEY, ['old', 'new']);
  const admin = await nats.connect('admin');
  await copied(admin, KEY, 2);
  const { reader, story, until } = await follow(nats, 6_000, 1_500);
  await until('complete');
  // A copy that has the first revisions of the bucket so far.
  const { config } = await admin.jsm.streams.info(COPY);
  await admin.jsm.streams.delete(COPY);
  await admin.jsm.streams.add({ name: 'BEGINNING', subjects: ['beginning.>'] });
  await admin.js.publish(`beginning.${KEY}`, 'old');
  const subject_transforms = [{ src: 'beginning.>', dest: '$KV.bailiff_config.>' }];
  await admin.jsm.streams.add({ ...config, name: COPY, sources: [{ name: 'BEGINNING', subject_transforms }] });
  story.length = 0;
  reader.reread();
  await until(`${KEY}=old`);
  await admin.jsm.streams.update(COPY, { sources: config.sources });
  const filledMs = performance.now();
  await until(`${KEY}=new`);
  expect(performance.now() - filledMs).toBeLessThan(4_000);
  reader.close();
});

test('bucket reader - a header of a writer cannot replace the revision in the bucket', async () => {
  await using nats = await startBus();
  const admin = await nats.connect('admin');
  const headers = { 'Nats-Stream-Source': `KV_bailiff_config ${Number.MAX_SAFE_INTEGER} > >` };
  const bucket = openBucket(await nats.connect('ipam-sync'), 'bailiff_config');
  const refusal = await bucket.put(KEY, 'frozen', { headers }).then(() => null, String);
  if (refusal !== null) {
    // Newer servers.
    expect(refusal).toContain('stream source header is not allowed');
    return;
  }
  await copied(admin, KEY, 1);
  const { reader, until } = await follow(nats, 20);
  await until(`${KEY}=frozen`);
  await write(nats, KEY, ['changed']);
  await until(`${KEY}=changed`);
  reader.close();
});

/** Reads in a second beside the most frames of a collector, before bus-auth ends it; at once, 100 ms of a rate begin. */
const READS_BESIDE_FRAMES =
  NODE_MESSAGES_PER_SECOND - (FRAMES_PER_SECOND * (NODE_INTERVAL_MS + 100)) / NODE_INTERVAL_MS;

test.each([
  ['one connection stay below what bus-auth ends', 1],
  ['a connection each do not: the control', 3],
])('bucket reader - readers of three kinds with %s', async (_, connections) => {
  await using nats = await startBus();
  const kinds = ['spoof', 'disarm', 'runtime'];
  const bucket = openBucket(await nats.connect('cli'), 'bailiff_config');
  const keys = kinds.flatMap((kind) => numbers(200).map((name) => `${kind}.namespace.n-${name}.default`));
  for (const key of keys) await bucket.put(key, '1');
  await copied(await nats.connect('admin'), keys.at(-1) as string, keys.length);
  const buses = await Promise.all(numbers(connections).map(() => nats.connect('collector-node-a')));
  const readMs: number[] = [];
  const readers = kinds.map((kind, index) => {
    const followed = { reads: buses[index % connections] as Bus, pushes: new Promise<Bus>(() => undefined) };
    const onEntry = () => void readMs.push(performance.now());
    return new BucketReader(followed, 'bailiff_config', `${kind}.>`, { onEntry });
  });
  await waitFor(() => readMs.length === keys.length, {
    what: 'all keys',
    state: () => readMs.length,
    timeoutMs: 30_000,
  });
  const after = (fromMs: number) => readMs.filter((ms) => ms >= fromMs && ms < fromMs + NODE_INTERVAL_MS).length;
  const rate = (Math.max(...readMs.map(after)) * 1_000) / NODE_INTERVAL_MS;
  if (connections === 1) expect(rate).toBeLessThan(READS_BESIDE_FRAMES);
  else expect(rate).toBeGreaterThan(READS_BESIDE_FRAMES);
  for (const reader of readers) reader.close();
});
