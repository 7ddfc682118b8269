import { expect, test } from 'vitest';
import { microsOf } from '../connection/server-clock.ts';
import { parseDelivery } from './pull.ts';

test.each([
  ['nine tokens', '$JS.ACK.S.C.1.42.7.1790000000123456789.3'],
  ['twelve tokens', '$JS.ACK._.hash.S.C.1.42.7.1790000000123456789.3.token'],
])('delivery - a reply of %s is read', (_name, reply) => {
  expect(parseDelivery(reply)).toEqual({
    stream: 'S',
    consumer: 'C',
    deliveries: 1,
    streamSequence: 42,
    deliverySequence: 7,
    timestampMicros: 1_790_000_000_123_456,
    pending: 3,
  });
});

test.each(['', '_INBOX.abc', '$JS.ACK.S.C.1.42', '$JS.FC.S.C.1.42.7.1790000000123456789.3'])(
  'delivery - %s is none',
  (reply) => {
    expect(parseDelivery(reply)).toBeNull();
  },
);

test.each([
  ['2026-11-24T15:55:37.103768559Z', 1_795_535_737_103_768],
  ['2026-11-24T15:55:37Z', 1_795_535_737_000_000],
  ['2026-11-24T15:55:37.1Z', 1_795_535_737_100_000],
  ['2026-11-24T16:55:37.5+01:00', 1_795_535_737_500_000],
  ['yesterday', Number.NaN],
  ['', Number.NaN],
])('time - %s', (text, micros) => {
  expect(microsOf(text)).toBe(micros);
});
