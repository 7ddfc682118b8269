// nats-server does not check the reply subject of a request against the asker's rights: who may ask JetStream for a message can have the
// answer stored wherever a stream listens. The control shows that it lands; nobody who reads believes it.
import {
  consumeOrdered,
  ensureTopology,
  getMessage,
  openBucket,
  SnapshotReader,
  type StreamMessage,
} from '@bailiff/bus';
import { startNats, type TestNats, testUsers } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';

const FRAMES_OF_VICTIM = 'bailiff.v1.violations.7.node-b.spoof';
let nats: TestNats;

beforeAll(async () => {
  nats = await startNats({ users: testUsers(['node-a', 'node-b']) });
  await ensureTopology(await nats.connect('admin'));
});
afterAll(async () => {
  await nats?.stop();
});

/** A stolen credential of node-a has what it stored under its own key delivered to a subject that it may not publish on. */
async function plant(subject: string, content: string): Promise<void> {
  const thief = await nats.connect('collector-node-a');
  await openBucket(thief, 'bailiff_nodes').put('node-a', content);
  const key = '$KV.bailiff_nodes.node-a';
  thief.nc.publish(`$JS.API.DIRECT.GET.KV_bailiff_nodes.${key}`, '', { reply: subject });
  await thief.nc.flush();
  await thief.close();
}

/** As the server has it, with nothing of ours between. */
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

test('planted - a frame under the name of another node is stored, and read without content or headers', async () => {
  await plant(FRAMES_OF_VICTIM, 'forged frame');
  await waitFor(async () => (await stored('VIOLATIONS', FRAMES_OF_VICTIM)) === 'forged frame', {
    what: 'the control: it lands',
  });
  const [message] = await readAll('VIOLATIONS');
  expect(message).toMatchObject({ subject: FRAMES_OF_VICTIM, planted: true, headers: undefined });
  expect(message?.data).toHaveLength(0);
  const direct = await getMessage(await nats.connect('correlator'), 'VIOLATIONS', message?.sequence ?? 0);
  expect(direct).toMatchObject({
    subject: FRAMES_OF_VICTIM,
    sequence: message?.sequence,
    planted: true,
    headers: undefined,
  });
});

test('planted - a pod list of another node: followers keep what they have, a get refuses it, and its owner writes over it', async () => {
  const pods = openBucket(await nats.connect('ipam-sync'), 'bailiff_pods');
  const first = await pods.put('node-b', '"true list"');
  const told: string[] = [];
  const errors: string[] = [];
  const reader = new SnapshotReader(await nats.connect('collector-node-b'), 'bailiff_pods', 'node-b', {
    onSnapshot: (entry) => told.push(entry.value.toString()),
    onError: (error) => errors.push((error as Error).message),
    rereadMs: 200,
  });
  await waitFor(() => told.length === 1, { what: 'the true list' });
  await plant('$KV.bailiff_pods.node-b', '"forged list"');
  await waitFor(async () => (await stored('KV_bailiff_pods', '$KV.bailiff_pods.node-b')) === '"forged list"', {
    what: 'the control: it lands',
  });
  // By push and by the next read.
  await waitFor(() => errors.some((text) => text.includes('answer of the server')), {
    what: 'its refusal',
    state: () => errors,
  });
  expect(reader.refused).toBeGreaterThanOrEqual(1);
  await expect(pods.get('node-b')).rejects.toMatchObject({ code: 'BUS_MESSAGE' });
  expect(await pods.entries()).toEqual([]);
  const newest = await pods.newest('node-b');
  expect(newest).toMatchObject({ planted: true, deleted: false });
  expect(newest?.revision).toBeGreaterThan(first);
  await pods.put('node-b', '"next list"', { previousRevision: newest?.revision ?? 0 });
  await waitFor(() => told.length === 2, { what: 'the next list', state: () => told });
  expect(told).toEqual(['"true list"', '"next list"']);
  expect((await pods.get('node-b'))?.planted).toBe(false);
  reader.close();
});

test('planted - a configuration comes into its log without content, so that it is no value of any schema', async () => {
  const config = openBucket(await nats.connect('cli'), 'bailiff_config');
  await config.put('spoof.cluster._.default', '{"revision":1}');
  await plant('$KV.bailiff_config.spoof.cluster._.default', '{"modes":{"ipv4-source":"off"}}');
  await waitFor(async () => (await readAll('CONFIG_LOG')).length === 2, {
    what: 'the control: it is sourced into the log',
  });
  const log = await readAll('CONFIG_LOG');
  expect(log.map(({ planted, data }) => [planted, Buffer.from(data).toString()])).toEqual([
    [false, '{"revision":1}'],
    [true, ''],
  ]);
});
