import { type Bus, deadLetter, getMessage, MAX_LETTER_BYTES, violationSubject } from '@bailiff/bus';
import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { readAll, startBus, text } from '../support/bus.ts';

test('dead letters - hold the bytes, their origin, and the reason in one line', async () => {
  await using nats = await startBus();
  await deadLetter(await nats.connect('responder'), {
    stream: 'VERDICTS',
    sequence: 1,
    subject: 'bailiff.v1.verdicts.high.default.web.0',
    reason: 'unknown-fingerprint',
    detail: 'line one\nline two',
    data: Buffer.from('0'),
  });
  const letters = await readAll(await nats.connect('cli'), 'DEAD_LETTERS');
  const shown = letters.map(({ subject, data, headers }) => ({
    subject,
    data: text({ data }),
    reason: headers?.get('Bailiff-Reason'),
    detail: headers?.get('Bailiff-Detail'),
    of: headers?.get('Bailiff-Subject'),
  }));
  expect(shown).toEqual([
    {
      subject: 'bailiff.v1.deadletters.verdicts.unknown-fingerprint.1',
      data: '0',
      reason: 'unknown-fingerprint',
      detail: 'line one line two',
      of: 'bailiff.v1.verdicts.high.default.web.0',
    },
  ]);
});

test('dead letters - one for each message and reason, however many replicas write it', async () => {
  await using nats = await startBus();
  const replicas = await Promise.all([1, 2, 3].map(() => nats.connect('correlator')));
  const letter = { stream: 'VIOLATIONS', sequence: 7, subject: 's', detail: '', data: Buffer.from('x') };
  const outcomes = await Promise.all(replicas.map((bus) => deadLetter(bus, { ...letter, reason: 'foreign-pod' })));
  expect(outcomes.filter(({ outcome }) => outcome === 'stored')).toHaveLength(1);
  await deadLetter(replicas[0] as Bus, { ...letter, reason: 'truncated' });
  const letters = await readAll(await nats.connect('cli'), 'DEAD_LETTERS');
  expect(letters.map(({ subject }) => subject)).toEqual([
    'bailiff.v1.deadletters.violations.foreign-pod.7',
    'bailiff.v1.deadletters.violations.truncated.7',
  ]);
});

test('dead letters - of a message of the maximum size, only the beginning is kept, with its size', async () => {
  await using nats = await startBus();
  const collector = await nats.connect('collector-node-a');
  const subject = violationSubject('node-a', 'spoof');
  const largest = Buffer.alloc(collector.nc.info?.max_payload ?? 0, 'x');
  collector.nc.publish(subject, largest);
  const bus = await nats.connect('correlator');
  const frame = await waitFor(() => getMessage(bus, 'VIOLATIONS', 1), { what: 'the frame, whole' });
  expect(frame.data).toHaveLength(largest.length);
  const letter = { stream: 'VIOLATIONS', sequence: 1, subject, reason: 'unreadable', detail: 'x', data: frame.data };
  expect(await deadLetter(bus, letter)).toMatchObject({ outcome: 'stored' });
  expect(bus.connects).toBe(1);
  const [stored] = await readAll(await nats.connect('cli'), 'DEAD_LETTERS');
  expect(stored?.data.length).toBe(MAX_LETTER_BYTES);
  expect(stored?.headers?.get('Bailiff-Size')).toBe(`${largest.length}`);
});
