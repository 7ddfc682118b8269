// A restore on servers that elect leaders meanwhile, which leaves requests without a response.

import {
  type Bus,
  BusError,
  consumeOrdered,
  ensureTopology,
  FramePublisher,
  lifeOf,
  restoreStream,
  type SnapshotHead,
  snapshotStream,
  storedStreamInfo,
  streamInfo,
  subjectsOfRestoring,
  violationSubject,
} from '@bailiff/bus';
import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { waitForTopology } from '../../libs/bus/src/setup/wait-for-topology.ts';
import { freeze, losing, startBus, underWay } from '../support/bus.ts';

const STREAM = 'KV_bailiff_pods';
const PATIENCE_MS = 200;

/** A snapshot of a stream, which the server no longer has. */
async function deleted(admin: Bus, stream = STREAM) {
  const chunks: Uint8Array[] = [];
  const head: SnapshotHead = await snapshotStream(admin, stream, async (chunk) => void chunks.push(chunk.slice()));
  await admin.jsm.streams.delete(stream);
  async function* pieces() {
    yield* chunks;
  }
  return { head, pieces };
}

/** The bus, with requests sent by a function. */
const sendingBy = (bus: Bus, send: Bus['requests']['send']): Bus =>
  new Proxy(bus, {
    get: (target, name) => (name === 'requests' ? { send } : Reflect.get(target, name, target)),
  });

test('restore - a leader that is elected later than a request may take', async () => {
  await using nats = await startBus();
  const { head, pieces } = await deleted(await nats.connect('admin'));
  const impatient = await nats.connect('admin', { timeoutMs: PATIENCE_MS });
  await freeze(nats.pid);
  const restored = restoreStream(impatient, head, pieces());
  restored.catch(() => undefined);
  const control = impatient.requests.send(`$JS.API.STREAM.INFO.${STREAM}`, undefined, {});
  await expect(control, 'control: another request').rejects.toMatchObject({ code: 'BUS_TIMEOUT' });
  process.kill(nats.pid, 'SIGCONT');
  expect((await restored).config.name).toBe(STREAM);
});

test('restore - a request about the restored stream without a response', async () => {
  await using nats = await startBus();
  const admin = await nats.connect('admin');
  const { head, pieces } = await deleted(admin);
  const lossy = losing(admin, `$JS.API.STREAM.INFO.${STREAM}`, 'answer');
  expect((await restoreStream(lossy.bus, head, pieces())).config.name).toBe(STREAM);
  expect(lossy.requests()).toBe(2);
  // The control: an error that time does not heal is not repeated.
  const other = await deleted(admin);
  let requests = 0;
  const send = async (...args: Parameters<Bus['requests']['send']>) => {
    if (!args[0].startsWith('$JS.API.STREAM.INFO.')) return admin.requests.send(...args);
    requests += 1;
    throw new BusError('BUS_REFUSED', 'refused');
  };
  await expect(restoreStream(sendingBy(admin, send), other.head, other.pieces())).rejects.toMatchObject({
    code: 'BUS_REFUSED',
  });
  expect(requests).toBe(1);
});

test('restore - a server that does not know yet where the chunks go', async () => {
  await using nats = await startBus();
  const admin = await nats.connect('admin');
  const { head, pieces } = await deleted(admin);
  let attempts = 0;
  const send = async (...args: Parameters<Bus['requests']['send']>) => {
    if (!args[0].startsWith('$JS.SNAPSHOT.RESTORE.')) return admin.requests.send(...args);
    attempts += 1;
    if (attempts > 2) return admin.requests.send(...args);
    throw new BusError('BUS_NO_STREAM', `${args[0]}: no responders`);
  };
  expect((await restoreStream(sendingBy(admin, send), head, pieces())).config.name).toBe(STREAM);
  expect(attempts).toBeGreaterThan(2);
});

// The restore knows the last restored message, and so the place of the new life, only at its end.
test('restore - no reader opens a stream before its end is known; one that ended early gets a life by bus setup', async () => {
  await using nats = await startBus();
  const admin = await nats.connect('admin');
  const publisher = new FramePublisher(await nats.connect('collector-node-a'));
  const send = (id: string) =>
    publisher
      .publish(violationSubject('node-a', 'spoof'), Buffer.from(id), { msgId: id })
      .then(({ sequence }) => sequence);
  for (const id of ['one', 'two', 'three']) await send(id);
  const { head, pieces } = await deleted(admin, 'VIOLATIONS');
  const config = { ...head.config, subjects: subjectsOfRestoring('VIOLATIONS') };
  // Stored while the snapshot was taken: the third message.
  const state = { ...head.state, last_seq: 2 };
  const restored = await restoreStream(admin, { config, state } as SnapshotHead, pieces());
  expect(restored.state.last_seq).toBe(3);
  await expect(streamInfo(admin, 'VIOLATIONS')).rejects.toMatchObject({ code: 'BUS_NO_STREAM' });
  // A service that starts.
  const why = await new Promise<string>((resolve) => {
    const health = { ready: () => undefined };
    const started = new AbortController();
    const onWait = (_: string, { message }: BusError) => {
      started.abort();
      resolve(message);
    };
    waitForTopology(admin, ['VIOLATIONS'], { signal: started.signal, health, onWait }).catch(() => undefined);
  });
  expect(why).toMatch(/^VIOLATIONS is being restored: /);

  const seen: number[] = [];
  const waits: string[] = [];
  const end = new AbortController();
  const reading = underWay(
    consumeOrdered(await nats.connect('siem-relay'), 'VIOLATIONS', {
      start: 'all',
      onMessage: ({ sequence }) => void seen.push(sequence),
      onRestart: (why) => void waits.push(why),
      signal: end.signal,
    }),
  );
  await waitFor(() => waits.length > 0, { what: 'the reader to wait' });
  expect([waits[0], seen]).toEqual([expect.stringContaining('VIOLATIONS is being restored'), []]);
  expect((await ensureTopology(admin)).changed).toEqual(['VIOLATIONS']);
  const fourth = send('four');
  await waitFor(() => seen.length === 4, { what: 'all messages', state: () => ({ seen, waits }) });
  end.abort();
  await reading;
  expect(await fourth).toBe(4);
  const info = await streamInfo(admin, 'VIOLATIONS');
  const created = lifeOf(info, 1);
  expect([2, 3].map((sequence) => lifeOf(info, sequence))).toEqual([created, created]);
  expect(lifeOf(info, 4)).toBeGreaterThan(created);
  // The control: a stream that has its life keeps it.
  expect((await ensureTopology(admin)).changed).toEqual([]);
  expect((await storedStreamInfo(admin, 'VIOLATIONS')).config.metadata).toEqual(info.config.metadata);
  publisher.close();
});
