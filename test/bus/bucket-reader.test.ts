// What a BucketReader reads without asking for the state of the stream: the list of keys, and
// whether the stream is still the same. test/bus/snapshot.test.ts has the rest.
import { BucketReader, type Bus, CONFIG_HISTORY, ensureTopology, openBucket, streamConfigs } from '@bailiff/bus';
import type { TestNats } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { startBus, text } from '../support/bus.ts';

const BUCKET = 'KV_bailiff_config';
const LIST = 'LATEST_bailiff_config';
const KEY = 'spoof.cluster._.default';
const OTHER = 'spoof.namespace.a.default';

/** A reader that gets no pushes. */
async function follow(nats: TestNats, rereadMs = 3_600_000) {
  const story: string[] = [];
  const buses = { reads: await nats.connect('collector-node-a'), pushes: new Promise<Bus>(() => undefined) };
  const reader = new BucketReader(buses, 'bailiff_config', 'spoof.>', {
    onEntry: (entry) => story.push(`${entry.key}=${text(entry)}`),
    onSynced: () => story.push('synced'),
    onRecreated: () => story.push('restart'),
    rereadMs,
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

/** Waits until the list has copied a number of messages. */
async function listed(admin: Bus, count: number): Promise<void> {
  const copied = async () => (await admin.jsm.streams.info(LIST)).state.last_seq;
  await waitFor(async () => (await copied()) === count, { what: 'the list of keys', state: copied });
}

test('bucket reader - reads one value of each key; on a bus without the list of keys, all revisions', async () => {
  await using nats = await startBus();
  await write(nats, KEY, numbers(30));
  await write(nats, OTHER, ['a']);
  const admin = await nats.connect('admin');
  await listed(admin, 31);
  const one = await follow(nats);
  await one.until('synced');
  expect(one.story).toEqual([`${KEY}=30`, `${OTHER}=a`, 'synced']);
  one.reader.close();
  // Control: a bus of an earlier version.
  await admin.jsm.streams.delete(LIST);
  const all = await follow(nats);
  await all.until('synced');
  expect(all.story).toEqual([...numbers(30).map((value) => `${KEY}=${value}`), `${OTHER}=a`, 'synced']);
  all.reader.close();
});

test('bucket reader - a list of keys of an earlier life of the bucket is not believed, and setup renews it', async () => {
  await using nats = await startBus();
  await write(nats, KEY, numbers(5));
  await write(nats, OTHER, ['gone']);
  const admin = await nats.connect('admin');
  await listed(admin, 6);
  await admin.jsm.streams.delete(BUCKET);
  const config = streamConfigs().find(({ name }) => name === BUCKET);
  await admin.jsm.streams.add(config as Parameters<typeof admin.jsm.streams.add>[0]);
  await write(nats, 'spoof.namespace.b.default', ['new']);
  await write(nats, KEY, ['new']);
  // The control: the list still has the keys of before.
  expect((await admin.jsm.streams.info(LIST)).state.last_seq).toBe(6);
  const { reader, story, until } = await follow(nats, 20);
  await until('synced');
  expect([...new Set(story)]).toEqual(['spoof.namespace.b.default=new', `${KEY}=new`, 'synced']);
  reader.close();
  expect((await ensureTopology(admin)).created).toEqual([LIST]);
  await listed(admin, 2);
  expect((await ensureTopology(admin)).created).toEqual([]);
});

test('bucket reader - a stream that was recreated with more revisions than before is found', async () => {
  await using nats = await startBus();
  await write(nats, KEY, numbers(3));
  const { reader, story, until } = await follow(nats);
  await until('synced');
  const admin = await nats.connect('admin');
  await admin.jsm.streams.delete(BUCKET);
  await ensureTopology(admin);
  await write(nats, OTHER, ['new']);
  await write(nats, KEY, ['new']);
  await write(nats, 'disarm.cluster._.all', numbers(5));
  story.length = 0;
  reader.reread();
  await until('synced');
  expect(story[0]).toBe('restart');
  expect(story.slice(1).sort()).toEqual([`${KEY}=new`, `${OTHER}=new`, 'synced'].sort());
  reader.close();
});

test('bucket reader - a key that changed more often than the bucket keeps is no recreated stream while another message is there', async () => {
  await using nats = await startBus();
  await write(nats, OTHER, ['a']);
  await write(nats, KEY, ['0']);
  const { reader, story, until } = await follow(nats);
  await until('synced');
  const last = `${KEY}=${CONFIG_HISTORY + 5}`;
  const { confirmedAtMs } = reader;
  await write(nats, KEY, numbers(CONFIG_HISTORY + 5));
  reader.reread();
  await until(last);
  expect([reader.restarts, story.filter((line) => line === 'synced').length]).toEqual([0, 1]);
  // Nothing proves that the stream is the same if all of it is gone, so everything is delivered.
  await waitFor(() => reader.confirmedAtMs > confirmedAtMs, { what: 'the end of the read' });
  await write(nats, OTHER, numbers(CONFIG_HISTORY + 5));
  await write(nats, KEY, numbers(CONFIG_HISTORY + 5, 1_000));
  reader.reread();
  await until(`${KEY}=${1_000 + CONFIG_HISTORY + 4}`);
  expect(reader.restarts).toBe(1);
  reader.close();
});
