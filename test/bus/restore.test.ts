// A restore on servers that elect leaders meanwhile, which leaves requests without a response.

import { type Bus, BusError, restoreStream, type SnapshotHead, snapshotStream } from '@bailiff/bus';
import { expect, test } from 'vitest';
import { freeze, losing, startBus } from '../support/bus.ts';

const STREAM = 'KV_bailiff_pods';
const PATIENCE_MS = 200;

/** A snapshot of an empty stream, which the server no longer has. */
async function deleted(admin: Bus) {
  const chunks: Uint8Array[] = [];
  const head: SnapshotHead = await snapshotStream(admin, STREAM, async (chunk) => void chunks.push(chunk.slice()));
  await admin.jsm.streams.delete(STREAM);
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
