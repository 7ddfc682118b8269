import { expect, test } from 'vitest';
import { microsOf } from '../streams/direct.ts';
import { cloudEventHeaders, rfc3339Micros } from './cloud-events.ts';

test('cloud events - the attributes of a frame', () => {
  expect(
    cloudEventHeaders({
      id: 'node-a/boot/7',
      type: 'dev.bailiff.violation-frame.v1',
      source: '/nodes/node-a',
      timeMicros: 1_790_000_000_000_042,
    }),
  ).toEqual({
    'ce-specversion': '1.0',
    'ce-id': 'node-a/boot/7',
    'ce-type': 'dev.bailiff.violation-frame.v1',
    'ce-source': '/nodes/node-a',
    'ce-time': '2026-09-21T14:13:20.000042Z',
    'Content-Type': 'avro/binary',
  });
});

test.each([0, 1, 999_999, 1_790_000_000_123_456])('cloud events - %d microseconds are kept', (micros) => {
  expect(microsOf(rfc3339Micros(micros))).toBe(micros);
});
