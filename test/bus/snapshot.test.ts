import {
  BucketReader,
  type Bus,
  ensureTopology,
  type KvEntry,
  MAX_DOUBTS,
  openBucket,
  SnapshotReader,
} from '@bailiff/bus';
import type { TestNats } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { expect, test, vi } from 'vitest';
import { restoreStream, type SnapshotHead, snapshotStream } from '../../libs/bus/src/backup/stream-snapshot.ts';
import { BucketCopy } from '../../libs/bus/src/kv/bucket-copy.ts';
import { connectCollector, intercepted, startBus, text } from '../support/bus.ts';
import { followConfig } from '../support/config-log.ts';

/** Only pushes and the reads of a test. */
const NO_REREADS = { rereadMs: 3_600_000, firstRereadMs: 3_600_000 };

/** Waits until the copy that nodes read has a revision of a key. */
async function copied(nats: TestNats, bucket: string, key: string, revision: number): Promise<void> {
  const admin = await nats.connect('admin');
  const newest = async () => (await new BucketCopy(admin, bucket).newest(key)).found?.entry.revision;
  await waitFor(async () => (await newest()) === revision, { what: `the copy of ${bucket}`, state: newest });
  await admin.close();
}

/**
 * A bus that loses the pushes of some values and passes everything else. A tombstone's value is
 * empty.
 */
function pushless(bus: Bus, lost: (value: string) => boolean): Bus {
  return intercepted(bus, (_error, message, deliver) => {
    if (!lost(text(message))) deliver();
  });
}

/** Backs up a bucket and its copy. @returns what restores them */
async function backUp(admin: Bus, bucket: string): Promise<() => Promise<void>> {
  const backup: { head: SnapshotHead; chunks: Uint8Array[] }[] = [];
  for (const stream of [`KV_${bucket}`, `LATEST_${bucket}`]) {
    const chunks: Uint8Array[] = [];
    const head = await snapshotStream(admin, stream, async (chunk) => void chunks.push(chunk.slice()));
    backup.push({ head, chunks });
  }
  async function* piecesOf(chunks: readonly Uint8Array[]) {
    yield* chunks;
  }
  return async () => {
    for (const { head } of [...backup].reverse()) await admin.jsm.streams.delete(head.config.name);
    for (const { head, chunks } of backup) await restoreStream(admin, head, piecesOf(chunks));
  };
}

const reported = (entries: KvEntry[]) => entries.map((entry) => (entry.deleted ? 'deleted' : text(entry)));

test('snapshot - delivers the current value, then each change by push, without a consumer on the server', async () => {
  await using nats = await startBus();
  const writer = openBucket(await nats.connect('ipam-sync'), 'bailiff_pods');
  await writer.put('node-a', '1');
  await copied(nats, 'bailiff_pods', 'node-a', 1);
  const entries: KvEntry[] = [];
  const reader = new SnapshotReader(await connectCollector(nats, 'node-a'), 'bailiff_pods', 'node-a', {
    onSnapshot: (entry) => entries.push(entry),
    ...NO_REREADS,
  });
  await waitFor(() => entries.length === 1);
  await writer.put('node-b', 'of another node');
  const revision = await writer.put('node-a', '2');
  await waitFor(() => entries.length === 2, { what: 'the push', state: () => reported(entries) });
  await writer.delete('node-a');
  await waitFor(() => entries.length === 3, { what: 'the tombstone', state: () => reported(entries) });
  expect(reported(entries)).toEqual(['1', '2', 'deleted']);
  expect(entries[1]).toMatchObject({ key: 'node-a', revision });
  expect(reader.rereads).toBe(1);
  expect(reader.gaps).toBe(0);
  const admin = await nats.connect('admin');
  expect((await admin.jsm.streams.info('KV_bailiff_pods')).state.consumer_count).toBe(0);
  reader.close();
  await writer.put('node-a', '4');
  expect(entries).toHaveLength(3);
});

test('snapshot - a bus of an earlier version without copies, which is then set up', async () => {
  await using nats = await startBus();
  const admin = await nats.connect('admin');
  await admin.jsm.streams.delete('LATEST_bailiff_pods');
  const writer = openBucket(await nats.connect('ipam-sync'), 'bailiff_pods');
  for (const value of ['1', '2']) await writer.put('node-a', value);
  const story: string[] = [];
  // The rights of then.
  const reader = new SnapshotReader({ reads: admin, pushes: admin }, 'bailiff_pods', 'node-a', {
    onSnapshot: (entry) => story.push(text(entry)),
    onRecreated: () => story.push('restart'),
    rereadMs: 20,
  });
  await waitFor(() => story.length === 1, { what: 'the value' });
  await ensureTopology(admin);
  await copied(nats, 'bailiff_pods', 'node-a', 2);
  const { rereads } = reader;
  await waitFor(() => reader.rereads > rereads + 1, { what: 'a read of the copy' });
  await writer.put('node-a', '3');
  await waitFor(() => story.length === 2, { what: 'the next value', state: () => story });
  expect(story).toEqual(['2', '3']);
  reader.close();
});

test('snapshot - a missing key is reported once, and its value when it appears', async () => {
  await using nats = await startBus();
  let missing = 0;
  const entries: KvEntry[] = [];
  const reader = new SnapshotReader(await connectCollector(nats, 'node-a'), 'bailiff_pods', 'node-a', {
    onSnapshot: (entry) => entries.push(entry),
    onMissing: () => {
      missing += 1;
    },
    rereadMs: 20,
  });
  await waitFor(() => reader.rereads >= 3);
  expect(missing).toBe(1);
  await openBucket(await nats.connect('ipam-sync'), 'bailiff_pods').put('node-a', '1');
  await waitFor(() => entries.length === 1);
  reader.close();
});

test('snapshot - the re-read recovers lost pushes, and the next push shows the gap', async () => {
  await using nats = await startBus();
  const writer = openBucket(await nats.connect('ipam-sync'), 'bailiff_pods');
  await writer.put('node-a', '1');
  await copied(nats, 'bailiff_pods', 'node-a', 1);
  const entries: KvEntry[] = [];
  const { reads: bus, pushes } = await connectCollector(nats, 'node-a');
  const quiet = pushless(await pushes, (value) => ['2', '3', '5'].includes(value));
  const reader = new SnapshotReader({ reads: bus, pushes: quiet }, 'bailiff_pods', 'node-a', {
    onSnapshot: (entry) => entries.push(entry),
    ...NO_REREADS,
  });
  await waitFor(() => entries.length === 1);
  for (const value of ['2', '3', '4']) await writer.put('node-a', value);
  await waitFor(() => entries.length === 2, { what: 'the push', state: () => reported(entries) });
  expect(reported(entries)).toEqual(['1', '4']);
  expect(reader.gaps).toBe(1);
  await writer.put('node-a', '5');
  // Control: once the server has sent everything, only a read reveals the value.
  await bus.nc.flush();
  expect(reported(entries)).toEqual(['1', '4']);
  await copied(nats, 'bailiff_pods', 'node-a', 5);
  reader.reread();
  await waitFor(() => entries.length === 3, { what: 'the re-read', state: () => reported(entries) });
  expect(reported(entries)).toEqual(['1', '4', '5']);
  reader.close();
});

test('snapshot - the timer reads by itself', async () => {
  await using nats = await startBus();
  const writer = openBucket(await nats.connect('ipam-sync'), 'bailiff_pods');
  const entries: KvEntry[] = [];
  const { reads: bus, pushes } = await connectCollector(nats, 'node-a');
  const quiet = pushless(await pushes, () => true);
  const reader = new SnapshotReader({ reads: bus, pushes: quiet }, 'bailiff_pods', 'node-a', {
    onSnapshot: (entry) => entries.push(entry),
    rereadMs: 50,
  });
  await waitFor(() => reader.rereads === 1);
  await writer.put('node-a', '1');
  await waitFor(() => entries.length === 1);
  expect(reader.confirmedAtMs).toBeGreaterThan(0);
  reader.close();
});

test('snapshot - changes made while the bus was unavailable arrive when it is back; until then the last value stays in force', async () => {
  await using nats = await startBus();
  await openBucket(await nats.connect('ipam-sync'), 'bailiff_pods').put('node-a', '1');
  await copied(nats, 'bailiff_pods', 'node-a', 1);
  const entries: KvEntry[] = [];
  const errors: unknown[] = [];
  const { reads: bus, pushes } = await connectCollector(nats, 'node-a');
  const reader = new SnapshotReader({ reads: bus, pushes }, 'bailiff_pods', 'node-a', {
    onSnapshot: (entry) => entries.push(entry),
    onError: (error) => errors.push(error),
    ...NO_REREADS,
  });
  await waitFor(() => entries.length === 1);
  await nats.kill();
  await waitFor(() => !bus.connected);
  reader.reread();
  await waitFor(() => errors.length > 0);
  expect(errors[0]).toMatchObject({ code: 'BUS_UNREACHABLE' });
  expect(reported(entries)).toEqual(['1']);
  await nats.restart();
  await openBucket(await nats.connect('ipam-sync'), 'bailiff_pods').put('node-a', '2');
  await waitFor(() => entries.length === 2, { what: 'the change', state: () => reported(entries) });
  expect(reported(entries)).toEqual(['1', '2']);
  reader.close();
});

test('snapshot - a callback that throws is reported and does not end the connection', async () => {
  await using nats = await startBus();
  const writer = openBucket(await nats.connect('ipam-sync'), 'bailiff_pods');
  await writer.put('node-a', '1');
  await copied(nats, 'bailiff_pods', 'node-a', 1);
  const errors: unknown[] = [];
  const { reads: bus, pushes } = await connectCollector(nats, 'node-a');
  const reader = new SnapshotReader({ reads: bus, pushes }, 'bailiff_pods', 'node-a', {
    onSnapshot: (entry) => {
      throw new Error(`cannot take ${text(entry)}`);
    },
    onError: (error) => errors.push(error),
  });
  await waitFor(() => errors.length === 1);
  await writer.put('node-a', '2');
  await waitFor(() => errors.length === 2, { what: 'the second', state: () => errors });
  expect(errors.map(String)).toEqual(['Error: cannot take 1', 'Error: cannot take 2']);
  await bus.nc.flush();
  reader.close();
});

test('bucket reader - delivers all keys, then changes, tombstones and lost pushes', async () => {
  await using nats = await startBus();
  const writer = openBucket(await nats.connect('cli'), 'bailiff_config');
  for (const value of ['1', '2', '3']) await writer.put('spoof.cluster._.default', value);
  await writer.put('disarm.cluster._.all', 'd');
  await writer.put('spoof.namespace.a.default', 'x');
  await writer.delete('spoof.namespace.a.default');
  await copied(nats, 'bailiff_config', 'spoof.namespace.a.default', 6);
  const entries: KvEntry[] = [];
  let synced = 0;
  const { reads: bus, pushes } = await connectCollector(nats, 'node-a');
  const quiet = pushless(await pushes, (value) => value === 'new' || value === '');
  const reader = new BucketReader({ reads: bus, pushes: quiet }, 'bailiff_config', 'spoof.>', {
    onEntry: (entry) => entries.push(entry),
    onSynced: () => {
      synced += 1;
    },
    ...NO_REREADS,
  });
  await waitFor(() => synced === 1);
  const seen = () => entries.map((entry) => `${entry.key}=${entry.deleted ? 'deleted' : text(entry)}`);
  expect(seen().sort()).toEqual(['spoof.cluster._.default=3', 'spoof.namespace.a.default=deleted']);
  await writer.put('spoof.cluster._.default', '4');
  await writer.put('disarm.cluster._.all', 'not ours');
  await waitFor(() => entries.length === 3, { what: 'the push', state: seen });
  await writer.put('spoof.namespace.b.default', 'new');
  await writer.delete('spoof.cluster._.default');
  await copied(nats, 'bailiff_config', 'spoof.cluster._.default', 10);
  expect(entries).toHaveLength(3);
  reader.reread();
  await waitFor(() => entries.length === 5, { what: 'the re-read', state: seen });
  expect(seen().slice(2)).toEqual([
    'spoof.cluster._.default=4',
    'spoof.namespace.b.default=new',
    'spoof.cluster._.default=deleted',
  ]);
  const confirmedAt = reader.confirmedAtMs;
  reader.reread();
  await waitFor(() => reader.confirmedAtMs > confirmedAt, { what: 'another read' });
  expect(entries).toHaveLength(5);
  expect(synced).toBe(1);
  const admin = await nats.connect('admin');
  expect((await admin.jsm.streams.info('KV_bailiff_config')).state.consumer_count).toBe(0);
  reader.close();
});

/**
 * Deletes a bucket's stream with its content and creates it again, like a server that lost its disk
 * and was set up again.
 */
async function emptyBucket(nats: TestNats, bucket: string): Promise<void> {
  const admin = await nats.connect('admin');
  await admin.jsm.streams.delete(`KV_${bucket}`);
  await ensureTopology(admin);
  await admin.close();
}

test('snapshot - a recreated stream is read from its beginning, by push, although its revisions are lower', async () => {
  await using nats = await startBus();
  const writer = openBucket(await nats.connect('ipam-sync'), 'bailiff_pods');
  for (const value of ['1', '2', '3']) await writer.put('node-a', value);
  await copied(nats, 'bailiff_pods', 'node-a', 3);
  const story: string[] = [];
  const reader = new SnapshotReader(await connectCollector(nats, 'node-a'), 'bailiff_pods', 'node-a', {
    onSnapshot: (entry) => story.push(`${text(entry)} at ${entry.revision}`),
    onRecreated: () => story.push('restart'),
    onMissing: () => story.push('missing'),
    rereadMs: 20,
  });
  await waitFor(() => story.length === 1);
  await writer.put('node-a', '4');
  await waitFor(() => story.length === 2);
  await emptyBucket(nats, 'bailiff_pods');
  await writer.put('node-a', 'new');
  await waitFor(() => story.at(-1) === 'new at 1', { what: 'the new value', state: () => story });
  expect(story.filter((line) => line !== 'missing')).toEqual(['3 at 3', '4 at 4', 'restart', 'new at 1']);
  expect(reader.restarts).toBe(1);
  await writer.put('node-a', 'newer');
  await waitFor(() => story.at(-1) === 'newer at 2', { what: 'the next value', state: () => story });
  reader.close();
});

test('snapshot - a stream restored from a backup without the newest pushes is followed again from its next change', async () => {
  await using nats = await startBus();
  const admin = await nats.connect('admin');
  const writer = openBucket(await nats.connect('ipam-sync'), 'bailiff_pods');
  await writer.put('node-a', '1');
  await copied(nats, 'bailiff_pods', 'node-a', 1);
  const entries: KvEntry[] = [];
  const reader = new SnapshotReader(await connectCollector(nats, 'node-a'), 'bailiff_pods', 'node-a', {
    onSnapshot: (entry) => entries.push(entry),
    ...NO_REREADS,
  });
  await waitFor(() => entries.length === 1);
  const restore = await backUp(admin, 'bailiff_pods');
  // Pushed, but not read before the restore.
  for (const value of ['2', '3']) await writer.put('node-a', value);
  await waitFor(() => entries.length === 3, { what: 'the pushes', state: () => reported(entries) });
  const createdAt = async () => (await admin.jsm.streams.info('LATEST_bailiff_pods')).created;
  const before = await createdAt();
  await restore();
  reader.reread();
  if ((await createdAt()) === before) {
    await waitFor(() => reader.rereads >= MAX_DOUBTS + 2, { what: 'doubtful reads', timeoutMs: 30_000 });
    // Nothing says that the copy does not only lag: the last value stays.
    expect(reported(entries)).toEqual(['1', '2', '3']);
  } else {
    // nats-server 2.15 renews the creation time.
    await waitFor(() => entries.length === 4, { what: 'the restored value', state: () => reported(entries) });
    expect(reported(entries).at(-1)).toBe('1');
  }
  const told = entries.length;
  expect(await writer.put('node-a', '4')).toBe(2);
  await waitFor(() => entries.length > told, { what: 'the change', timeoutMs: 30_000, state: () => reported(entries) });
  expect(reported(entries).at(-1)).toBe('4');
  await writer.put('node-a', '5');
  await waitFor(() => reported(entries).at(-1) === '5', { what: 'the next one', state: () => reported(entries) });
  reader.close();
});

test('snapshot - a push of a new stream is recognised by its predecessor, also when its revision is higher', async () => {
  await using nats = await startBus();
  const writer = openBucket(await nats.connect('ipam-sync'), 'bailiff_pods');
  await writer.put('node-a', 'old');
  await copied(nats, 'bailiff_pods', 'node-a', 1);
  const story: string[] = [];
  const reader = new SnapshotReader(await connectCollector(nats, 'node-a'), 'bailiff_pods', 'node-a', {
    onSnapshot: (entry) => story.push(text(entry)),
    onRecreated: () => story.push('restart'),
    ...NO_REREADS,
  });
  await waitFor(() => story.length === 1);
  // Control: a gap within one stream is not a new stream.
  await writer.put('node-b', 'of another node');
  await writer.put('node-a', 'older');
  await waitFor(() => story.length === 2);
  await emptyBucket(nats, 'bailiff_pods');
  for (let other = 0; other < 5; other += 1) await writer.put(`node-${other}`, 'x');
  await writer.put('node-a', 'new');
  await waitFor(() => story.includes('new'), { what: 'the new value', state: () => story });
  expect(story).toEqual(['old', 'older', 'restart', 'new']);
  reader.close();
});

test('snapshot - a stream recreated while the bus was unavailable, its pushes lost, is found by a periodic re-read', async () => {
  await using nats = await startBus();
  const writer = openBucket(await nats.connect('ipam-sync'), 'bailiff_pods');
  for (const value of ['1', '2', '3']) await writer.put('node-a', value);
  await copied(nats, 'bailiff_pods', 'node-a', 3);
  const story: string[] = [];
  const { reads: bus, pushes } = await connectCollector(nats, 'node-a');
  const quiet = pushless(await pushes, () => true);
  const reader = new SnapshotReader({ reads: bus, pushes: quiet }, 'bailiff_pods', 'node-a', {
    onSnapshot: (entry) => story.push(text(entry)),
    onRecreated: () => story.push('restart'),
    onMissing: () => story.push('missing'),
    rereadMs: 20,
  });
  await waitFor(() => story.length === 1);
  await emptyBucket(nats, 'bailiff_pods');
  await waitFor(() => story.includes('missing'), { what: 'that it is not there', state: () => story });
  expect(story).toEqual(['3', 'restart', 'missing']);
  await writer.put('node-a', 'new');
  await waitFor(() => story.includes('new'), { what: 'the new value', state: () => story });
  await emptyBucket(nats, 'bailiff_pods');
  await writer.put('node-a', 'same number');
  await waitFor(() => story.includes('same number'), {
    what: 'the same revision of another stream',
    state: () => story,
  });
  expect(story.filter((line) => line === 'restart')).toHaveLength(2);
  reader.close();
});

test('snapshot - a single response from a lagging replica is not accepted as a new stream', async () => {
  await using nats = await startBus();
  const writer = openBucket(await nats.connect('ipam-sync'), 'bailiff_pods');
  await writer.put('node-a', '1');
  const copy = new BucketCopy(await nats.connect('collector-node-a'), 'bailiff_pods');
  await copied(nats, 'bailiff_pods', 'node-a', 1);
  const behind = await copy.newest('node-a');
  await writer.put('node-a', '2');
  await copied(nats, 'bailiff_pods', 'node-a', 2);
  const story: string[] = [];
  const reader = new SnapshotReader(await connectCollector(nats, 'node-a'), 'bailiff_pods', 'node-a', {
    onSnapshot: (entry) => story.push(text(entry)),
    onRecreated: () => story.push('restart'),
    rereadMs: 20,
  });
  await waitFor(() => story.length === 1);
  const current = await copy.newest('node-a');
  let answers = 0;
  const newest = vi.spyOn(BucketCopy.prototype, 'newest').mockImplementation(async () => {
    answers += 1;
    return answers % MAX_DOUBTS === 0 ? current : behind;
  });
  try {
    await waitFor(() => answers >= 3 * MAX_DOUBTS, { what: 'answers', state: () => answers });
  } finally {
    newest.mockRestore();
  }
  expect(story).toEqual(['2']);
  expect(reader.restarts).toBe(0);
  reader.close();
});

test('snapshot - the same revision at a later place of the copy is one of another life', async () => {
  await using nats = await startBus();
  await openBucket(await nats.connect('ipam-sync'), 'bailiff_pods').put('node-a', 'lost');
  await copied(nats, 'bailiff_pods', 'node-a', 1);
  const story: string[] = [];
  const reader = new SnapshotReader(await connectCollector(nats, 'node-a'), 'bailiff_pods', 'node-a', {
    onSnapshot: (entry) => story.push(text(entry)),
    onRecreated: () => story.push('restart'),
    ...NO_REREADS,
  });
  await waitFor(() => story.length === 1);
  const { found, stream } = await new BucketCopy(await nats.connect('admin'), 'bailiff_pods').newest('node-a');
  if (!found) throw new Error('the copy has it');
  const place = { revision: found.place.revision + 5, timestampMicros: found.place.timestampMicros + 1 };
  const entry = { ...found.entry, value: Buffer.from('new') };
  const newest = vi
    .spyOn(BucketCopy.prototype, 'newest')
    .mockResolvedValue({ found: { entry, place, stream }, stream });
  try {
    reader.reread();
    await waitFor(() => reader.rereads > 1 && story.includes('new'), { what: 'the new value', state: () => story });
  } finally {
    newest.mockRestore();
  }
  expect(story).toEqual(['lost', 'restart', 'new']);
  reader.close();
});

test('bucket reader - a recreated stream is delivered completely, with deletions for the keys that it no longer has', async () => {
  await using nats = await startBus();
  const writer = openBucket(await nats.connect('cli'), 'bailiff_config');
  for (const value of ['1', '2', '3']) await writer.put('spoof.cluster._.default', value);
  await writer.put('spoof.namespace.a.default', 'gone later');
  await copied(nats, 'bailiff_config', 'spoof.namespace.a.default', 4);
  const story: string[] = [];
  const { reads: bus, pushes } = await connectCollector(nats, 'node-a');
  const quiet = pushless(await pushes, (value) => value.startsWith('lost'));
  const reader = new BucketReader({ reads: bus, pushes: quiet }, 'bailiff_config', 'spoof.>', {
    onEntry: (entry) => story.push(`${entry.key}=${text(entry)}`),
    onSynced: () => story.push('synced'),
    onRecreated: () => story.push('restart'),
    ...NO_REREADS,
  });
  await waitFor(() => story.includes('synced'));
  await emptyBucket(nats, 'bailiff_config');
  await writer.put('spoof.cluster._.default', 'lost');
  await writer.put('spoof.namespace.b.default', 'lost too');
  await copied(nats, 'bailiff_config', 'spoof.namespace.b.default', 2);
  reader.reread();
  await waitFor(() => story.filter((line) => line === 'synced').length === 2, { what: 'the new', state: () => story });
  const restart = story.indexOf('restart');
  expect(story.slice(0, restart).sort()).toEqual([
    'spoof.cluster._.default=3',
    'spoof.namespace.a.default=gone later',
    'synced',
  ]);
  expect(story.slice(restart + 1)).toEqual([
    'spoof.cluster._.default=lost',
    'spoof.namespace.b.default=lost too',
    'synced',
  ]);
  await writer.put('spoof.namespace.b.default', 'pushed');
  await waitFor(() => story.at(-1) === 'spoof.namespace.b.default=pushed', { what: 'the push', state: () => story });
  expect(reader.restarts).toBe(1);
  reader.close();
});

test('bucket reader - a bucket that was restored, and written as often as before, is delivered completely', async () => {
  await using nats = await startBus();
  const admin = await nats.connect('admin');
  const writer = openBucket(await nats.connect('cli'), 'bailiff_config');
  const put = (name: string, value: string) => writer.put(`spoof.namespace.${name}.default`, value);
  const story: string[] = [];
  const { reads: bus, pushes } = await connectCollector(nats, 'node-a');
  const quiet = pushless(await pushes, () => true);
  await put('a', 'kept');
  await copied(nats, 'bailiff_config', 'spoof.namespace.a.default', 1);
  const restore = await backUp(admin, 'bailiff_config');
  for (const name of ['b', 'c']) await put(name, 'lost');
  await copied(nats, 'bailiff_config', 'spoof.namespace.c.default', 3);
  const reader = new BucketReader({ reads: bus, pushes: quiet }, 'bailiff_config', 'spoof.>', {
    onEntry: (entry) => story.push(`${entry.key.split('.')[2]}=${text(entry)}`),
    onRecreated: () => story.push('restart'),
    ...NO_REREADS,
  });
  await waitFor(() => story.length === 3, { what: 'all values', state: () => story });
  // The control: the same copy is not read again.
  const rereads = reader.rereads;
  reader.reread();
  await waitFor(() => reader.rereads > rereads && reader.confirmedAtMs > 0);
  await restore();
  for (const name of ['d', 'e']) await put(name, 'new');
  await copied(nats, 'bailiff_config', 'spoof.namespace.e.default', 3);
  reader.reread();
  await waitFor(() => story.includes('e=new'), { what: 'the new values', state: () => story });
  expect(story).toEqual(['a=kept', 'b=lost', 'c=lost', 'restart', 'a=kept', 'd=new', 'e=new']);
  reader.close();
});

test('bucket reader - subjects that are no keys, wildcards included, do not stop the delivery of other keys', async () => {
  await using nats = await startBus();
  const cli = await nats.connect('cli');
  await openBucket(cli, 'bailiff_config').put('spoof.cluster._.default', 'true');
  const strange = ['spoof.x@y', 'spoof.*.x', 'spoof.a.>', '>'];
  for (const key of strange) cli.nc.publish(`$KV.bailiff_config.${key}`, '{}');
  await cli.nc.flush();
  const admin = await nats.connect('admin');
  const count = async () => (await admin.jsm.streams.info('KV_bailiff_config')).state.messages;
  await waitFor(async () => (await count()) === strange.length + 1, {
    what: 'the control: they are stored',
    state: count,
  });
  await copied(nats, 'bailiff_config', 'spoof.cluster._.default', 1);
  const story: string[] = [];
  const reader = new BucketReader(await connectCollector(nats, 'node-a'), 'bailiff_config', 'spoof.>', {
    onEntry: (entry) => story.push(`${entry.key}=${text(entry)}`),
    onSynced: () => story.push('synced'),
    rereadMs: 200,
  });
  await waitFor(() => story.includes('synced'), { what: 'it to be synced', state: () => story });
  expect(story).toEqual(['spoof.cluster._.default=true', 'synced']);
  cli.nc.publish('$KV.bailiff_config.spoof.z@z', '{}');
  await openBucket(cli, 'bailiff_config').put('spoof.namespace.a.default', 'more');
  await waitFor(() => story.length === 3, { what: 'the next key', state: () => story });
  for (const user of ['cli', 'ipam-sync']) {
    const bucket = openBucket(await nats.connect(user), 'bailiff_config');
    expect(await bucket.keys()).toEqual(['spoof.cluster._.default', 'spoof.namespace.a.default']);
  }
  const { log, newest } = followConfig(await nats.connect('correlator'));
  await log.whenCompleteTo(Date.now() * 1000);
  expect([...newest().keys()].sort()).toEqual(['spoof.cluster._.default', 'spoof.namespace.a.default']);
  await log.close();
  reader.close();
});
