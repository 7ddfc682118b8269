// The bucket of SIEM positions holds its keys and nothing else: a client in the core account
// chooses the reply subject of its requests, and must not fill the bucket with responses.
import { type Bus, ensureTopology, openBucket, SIEM_POSITIONS, streamConfigs, streamInfo } from '@bailiff/bus';
import { waitFor } from '@bailiff/service/testing';
import { DiscardPolicy } from '@nats-io/jetstream';
import { expect, test } from 'vitest';
import { startBus } from '../support/bus.ts';

const STREAM = 'KV_bailiff_siem';
const BATCH = 200;
/** Requests whose responses the server sends to other keys of the bucket; the errors are short. */
async function redirect(bus: Bus): Promise<void> {
  for (let n = 0; n < BATCH; n += 1) {
    for (const body of ['', '{'])
      bus.nc.publish('$JS.API.STREAM.INFO.SIEM', body, { reply: `$KV.bailiff_siem.junk-${sent++}` });
  }
  await bus.nc.flush();
}
let sent = 0;

test('siem positions - redirected responses filled the bucket; set up again, it stores positions and nothing else', async () => {
  await using nats = await startBus();
  const admin = await nats.connect('admin');
  const relay = await nats.connect('siem-relay');
  const positions = openBucket(relay, 'bailiff_siem');
  // The control: the bucket as it was before.
  const found = (await streamInfo(admin, STREAM)).config;
  const before = { ...found, subjects: ['$KV.bailiff_siem.>'], discard: DiscardPolicy.New };
  await admin.jsm.streams.update(STREAM, before);
  const position = JSON.stringify({ created: '2026-11-30T06:40:43.000000000Z', sequence: 1_000_000 });
  const write = () => positions.put('violations', position);
  const any = openBucket(admin, 'bailiff_siem');
  let keys = 0;
  const isFull = async () => {
    await redirect(relay);
    // A further key: newer servers let a key of a full bucket change.
    return any.put(`k${keys++}`, position).then(
      () => false,
      ({ code }) => code === 'BUS_FULL',
    );
  };
  const state = async () => (await streamInfo(admin, STREAM)).state;
  await waitFor(isFull, { what: 'the bucket to be full', intervalMs: 1, state });
  await expect(write()).rejects.toMatchObject({ code: 'BUS_FULL' });

  expect((await ensureTopology(admin)).changed).toEqual([STREAM]);
  await write();
  const { messages } = await state();
  await redirect(relay);
  await write();
  expect((await state()).messages).toBe(messages);
  for (const key of SIEM_POSITIONS) await positions.put(key, position);
  expect((await state()).bytes).toBeLessThanOrEqual(found.max_bytes);
});

test('siem positions - a new bucket holds at most one value of each key', async () => {
  const config = streamConfigs().find(({ name }) => name === STREAM);
  expect(config).toMatchObject({ max_msgs_per_subject: 1, discard: DiscardPolicy.Old });
  expect(config?.subjects).toHaveLength(SIEM_POSITIONS.length);
});
