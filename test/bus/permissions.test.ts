/**
 * Every identity tries every line of subject-table.ts. For collectors that log in by token, see
 * test/cluster/bus-auth.test.ts.
 */
import {
  apiRequest,
  consumeOrdered,
  FramePublisher,
  openBucket,
  respondToReads,
  SnapshotReader,
  violationSubject,
} from '@bailiff/bus';
import { startNats, testCallout, testUsers } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { jetstreamManager } from '@nats-io/jetstream';
import { expect, test } from 'vitest';
import { BucketCopy } from '../../libs/bus/src/kv/bucket-copy.ts';
import { connectCollector, startBus, text, underWay } from '../support/bus.ts';
import { EVERYBODY, LINES, NODE_USERS, NODES, tryAll, tryIt, UNCLAIMED } from './subject-table.ts';

/** With auth callout, and without it. */
const SERVERS = [
  ['by password', {}],
  ['with auth callout', { authCallout: testCallout() }],
] as const;

test.each(SERVERS)(
  'permissions - every identity tries every subject, %s',
  async (_, conf) => {
    await using nats = await startNats({ users: testUsers(NODES), ...conf });
    const there = EVERYBODY.filter((user) => user !== 'bus-auth' || 'authCallout' in conf);
    const fixed = there.filter((user) => !('authCallout' in conf) || !NODE_USERS.includes(user));
    const buses = new Map(await Promise.all(fixed.map(async (user) => [user, await nats.connect(user)] as const)));
    const { wrong, tried } = await tryAll(buses);
    expect(wrong).toEqual([]);
    expect(tried).toBe(LINES * fixed.length);
    expect(UNCLAIMED).toEqual([]);
  },
  120_000,
);

test('permissions - a stolen node credential publishes for its own node and reads only its own keys', async () => {
  await using nats = await startBus();
  const pods = openBucket(await nats.connect('ipam-sync'), 'bailiff_pods');
  await pods.put('node-a', 'of a');
  await pods.put('node-b', 'of b');
  const thief = await nats.connect('collector-node-a');
  const mine = openBucket(thief, 'bailiff_pods');
  const copy = new BucketCopy(thief, 'bailiff_pods');
  await waitFor(async () => (await copy.newest('node-a')).found?.entry.value.toString() === 'of a');
  await expect(copy.newest('node-b')).rejects.toMatchObject({ code: 'BUS_PERMISSION' });
  await expect(copy.next(1)).rejects.toMatchObject({ code: 'BUS_PERMISSION' });
  await expect(mine.get('node-a')).rejects.toMatchObject({ code: 'BUS_PERMISSION' });
  await expect(mine.put('node-a', 'forged')).rejects.toMatchObject({ code: 'BUS_PERMISSION' });
  await expect(mine.next(1)).rejects.toMatchObject({ code: 'BUS_PERMISSION' });
  await expect(mine.keys()).rejects.toMatchObject({ code: 'BUS_PERMISSION' });
  const config = openBucket(thief, 'bailiff_config');
  await expect(config.put('spoof.cluster._.default', '{}')).rejects.toMatchObject({ code: 'BUS_PERMISSION' });
  await expect(config.get('spoof.cluster._.default')).rejects.toMatchObject({ code: 'BUS_PERMISSION' });
  expect(await new BucketCopy(thief, 'bailiff_config').next(1)).toBeNull();
  const publish = (node: string) =>
    apiRequest(thief, violationSubject(node, 'spoof'), Buffer.from('x')).then(
      () => 'stored',
      (error: { code: string }) => error.code,
    );
  expect([await publish('node-a'), await publish('node-b')]).toEqual(['stored', 'BUS_PERMISSION']);
  const reading = underWay(
    consumeOrdered(thief, 'VIOLATIONS', {
      start: 'all',
      onMessage: () => undefined,
      signal: AbortSignal.timeout(20_000),
    }),
  );
  await expect(reading).rejects.toMatchObject({ code: 'BUS_PERMISSION' });
});

test('permissions - a reader with a stock client and the API prefix reads messages by sequence', async () => {
  await using nats = await startBus();
  await (await nats.connect('collector-node-a')).js.publish(violationSubject('node-a', 'spoof'), 'a frame');
  const { nc } = await nats.connect('reader');
  const relay = await nats.connect('siem-relay');
  const end = respondToReads(relay, () => performance.now(), console.error);
  await relay.nc.flush();
  const manager = await jetstreamManager(nc, { apiPrefix: 'BUS', checkAPI: false });
  const message = await manager.direct.getMessage('VIOLATIONS', { seq: 1 });
  expect(message?.string()).toBe('a frame');
  await end();
});

test('permissions - two node names that differ by a dot and a dash are two nodes', async () => {
  await using nats = await startNats({ users: testUsers(['node.a', 'node-a']) });
  const dotted = await nats.connect('collector-node.a');
  expect(await tryIt(dotted, 'publish', violationSubject('node.a', 'spoof'))).toBe(true);
  expect(await tryIt(dotted, 'publish', violationSubject('node-a', 'spoof'))).toBe(false);
});

test("permissions - a message that another service's consumer delivers to a push subject is not accepted as a push", async () => {
  await using nats = await startBus();
  const entries: string[] = [];
  const victim = await connectCollector(nats, 'node-b');
  const snapshots = new SnapshotReader(victim, 'bailiff_pods', 'node-b', {
    onSnapshot: (entry) => entries.push(text(entry)),
    rereadMs: 3_600_000,
  });
  let landed = 0;
  (await victim.pushes).nc.subscribe('bailiff.v1.push.bailiff_pods.node-b', {
    callback: () => {
      landed += 1;
    },
  });
  await waitFor(() => snapshots.confirmedAtMs > 0);
  // Two stolen identities together: one stores any content under its node, the other creates
  // consumers.
  const relay = await nats.connect('siem-relay');
  const targets = ['bailiff.v1.push.bailiff_pods.node-b', '$KV.bailiff_pods.node-b', '$JS.API.STREAM.DELETE.RESPONSES'];
  for (const [index, deliver_subject] of targets.entries()) {
    const config = {
      name: `evil${index}`,
      deliver_subject,
      ack_policy: 'none',
      deliver_policy: 'all',
      replay_policy: 'instant',
    };
    await apiRequest(relay, `$JS.API.CONSUMER.CREATE.VIOLATIONS.evil${index}`, { stream_name: 'VIOLATIONS', config });
  }
  const thief = new FramePublisher(await nats.connect('collector-node-a'));
  const headers = {
    'Nats-Stream': 'KV_bailiff_pods',
    'Nats-Subject': '$KV.bailiff_pods.node-b',
    'Nats-Sequence': '99999',
    'Nats-Time-Stamp': '2026-01-01T00:00:00Z',
  };
  await thief.publish(violationSubject('node-a', 'spoof'), Buffer.from('forged'), { msgId: 'x', headers });
  await waitFor(() => landed === 1, { what: 'the forged message to arrive' });
  await waitFor(() => snapshots.refused === 1, { what: 'its refusal' });
  const pods = openBucket(await nats.connect('ipam-sync'), 'bailiff_pods');
  expect(await pods.get('node-b')).toBeNull();
  await pods.put('node-b', 'true');
  await waitFor(() => entries.length === 1, { what: 'the true push', state: () => entries });
  expect(entries).toEqual(['true']);
  const admin = await nats.connect('admin');
  expect((await admin.jsm.streams.info('RESPONSES')).config.name).toBe('RESPONSES');
  snapshots.close();
});
