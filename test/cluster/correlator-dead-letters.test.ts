// Dead letters of one node on a real bus: beyond its share they hold the beginning of their frames, so that the letters of
// others stay in the stream. A replay refuses what the letters that are gone may have refused.

import { deadLetter, ensureTopology, streamInfo, violationSubject } from '@bailiff/bus';
import { startNats } from '@bailiff/bus/testing';
import { PriorRefusals } from '@bailiff/correlation';
import { systemClock } from '@bailiff/service';
import { expect, test } from 'vitest';
import {
  DeadLetters,
  LETTER_BYTES_AT_ONCE,
  type Letter,
  readPriorRefusals,
} from '../../apps/correlator/src/dead-letters.ts';
import { readAll } from '../support/bus.ts';

const FRAME = Buffer.alloc(64 * 1024, 'x');
/** More than the share, and than the stream of this test holds. */
const LETTERS = 300;
const STREAM_BYTES = LETTER_BYTES_AT_ONCE + 2 * 1024 * 1024;
const QUIET = { sequence: 1, subject: violationSubject('good', 'spoof'), data: Buffer.from('evidence') };
const loud = (index: number) => ({ sequence: 10 + index, subject: violationSubject('bad', 'spoof'), data: FRAME });
const GONE = { sequence: 5, subject: '', data: new Uint8Array() };
const asLetter = ({ sequence, ...message }: typeof QUIET): Letter => {
  return { sequence, reason: 'foreign-pod', detail: 'x', indexes: [], message };
};

async function startBus() {
  const nats = await startNats();
  const admin = await nats.connect('admin');
  await ensureTopology(admin);
  await admin.jsm.streams.update('DEAD_LETTERS', { max_bytes: STREAM_BYTES });
  return { nats, admin, bus: await nats.connect('correlator') };
}

test('dead letters - large messages of one node do not replace the letter of another', async () => {
  const { nats, admin, bus } = await startBus();
  await using _nats = nats;
  const end = new AbortController();
  const letters = new DeadLetters({
    bus,
    clock: systemClock,
    priorRefusals: new PriorRefusals(0),
    signal: end.signal,
    onWritten: () => {},
    onError: (error) => expect.unreachable(error.message),
  });
  letters.add(asLetter(QUIET));
  for (let index = 0; index < LETTERS; index++) {
    letters.add(asLetter(loud(index)));
    if (index % 64 === 63) await letters.whenWritten();
  }
  await letters.whenWritten();
  letters.add(asLetter({ ...QUIET, sequence: 9_999 }));
  await letters.whenWritten();
  const stored = await readAll(admin, 'DEAD_LETTERS');
  expect(stored).toHaveLength(LETTERS + 2);
  expect([stored.at(0), stored.at(-1)].map((one) => one?.data.toString())).toEqual(['evidence', 'evidence']);
  const whole = LETTER_BYTES_AT_ONCE / FRAME.length;
  const kept = stored.filter(({ data }) => data.length === FRAME.length).length;
  // One more, if any token came back meanwhile.
  expect([whole, whole + 1]).toContain(kept);
  expect(letters.cut).toBe(LETTERS - kept);
  // A cut letter names its frame, and a replay knows it, also one whose frame is gone.
  const last = stored.find(({ subject }) => subject.endsWith(`.${9 + LETTERS}`))?.headers;
  expect([last?.get('Bailiff-Size'), last?.get('Bailiff-Sequence')]).toEqual([`${FRAME.length}`, `${9 + LETTERS}`]);
  await deadLetter(bus, { ...GONE, stream: 'VIOLATIONS', reason: 'foreign-pod', detail: '[] x' });
  const refusals = await readPriorRefusals(bus, 0, Date.now() * 1000, end.signal);
  expect([9 + LETTERS, GONE.sequence].map((sequence) => refusals.has(sequence, 'foreign-pod'))).toEqual([true, true]);
  end.abort();
});

test('dead letters - a replay refuses what letters that are gone may have refused; the control keeps frames', async () => {
  const { nats, admin, bus } = await startBus();
  await using _nats = nats;
  const write = ({ sequence, subject, data }: typeof QUIET) =>
    deadLetter(bus, { stream: 'VIOLATIONS', sequence, subject, reason: 'foreign-pod', detail: '[] x', data });
  const read = async () => {
    const refusals = await readPriorRefusals(bus, 0, Date.now() * 1000, AbortSignal.timeout(10_000));
    return ['good', 'other'].map((node) =>
      refusals.reasonOf({ node, sequence: QUIET.sequence + (node === 'good' ? 0 : 1), index: 0, timestampMicros: 1 }),
    );
  };
  await write(QUIET);
  expect(await read()).toEqual(['foreign-pod', undefined]);
  for (let index = 0; index < LETTERS; index++) await write(loud(index));
  // The control: with their frames, they replace the letter of the other node.
  expect((await streamInfo(admin, 'DEAD_LETTERS')).state.first_seq).toBeGreaterThan(1);
  expect(await read()).toEqual(['unproven-pod', 'unproven-pod']);
});
