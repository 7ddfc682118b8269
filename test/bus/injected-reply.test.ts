// nats-server does not check the reply subject of a request against the rights of the requester. If
// all identities share one account, a response can be stored in any stream; the control shows it.
// Readers reject such messages. With separate accounts the response is not stored at all: see
// rights.test.ts.
import { randomUUID } from 'node:crypto';
import {
  consumeOrdered,
  ensureTopology,
  getMessage,
  openBucket,
  publishOnce,
  SnapshotReader,
  type StreamMessage,
} from '@bailiff/bus';
import { startNats, type TestNats, testUsers } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { connectCollector } from '../support/bus.ts';
import { inOneAccount } from './rights.ts';

const FRAMES_OF_VICTIM = 'bailiff.v1.violations.7.node-b.spoof';
let nats: TestNats;

beforeAll(async () => {
  // A node that may read its own words, which the server then delivers for it.
  const users = inOneAccount(testUsers(['node-a', 'node-b'])).map((user) => {
    const { publish, ...rest } = user.permissions;
    const allow = [...publish.allow, '$JS.API.DIRECT.GET.>'];
    return user.user === 'collector-node-a' ? { ...user, permissions: { ...rest, publish: { allow } } } : user;
  });
  nats = await startNats({ users });
  await ensureTopology(await nats.connect('admin'));
});
afterAll(async () => {
  await nats?.stop();
});

/**
 * With a stolen credential of node-a, has the server deliver the value of node-a's own key to a
 * subject on which node-a may not publish.
 */
async function plant(subject: string, content: string): Promise<void> {
  const thief = await nats.connect('collector-node-a');
  await openBucket(thief, 'bailiff_nodes').put('node-a', content);
  const key = '$KV.bailiff_nodes.node-a';
  thief.nc.publish(`$JS.API.DIRECT.GET.KV_bailiff_nodes.${key}`, '', { reply: subject });
  await thief.nc.flush();
  await thief.close();
}

/** The message as the server stores it, read without Bailiff's client. */
async function stored(stream: string, subject: string): Promise<string | undefined> {
  const admin = await nats.connect('admin');
  try {
    return (await admin.jsm.streams.getMessage(stream, { last_by_subj: subject }))?.string();
  } finally {
    await admin.close();
  }
}

async function readAll(stream: string): Promise<StreamMessage[]> {
  const bus = await nats.connect('admin');
  const end = new AbortController();
  const messages: StreamMessage[] = [];
  await consumeOrdered(bus, stream, {
    start: 'all',
    onMessage: (message) => {
      messages.push(message);
    },
    onIdle: () => end.abort(),
    signal: end.signal,
  });
  await bus.close();
  return messages;
}

test('injected reply - a frame under the name of another node is stored, and read without content or headers', async () => {
  await plant(FRAMES_OF_VICTIM, 'forged frame');
  await waitFor(async () => (await stored('VIOLATIONS', FRAMES_OF_VICTIM)) === 'forged frame', {
    what: 'the control: it lands',
  });
  const [message] = await readAll('VIOLATIONS');
  expect(message).toMatchObject({ subject: FRAMES_OF_VICTIM, injected: true, headers: undefined });
  expect(message?.data).toHaveLength(0);
  const direct = await getMessage(await nats.connect('correlator'), 'VIOLATIONS', message?.sequence ?? 0);
  expect(direct).toMatchObject({
    subject: FRAMES_OF_VICTIM,
    sequence: message?.sequence,
    injected: true,
    headers: undefined,
  });
});

test('injected reply - a pod list of another node: followers keep their value, a get rejects it, and its owner overwrites it', async () => {
  const pods = openBucket(await nats.connect('ipam-sync'), 'bailiff_pods');
  const first = await pods.put('node-b', '"true list"');
  const reported: string[] = [];
  const errors: string[] = [];
  const reader = new SnapshotReader(await connectCollector(nats, 'node-b'), 'bailiff_pods', 'node-b', {
    onSnapshot: (entry) => reported.push(entry.value.toString()),
    onError: (error) => errors.push((error as Error).message),
    rereadMs: 200,
  });
  await waitFor(() => reported.length === 1, { what: 'the true list' });
  await plant('$KV.bailiff_pods.node-b', '"forged list"');
  await waitFor(async () => (await stored('KV_bailiff_pods', '$KV.bailiff_pods.node-b')) === '"forged list"', {
    what: 'the control: it lands',
  });
  // Both by push and by the next read.
  await waitFor(() => errors.some((text) => text.includes('injected reply')), {
    what: 'its refusal',
    state: () => errors,
  });
  expect(reader.refused).toBeGreaterThanOrEqual(1);
  await expect(pods.get('node-b')).rejects.toMatchObject({ code: 'BUS_MESSAGE' });
  expect(await pods.entries()).toEqual([]);
  const newest = await pods.newest('node-b');
  expect(newest).toMatchObject({ injected: true, deleted: false });
  expect(newest?.revision).toBeGreaterThan(first);
  await pods.put('node-b', '"next list"', { previousRevision: newest?.revision ?? 0 });
  await waitFor(() => reported.length === 2, { what: 'the next list', state: () => reported });
  expect(reported).toEqual(['"true list"', '"next list"']);
  expect((await pods.get('node-b'))?.injected).toBe(false);
  reader.close();
});

test('injected reply - a configuration arrives in its log without content, so that it is no value of any schema', async () => {
  const config = openBucket(await nats.connect('cli'), 'bailiff_config');
  await config.put('spoof.cluster._.default', '{"revision":1}');
  await plant('$KV.bailiff_config.spoof.cluster._.default', '{"modes":{"ipv4-source":"off"}}');
  await waitFor(async () => (await readAll('CONFIG_LOG')).length === 2, {
    what: 'the control: it is sourced into the log',
  });
  const log = await readAll('CONFIG_LOG');
  expect(log.map(({ injected, data }) => [injected, Buffer.from(data).toString()])).toEqual([
    [false, '{"revision":1}'],
    [true, ''],
  ]);
});

test('injected reply - a push with the headers of another bucket, key or node is rejected and counted', async () => {
  const pods = openBucket(await nats.connect('ipam-sync'), 'bailiff_pods');
  await pods.put('node-b', '"list of b"', { previousRevision: (await pods.newest('node-b'))?.revision ?? 0 });
  const received: string[] = [];
  const errors: string[] = [];
  const victim = await connectCollector(nats, 'node-b');
  const reader = new SnapshotReader(victim, 'bailiff_pods', 'node-b', {
    onSnapshot: (entry) => received.push(entry.value.toString()),
    onError: (error) => errors.push((error as Error).message),
    rereadMs: 3_600_000,
  });
  await waitFor(() => received.length === 1, { what: 'the true list' });
  let landed = 0;
  (await victim.pushes).nc.subscribe('bailiff.v1.push.bailiff_pods.node-b', {
    callback: () => {
      landed += 1;
    },
  });
  const thief = await nats.connect('collector-node-a');
  const forged = {
    'Nats-Stream': 'KV_bailiff_pods',
    'Nats-Subject': '$KV.bailiff_pods.node-b',
    'Nats-Sequence': '99999',
    'Nats-Time-Stamp': '2036-01-01T00:00:00Z',
  };
  await openBucket(thief, 'bailiff_nodes').put('node-a', '"forged list"', { headers: forged });
  await pods.put('node-a', '"list of a"');
  const reply = 'bailiff.v1.push.bailiff_pods.node-b';
  thief.nc.publish('$JS.API.DIRECT.GET.KV_bailiff_nodes.$KV.bailiff_nodes.node-a', '', { reply });
  thief.nc.publish('$JS.API.DIRECT.GET.KV_bailiff_pods.$KV.bailiff_pods.node-a', '', { reply });
  await waitFor(() => landed === 2, { what: 'the control: both arrive as pushes' });
  await waitFor(() => reader.refused === 2, { what: 'their refusal', state: () => errors });
  expect(errors).toHaveLength(2);
  await pods.put('node-b', '"next list of b"');
  await waitFor(() => received.length === 2, { what: 'the next push', state: () => received });
  expect(received).toEqual(['"list of b"', '"next list of b"']);
  reader.close();
});

test('injected reply - consumers and direct gets skip a status that was delivered into a stream', async () => {
  const verdict = 'bailiff.v1.verdicts.high.shop.web-0.5f1d3c7a';
  const thief = await nats.connect('siem-reader');
  const body = '{"batch":1,"no_wait":true}';
  thief.nc.publish('$JS.API.CONSUMER.MSG.NEXT.SIEM.siem-ocsf', body, { reply: verdict });
  await waitFor(async () => (await stored('VERDICTS', verdict)) === '', { what: 'the control: it lands' });
  const admin = await nats.connect('admin');
  await admin.js.publish('bailiff.v1.verdicts.high.shop.web-1.5f1d3c7b', 'true verdict');
  const messages = await readAll('VERDICTS');
  expect(messages.map(({ injected, data }) => [injected, Buffer.from(data).toString()])).toEqual([
    [true, ''],
    [false, 'true verdict'],
  ]);
  expect(await getMessage(admin, 'VERDICTS', 1)).toMatchObject({ injected: true });
});

test('injected reply - an injected reply under the subject of a verdict or response does not count as one', async () => {
  const thief = await nats.connect('siem-reader');
  const body = '{"batch":1,"no_wait":true}';
  for (const [user, stream, subject] of [
    ['correlator', 'VERDICTS', 'bailiff.v1.verdicts.high.shop.web-2.5f1d3c7c'],
    ['responder', 'RESPONSES', 'bailiff.v1.responses.delete.shop.web-2.5f1d3c7c'],
  ] as const) {
    thief.nc.publish('$JS.API.CONSUMER.MSG.NEXT.SIEM.siem-ocsf', body, { reply: subject });
    await waitFor(async () => (await stored(stream, subject)) === '', { what: 'the control: it lands' });
    const bus = await nats.connect(user);
    const publish = () => publishOnce(bus, subject, Buffer.from('true'), { stream });
    expect(await publish()).toMatchObject({ outcome: 'stored' });
    expect(await publish()).toEqual({ outcome: 'exists' });
    expect(await stored(stream, subject)).toBe('true');
  }
});

test('injected reply - a consumer of the core delivers a message under its own subject: it stays the word of its node, and of its stream', async () => {
  const thief = await nats.connect('siem-relay');
  const admin = await nats.connect('admin');
  await admin.js.publish(FRAMES_OF_VICTIM, 'frame of b');
  const deliver = async (reply: string): Promise<void> => {
    const name = randomUUID();
    const config = { name, ack_policy: 'none', deliver_policy: 'last', mem_storage: true };
    await thief.nc.request(
      `$JS.API.CONSUMER.CREATE.VIOLATIONS.${name}`,
      JSON.stringify({ stream_name: 'VIOLATIONS', config }),
    );
    thief.nc.publish(`$JS.API.CONSUMER.MSG.NEXT.VIOLATIONS.${name}`, '{"batch":1}', { reply });
    await thief.nc.flush();
  };
  const landed = async (stream: string) =>
    (await readAll(stream)).filter(({ data }) => Buffer.from(data).toString() === 'frame of b');
  const frames = (await landed('VIOLATIONS')).length;
  for (const [stream, reply, count] of [
    ['VIOLATIONS', 'bailiff.v1.violations.7.node-a.spoof', frames + 1],
    ['VERDICTS', 'bailiff.v1.verdicts.high.shop.web-9.5f1d3c7d', 1],
    ['RESPONSES', 'bailiff.v1.responses.delete.shop.web-9.5f1d3c7d', 1],
    ['KV_bailiff_quarantine', '$KV.bailiff_quarantine.node-b', 1],
  ] as const) {
    await deliver(reply);
    const found = await waitFor(() => landed(stream), {
      what: `the control: it lands in ${stream}`,
      until: ({ length }) => length === count,
    });
    expect(new Set(found.map(({ subject }) => subject))).toEqual(new Set([FRAMES_OF_VICTIM]));
  }
  // A bucket has no key for it.
  expect(await openBucket(admin, 'bailiff_quarantine').entries()).toEqual([]);
});
