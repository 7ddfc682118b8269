import type { BusError } from '@bailiff/bus';
import { startNats } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { subscribe } from '../../libs/bus/src/connection/incoming.ts';

const SUBJECT = 'bailiff.v1.replay.x';
const refuse = (text: string) => {
  if (text === 'bad') throw new RangeError('Invalid time value');
};

test('callback - an exception for one message is reported, and the next message arrives', async () => {
  await using nats = await startNats();
  const [reader, writer] = [await nats.connect('admin'), await nats.connect('admin')];
  const seen: string[] = [];
  const problems: BusError[] = [];
  reader.statusListeners.add((status) => {
    if (status.type === 'error') problems.push(status.error);
  });
  subscribe(reader, SUBJECT, (_, message) => {
    refuse(Buffer.from(message.data).toString());
    seen.push(Buffer.from(message.data).toString());
  });
  await reader.nc.flush();
  for (const text of ['first', 'bad', 'last']) writer.nc.publish(SUBJECT, text);
  await waitFor(() => seen.includes('last'), { what: 'the message after the bad one', state: () => seen });
  expect(seen).toEqual(['first', 'last']);
  expect(problems.map(({ message }) => message)).toEqual([
    `a message on ${SUBJECT} cannot be processed: Invalid time value`,
  ]);
});

test('callback - control: where the client gets the exception, it stops reading its socket', async () => {
  await using nats = await startNats();
  const [reader, writer] = [await nats.connect('admin'), await nats.connect('admin')];
  const seen: string[] = [];
  reader.nc.subscribe(SUBJECT, {
    callback: (_, message) => {
      seen.push(message.string());
      refuse(message.string());
    },
  });
  await reader.nc.flush();
  for (const text of ['first', 'bad', 'last']) writer.nc.publish(SUBJECT, text);
  await waitFor(() => seen.includes('bad'), { what: 'the bad message' });
  await writer.nc.flush();
  expect(seen).toEqual(['first', 'bad']);
});
