import { setTimeout } from 'node:timers/promises';
import {
  type Bus,
  ensureTopology,
  getLastOf,
  getMessage,
  getNextMessage,
  type KvEntry,
  openBucket,
} from '@bailiff/bus';
import { waitFor } from '@bailiff/service/testing';
import { Kvm } from '@nats-io/kv';
import { expect, test } from 'vitest';
import { startBus, text, underWay } from '../support/bus.ts';

test('kv - a value is put, read, overwritten, deleted and created again', async () => {
  await using nats = await startBus();
  const bucket = openBucket(await nats.connect('ipam-sync'), 'bailiff_pods');
  expect(await bucket.get('node-a')).toBeNull();
  const first = await bucket.create('node-a', 'one');
  expect(await bucket.get('node-a')).toMatchObject({ key: 'node-a', revision: first, deleted: false });
  const second = await bucket.put('node-a', 'two', { previousRevision: first });
  expect(text((await bucket.get('node-a')) as KvEntry)).toBe('two');
  const tombstone = await bucket.delete('node-a', { previousRevision: second });
  expect(await bucket.get('node-a')).toBeNull();
  expect(await bucket.newest('node-a')).toMatchObject({ revision: tombstone, deleted: true });
  expect(await bucket.create('node-a', 'three')).toBeGreaterThan(tombstone);
});

test('kv - a read of all keys misses none, while each is written again and again', async () => {
  await using nats = await startBus();
  const bucket = openBucket(await nats.connect('admin'), 'bailiff_nodes');
  const keys = ['node-a', 'node-b', 'node-c'];
  let reading = true;
  const writers = keys.map(async (key) => {
    for (let n = 0; reading; n += 1) {
      await bucket.put(key, String(n));
      await setTimeout(2);
    }
  });
  await waitFor(async () => (await bucket.keys()).length === keys.length, { what: 'the first values' });
  const reads: string[][] = [];
  for (let n = 0; n < 30; n += 1) reads.push((await bucket.entries()).map(({ key }) => key).sort());
  reading = false;
  await Promise.all(writers);
  expect(reads).toEqual(Array.from({ length: 30 }, () => keys));
});

test('kv - of two writers with the same revision one is rejected, for a put, a create and a delete', async () => {
  await using nats = await startBus();
  const one = openBucket(await nats.connect('ipam-sync'), 'bailiff_pods');
  const two = openBucket(await nats.connect('ipam-sync'), 'bailiff_pods');
  const created = await Promise.allSettled([one.create('node-a', '1'), two.create('node-a', '2')]);
  expect(created.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  expect(created.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { code: 'BUS_EXISTS' } });
  const previousRevision = (await one.get('node-a'))?.revision as number;
  const put = await Promise.allSettled([
    one.put('node-a', '3', { previousRevision }),
    two.put('node-a', '4', { previousRevision }),
    two.delete('node-a', { previousRevision }),
  ]);
  expect(put.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  for (const result of put) {
    if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'BUS_CONFLICT' });
  }
});

test('kv - counting by compare and set from four writers loses no step', async () => {
  await using nats = await startBus();
  const buckets = await Promise.all(
    [1, 2, 3, 4].map(async () => openBucket(await nats.connect('ipam-sync'), 'bailiff_pods')),
  );
  let conflicts = 0;
  const add = async (bucket: (typeof buckets)[number]) => {
    for (let step = 0; step < 25; ) {
      const entry = await bucket.newest('counter');
      const next = String(Number(entry ? text(entry) : 0) + 1);
      const error = await bucket.put('counter', next, { previousRevision: entry?.revision ?? 0 }).then(
        () => null,
        (cause: { code: string }) => cause.code,
      );
      if (error === null) step += 1;
      else {
        expect(error).toBe('BUS_CONFLICT');
        conflicts += 1;
      }
    }
  };
  await Promise.all(buckets.map(add));
  expect(text((await buckets[0]?.get('counter')) as KvEntry)).toBe('100');
  expect(conflicts).toBeGreaterThan(0);
});

test('kv - a put that is repeated under its message id returns the first revision, and stores no second value', async () => {
  await using nats = await startBus();
  const bucket = openBucket(await nats.connect('ipam-sync'), 'bailiff_pods');
  const options = { previousRevision: 0, msgId: 'put-1' };
  const first = await bucket.put('node-a', 'one', options);
  expect(await bucket.put('node-a', 'one', options)).toBe(first);
  expect((await bucket.history('node-a')).map(({ revision }) => revision)).toEqual([first]);
  const tombstone = await bucket.delete('node-a', { previousRevision: first, msgId: 'delete-1' });
  expect(await bucket.delete('node-a', { previousRevision: first, msgId: 'delete-1' })).toBe(tombstone);
});

test('kv - a put under its own message id is rejected when another writer was first, whatever both wrote', async () => {
  await using nats = await startBus();
  const bucket = openBucket(await nats.connect('ipam-sync'), 'bailiff_pods');
  const first = await bucket.put('node-a', 'one', { previousRevision: 0, msgId: 'put-1' });
  for (const previousRevision of [0, first + 1_000]) {
    const put = bucket.put('node-a', 'one', { previousRevision, msgId: `put-2-${previousRevision}` });
    await expect(put, String(previousRevision)).rejects.toMatchObject({ code: 'BUS_CONFLICT' });
  }
  expect(await bucket.newest('node-a')).toMatchObject({ revision: first });
});

test('kv - keys, entries and history', async () => {
  await using nats = await startBus();
  const bucket = openBucket(await nats.connect('cli'), 'bailiff_config');
  expect(await bucket.keys()).toEqual([]);
  for (const value of ['1', '2', '3']) await bucket.put('spoof.cluster._.default', value);
  await bucket.put('spoof.namespace.a.default', 'x');
  await bucket.put('correlation.cluster._.r', 'r');
  await bucket.delete('correlation.cluster._.r');
  expect(await bucket.keys()).toEqual(['spoof.cluster._.default', 'spoof.namespace.a.default']);
  expect(await bucket.keys('spoof.namespace.>')).toEqual(['spoof.namespace.a.default']);
  expect((await bucket.entries('spoof.>')).map(text)).toEqual(['3', 'x']);
  expect((await bucket.history('spoof.cluster._.default')).map(text)).toEqual(['1', '2', '3']);
  expect((await bucket.history('correlation.cluster._.r')).map(({ deleted }) => deleted)).toEqual([false, true]);
});

test('kv - a watch delivers the present keys, then every change, across a restart of the server', async () => {
  await using nats = await startBus();
  const writer = openBucket(await nats.connect('ipam-sync'), 'bailiff_pods');
  await writer.put('node-a', 'a1');
  await writer.put('node-b', 'b1');
  const reported: string[] = [];
  const end = new AbortController();
  const watching = underWay(
    openBucket(await nats.connect('responder'), 'bailiff_pods').watch({
      onEntry: (entry) => {
        reported.push(`${entry.key}=${entry.deleted ? 'deleted' : text(entry)}`);
      },
      onSynced: () => reported.push('synced'),
      signal: end.signal,
    }),
  );
  await waitFor(() => reported.includes('synced'), { what: 'the sync', state: () => reported });
  expect(reported).toEqual(['node-a=a1', 'node-b=b1', 'synced']);
  await writer.put('node-a', 'a2');
  // After a disconnection a watch delivers only the newest value of each key, so this one must
  // arrive before it.
  await waitFor(() => reported.includes('node-a=a2'), { what: 'the change before the restart', state: () => reported });
  await nats.restart();
  const again = openBucket(await nats.connect('ipam-sync'), 'bailiff_pods');
  await again.put('node-b', 'b2');
  await again.delete('node-a');
  await waitFor(() => reported.length >= 6, { what: 'the changes', state: () => reported });
  expect(reported.slice(3)).toEqual(['node-a=a2', 'node-b=b2', 'node-a=deleted']);
  end.abort();
  await watching;
});

test('kv - a watch of an empty bucket is in sync at once', async () => {
  await using nats = await startBus();
  let synced = 0;
  const end = new AbortController();
  const watching = underWay(
    openBucket(await nats.connect('responder'), 'bailiff_pods').watch({
      onEntry: () => undefined,
      onSynced: () => {
        synced += 1;
      },
      signal: end.signal,
    }),
  );
  await waitFor(() => synced > 0);
  end.abort();
  await watching;
  expect(synced).toBe(1);
});

test("kv - NATS's own client reads and writes the same buckets", async () => {
  await using nats = await startBus();
  const admin = await nats.connect('admin');
  const ours = openBucket(admin, 'bailiff_config');
  const theirs = await new Kvm(admin.nc).open('bailiff_config');
  await ours.put('spoof.cluster._.default', 'ours', { headers: { 'Bailiff-By': 'me' } });
  expect((await theirs.get('spoof.cluster._.default'))?.string()).toBe('ours');
  const revision = await theirs.put('spoof.cluster._.default', 'theirs');
  const entry = await ours.get('spoof.cluster._.default');
  expect(entry).toMatchObject({ revision });
  expect(text(entry as KvEntry)).toBe('theirs');
  await theirs.delete('spoof.cluster._.default');
  expect(await ours.get('spoof.cluster._.default')).toBeNull();
  await ours.put('spoof.cluster._.default', 'again');
  await ours.delete('spoof.cluster._.default');
  expect((await theirs.get('spoof.cluster._.default'))?.operation).toBe('DEL');
});

test('kv - an existing schema cannot be replaced or removed by any request', async () => {
  await using nats = await startBus();
  const admin = await nats.connect('admin');
  const bucket = openBucket(admin, 'bailiff_schemas');
  const [key] = await bucket.keys();
  const before = await bucket.get(key as string);
  await expect(bucket.put(key as string, 'forged')).rejects.toMatchObject({ code: 'BUS_FULL' });
  await expect(bucket.delete(key as string)).rejects.toMatchObject({ code: 'BUS_FULL' });
  await expect(bucket.create(key as string, 'forged')).rejects.toMatchObject({ code: 'BUS_EXISTS' });
  await expect(admin.jsm.streams.purge('KV_bailiff_schemas')).rejects.toThrow();
  await expect(admin.jsm.streams.deleteMessage('KV_bailiff_schemas', before?.revision as number)).rejects.toThrow();
  expect(await bucket.get(key as string)).toMatchObject({ revision: before?.revision });
  await ensureTopology(admin);
  expect(await bucket.create('fp-0123456789abcdef', 'new')).toBeGreaterThan(0);
});

test('kv - a value above the limit, a bad key and an unavailable bus have their codes', async () => {
  await using nats = await startBus();
  const bus = await nats.connect('ipam-sync');
  const bucket = openBucket(bus, 'bailiff_pods');
  await expect(bucket.put('node-a', Buffer.alloc(600 * 1024))).rejects.toMatchObject({ code: 'BUS_TOO_LARGE' });
  expect(await bucket.put('node-a', Buffer.alloc(512 * 1024))).toBe(1);
  for (const key of ['', 'a b', '.a', 'a.', 'a..b', 'a.*', '>', 'a%']) {
    await expect(bucket.put(key, 'x'), key).rejects.toMatchObject({ code: 'BUS_REFUSED' });
  }
  await nats.kill();
  await waitFor(() => !bus.connected);
  await expect(bucket.get('node-a')).rejects.toMatchObject({ code: 'BUS_UNREACHABLE' });
});

test('kv - a response that another client directed to the inbox is not taken for the requested one', async () => {
  await using nats = await startBus();
  const admin = await nats.connect('admin');
  const stream = 'KV_bailiff_pods';
  const [keyOfA, keyOfB] = ['$KV.bailiff_pods.node-a', '$KV.bailiff_pods.node-b'];
  for (const node of ['node-a', 'node-b']) await openBucket(admin, 'bailiff_pods').put(node, `pods of ${node}`);
  /** A bus whose requests are replaced on the way, so that their responses are those of others. */
  const redirected = (from: string, to: string): Bus => {
    const send: Bus['requests']['send'] = (subject, payload, options) =>
      admin.requests.send(subject.replace(from, to), String(payload ?? '').replace(from, to), options);
    return new Proxy(admin, { get: (bus, name) => (name === 'requests' ? { send } : Reflect.get(bus, name, bus)) });
  };
  const lookUps: [what: string, other: Bus, lookUp: (bus: Bus) => Promise<{ sequence: number } | null>][] = [
    [
      'key',
      redirected(keyOfB, keyOfA),
      async (bus) => {
        const entry = await openBucket(bus, 'bailiff_pods').get('node-b');
        return entry && { sequence: entry.revision };
      },
    ],
    ['newest message', redirected(keyOfB, keyOfA), (bus) => getLastOf(bus, stream, keyOfB)],
    ['sequence', redirected('"seq":2', '"seq":1'), (bus) => getMessage(bus, stream, 2)],
    ['next message', redirected('"seq":2', '"seq":1'), (bus) => getNextMessage(bus, stream, 2, '$KV.bailiff_pods.>')],
  ];
  for (const [what, other, lookUp] of lookUps) {
    expect((await lookUp(admin))?.sequence, `control: ${what}`).toBe(2);
    await expect(lookUp(other), what).rejects.toMatchObject({ code: 'BUS_MESSAGE' });
  }
});
