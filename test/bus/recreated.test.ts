// A stream that was deleted and created again numbers its messages from one again. Every reader
// must notice this and read the new stream from its beginning.
import {
  type Bus,
  BusError,
  consumeOrdered,
  ensureTopology,
  FramePublisher,
  metadataOfRestored,
  openBucket,
  restoreStream,
  type SnapshotHead,
  snapshotStream,
  violationSubject,
  writeConfig,
} from '@bailiff/bus';
import type { TestNats } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { startBus, text, underWay } from '../support/bus.ts';
import { followConfig } from '../support/config-log.ts';

const SUBJECT = violationSubject('node-a', 'spoof');
const modes = (mode: string) => ({ modes: { 'ipv4-source': mode } });
const ME = { by: 'alice', why: 'a test' };

async function publish(nats: TestNats, prefix: string, count: number): Promise<void> {
  const bus = await nats.connect('collector-node-a');
  const publisher = new FramePublisher(bus);
  for (let n = 1; n <= count; n += 1) {
    await publisher.publish(SUBJECT, Buffer.from(`${prefix}${n}`), { msgId: `${prefix}${n}` });
  }
  publisher.close();
  await bus.close();
}

async function recreate(nats: TestNats, ...streams: string[]): Promise<void> {
  const admin = await nats.connect('admin');
  for (const stream of streams) await admin.jsm.streams.delete(stream);
  await ensureTopology(admin);
  await admin.close();
}

function reader(bus: Bus, start: Parameters<typeof consumeOrdered>[2]['start'], more = {}) {
  const seen: string[] = [];
  const reported: string[] = [];
  const end = new AbortController();
  let idle = 0;
  const reading = underWay(
    consumeOrdered(bus, 'VIOLATIONS', {
      start,
      onMessage: (message) => {
        seen.push(text(message));
      },
      onRecreated: () => {
        reported.push(`recreated after ${seen.length}`);
      },
      onIdle: () => {
        idle += 1;
      },
      signal: end.signal,
      ...more,
    }),
  );
  return {
    seen,
    reported,
    idle: () => idle,
    async [Symbol.asyncDispose]() {
      end.abort();
      await reading;
    },
  };
}

test.each([
  ['all', 'all' as const, 'correlator'],
  ['new', 'new' as const, 'correlator'],
  ['a sequence', { sequence: 1 }, 'correlator'],
  ['a time', { timeMs: 1_000 }, 'correlator'],
  ['all, by direct gets,', 'all' as const, 'cli'],
  ['new, by direct gets,', 'new' as const, 'cli'],
])(
  'recreated - a stream read from %s and recreated is read from its beginning, and its owner is called before',
  async (_n, start, user) => {
    await using nats = await startBus();
    await using read = reader(await nats.connect(user), start);
    await waitFor(() => read.idle() > 0);
    await publish(nats, 'old', 3);
    await waitFor(() => read.seen.length === 3, { state: () => read.seen });
    await recreate(nats, 'VIOLATIONS');
    await publish(nats, 'new', 2);
    await waitFor(() => read.seen.length === 5, {
      what: 'all of the new stream',
      state: () => [read.seen, read.reported],
    });
    expect(read.seen).toEqual(['old1', 'old2', 'old3', 'new1', 'new2']);
    expect(read.reported).toEqual(['recreated after 3']);
  },
);

test('recreated - a new stream that has grown beyond the old one is recognised as another stream', async () => {
  await using nats = await startBus();
  await using read = reader(await nats.connect('correlator'), 'all');
  await publish(nats, 'old', 2);
  await waitFor(() => read.seen.length === 2);
  // Both happen within one break of the reader's connection, so the reader cannot look in between.
  const admin = await nats.connect('admin');
  await admin.jsm.streams.delete('VIOLATIONS');
  await ensureTopology(admin);
  await publish(nats, 'new', 5);
  await waitFor(() => read.seen.length === 7, { state: () => [read.seen, read.reported] });
  expect(read.seen.slice(2)).toEqual(['new1', 'new2', 'new3', 'new4', 'new5']);
});

test.each([
  ['by bailiff restore', 'correlator', true],
  ['by bailiff restore, and read by direct gets,', 'cli', true],
  ['by other tools', 'correlator', false],
])(
  'recreated - a stream restored %s, and grown beyond the position of its reader before it looks',
  async (_n, user, byBailiff) => {
    await using nats = await startBus();
    const bus = await nats.connect(user);
    let mayLook = true;
    const send = async (...args: Parameters<Bus['requests']['send']>) => {
      if (mayLook || !args[0].includes('.STREAM.INFO.')) return bus.requests.send(...args);
      throw new BusError('BUS_TIMEOUT', args[0]);
    };
    const target = new Proxy(bus, {
      get: (of, name) => (name === 'requests' ? { send } : Reflect.get(of, name, of)),
    });
    await using read = reader(target, 'all');
    const admin = await nats.connect('admin');
    await publish(nats, 'kept', 2);
    const chunks: Uint8Array[] = [];
    const head: SnapshotHead = await snapshotStream(
      admin,
      'VIOLATIONS',
      async (chunk) => void chunks.push(chunk.slice()),
    );
    await publish(nats, 'lost', 2);
    await waitFor(() => read.seen.length === 4, { state: () => read.seen });
    mayLook = false;
    const { created } = await admin.jsm.streams.info('VIOLATIONS');
    await admin.jsm.streams.delete('VIOLATIONS');
    const metadata = metadataOfRestored(head.config, head.state.last_seq, Date.now());
    async function* pieces() {
      yield* chunks;
    }
    const config = byBailiff ? { ...head.config, metadata } : head.config;
    await restoreStream(admin, { ...head, config }, pieces());
    await publish(nats, 'new', 4);
    mayLook = true;
    await waitFor(() => read.seen.includes('new4'), { state: () => [read.seen, read.reported], timeoutMs: 30_000 });
    // The control: sequences do not distinguish the lives of a stream, nor does the creation time before 2.15.
    const isKnown = byBailiff || (await admin.jsm.streams.info('VIOLATIONS')).created !== created;
    const end = ['new3', 'new4'];
    expect(read.seen.slice(4)).toEqual(isKnown ? ['kept1', 'kept2', 'new1', 'new2', ...end] : end);
    expect(read.reported).toEqual(isKnown ? ['recreated after 4'] : []);
  },
);

test('recreated - a restart of the server is not a new stream', async () => {
  await using nats = await startBus();
  await using read = reader(await nats.connect('correlator'), 'all');
  await publish(nats, 'old', 2);
  await waitFor(() => read.seen.length === 2);
  await nats.restart();
  await publish(nats, 'more', 2);
  await waitFor(() => read.seen.length === 4, { state: () => [read.seen, read.reported] });
  expect(read.reported).toEqual([]);
});

test('recreated - waiting messages of the old stream are dropped, and the running handler is awaited', async () => {
  await using nats = await startBus();
  const order: string[] = [];
  let finish: () => void = () => undefined;
  await using read = reader(await nats.connect('correlator'), 'all', {
    onMessage: (message: { data: Uint8Array }) => {
      order.push(text(message));
      if (text(message) !== 'old1') return;
      return new Promise<void>((resolve) => {
        finish = () => {
          order.push('finished');
          resolve();
        };
      });
    },
    onRecreated: () => {
      order.push('recreated');
    },
  });
  await publish(nats, 'old', 3);
  await waitFor(() => order.length === 1);
  await recreate(nats, 'VIOLATIONS');
  await publish(nats, 'new', 1);
  const waited = performance.now();
  await waitFor(() => performance.now() > waited + 300);
  expect(order).toEqual(['old1']);
  finish();
  await waitFor(() => order.includes('new1'), { state: () => [order, read.reported] });
  expect(order).toEqual(['old1', 'finished', 'recreated', 'new1']);
});

test('recreated - a watch reports all of the new bucket, then onSynced', async () => {
  await using nats = await startBus();
  const admin = await nats.connect('admin');
  const bucket = openBucket(admin, 'bailiff_pods');
  await bucket.put('node-a', 'one');
  await bucket.put('node-b', 'two');
  const reported: string[] = [];
  const end = new AbortController();
  const watching = underWay(
    openBucket(await nats.connect('correlator'), 'bailiff_pods').watch({
      onEntry: ({ key, value }) => {
        reported.push(`${key}=${value}`);
      },
      onRecreated: () => {
        reported.push('recreated');
      },
      onSynced: () => {
        reported.push('synced');
      },
      signal: end.signal,
    }),
  );
  await waitFor(() => reported.includes('synced'));
  await recreate(nats, 'KV_bailiff_pods');
  await waitFor(() => reported.length >= 5, { state: () => reported });
  await bucket.put('node-a', 'three');
  await waitFor(() => reported.length === 6, { state: () => reported });
  expect(reported).toEqual(['node-a=one', 'node-b=two', 'synced', 'recreated', 'synced', 'node-a=three']);
  end.abort();
  await watching;
});

test('recreated - a recreated configuration log is read again from its first change', async () => {
  await using nats = await startBus();
  const cli = await nats.connect('cli');
  const [key, other] = ['spoof.cluster._.default', 'spoof.namespace.shop.default'];
  await writeConfig(cli, key, modes('audit'), ME);
  await writeConfig(cli, other, modes('audit'), ME);
  let recreated = 0;
  const { log, newest, changes } = followConfig(await nats.connect('correlator'), {
    onRecreated: () => {
      recreated += 1;
    },
  });
  await waitFor(() => changes.length === 2);
  await log.whenCompleteTo(Date.now() * 1000);
  // Recreates both: otherwise the server fills the new log from the bucket.
  await recreate(nats, 'CONFIG_LOG', 'KV_bailiff_config');
  await waitFor(() => recreated === 1, { what: 'the callback for the owner' });
  await log.whenCompleteTo(Date.now() * 1000);
  expect(changes).toEqual([]);
  await writeConfig(cli, key, modes('off'), ME);
  await waitFor(() => changes.length === 1, { state: () => changes });
  await log.whenCompleteTo(Date.now() * 1000);
  expect(changes.map(({ sequence }) => sequence)).toEqual([1]);
  expect([...newest().keys()]).toEqual([key]);
  await log.close();
});
