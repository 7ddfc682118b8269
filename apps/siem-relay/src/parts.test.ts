// Order of completion and syslog frames: the parts of the relay beside the mapping.
import { BUCKETS } from '@bailiff/bus';
import { omissionEvent, type Place, render } from '@bailiff/siem';
import { expect, it } from 'vitest';
import { InOrder } from './in-order.ts';
import { MAX_HELD } from './outputs/batch.ts';
import { MAX_AHEAD } from './outputs/runner.ts';
import { syslogFrame } from './syslog/message.ts';

it('in order - returns only the newest message with everything before it complete, once', () => {
  const order = new InOrder<number>();
  const [first, second] = [order.add(1, 2), order.add(2, 1)];
  order.add(3, 0);
  expect(order.advance()).toBeNull();
  expect(second()).toBeNull();
  expect(first()).toBeNull();
  expect(order.oldest).toBe(1);
  expect(first()).toBe(3);
  expect([order.size, order.oldest, order.advance()]).toEqual([0, null, null]);
});

it('omissions - one that a crash repeated up to another message has another id, and the same one the same', () => {
  const place: Place = { stream: 'VIOLATIONS', createdMs: 1, sequence: 7, storedMicros: 1 };
  const idOf = (lastSequence: number, events: number) => {
    const value = { events, firstSequence: 7, lastSequence, sinceMicros: 1, untilMicros: 2 };
    return render(omissionEvent(value, 'node-1', place), 'ocsf', '1.0.0', '1.5').msgId;
  };
  expect(idOf(900, 10)).toBe(idOf(900, 10));
  expect(new Set([idOf(900, 10), idOf(901, 10), idOf(900, 11)]).size).toBe(3);
});

it('syslog - RFC 5424 in an octet-counting frame, its length in bytes', () => {
  const frame = syslogFrame({
    facility: 'local0',
    severity: 5,
    timeMicros: 1_790_000_000_123_456,
    host: 'node-1.example',
    procId: '42',
    messageId: 'network-activity',
    version: '1.0"]',
    text: Buffer.from('é'),
  });
  const [length = '', ...rest] = frame.toString('utf8').split(' ');
  expect(Number(length)).toBe(frame.length - length.length - 1);
  expect(rest.join(' ')).toBe(
    '<130>1 2026-09-21T14:13:20.123456Z node-1.example bailiff 42 network-activity ' +
      '[origin software="bailiff" swVersion="1.0\\"\\]"] é',
  );
});

it('syslog - a field without anything printable is "-", a long one is cut', () => {
  const frame = syslogFrame({
    facility: 'audit',
    severity: 1,
    timeMicros: 0,
    host: 'x'.repeat(300),
    procId: '',
    messageId: 'a b\nc',
    version: '',
    text: Buffer.from('m'),
  }).toString('ascii');
  expect(frame).toContain(` ${'x'.repeat(255)} bailiff - abc [`);
  expect(frame).toMatch(/^\d+ <110>1 1970-01-01T00:00:00\.000000Z /);
});

it('positions - the bucket takes the largest one, and has room for one of each key', () => {
  const { maxBytes = 0, maxValueBytes = 0, keys = [] } = BUCKETS.find(({ bucket }) => bucket === 'bailiff_siem') ?? {};
  const ahead = Array.from({ length: MAX_AHEAD + MAX_HELD }, (_, n) => 9_999_990_000 + n);
  const most = {
    created: '2026-11-30T06:40:43.000000000Z',
    sequence: ahead[0],
    known: ahead[0],
    ahead,
    output: 'o'.repeat(63),
  };
  expect(JSON.stringify(most).length).toBeLessThan(maxValueBytes);
  expect(keys.length * (maxValueBytes + 8_192)).toBeLessThan(maxBytes);
});
