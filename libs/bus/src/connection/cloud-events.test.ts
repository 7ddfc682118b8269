import { expect, test } from 'vitest';
import { cloudEventHeaders, rfc3339Micros } from './cloud-events.ts';
import { microsOf } from './server-clock.ts';

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

test('cloud events - the cluster is an extension; a name with any character is one header', () => {
  const event = { id: '1', type: 't', source: '/s', timeMicros: 0 };
  const headers = cloudEventHeaders({ ...event, cluster: { uid: '6d3b', name: 'Süd 1\r\nce-id: 2%' } });
  expect(headers).toMatchObject({ 'ce-clusteruid': '6d3b', 'ce-clustername': 'S%C3%BCd%201%0D%0Ace-id:%202%25' });
  for (const cluster of [undefined, { uid: '', name: '' }])
    expect(Object.keys(cloudEventHeaders({ ...event, cluster })).filter((key) => /cluster/.test(key))).toEqual([]);
});

test.each([0, 1, 999_999, 1_790_000_000_123_456])('cloud events - %d microseconds are kept', (micros) => {
  expect(microsOf(rfc3339Micros(micros))).toBe(micros);
});
