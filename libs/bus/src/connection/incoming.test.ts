import { describe, expect, it } from 'vitest';
import { HeaderBlock, MAX_HEADER_BYTES } from './incoming.ts';

const block = (...lines: string[]) =>
  new HeaderBlock(Buffer.from(`NATS/1.0\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`));
const raw = (text: string) => new HeaderBlock(Buffer.from(text, 'latin1'));
const SOURCE =
  'Nats-Stream: S\r\nNats-Subject: a.b\r\nNats-Sequence: 7\r\nNats-Time-Stamp: 2036-01-01T00:00:00Z\r\n\r\n';

describe('header block', () => {
  it('a header - its first value, trimmed, by its exact name', () => {
    const headers = block('A: one', 'B:two', 'A:  three ', 'Bailiff-Why: größer');
    expect(['A', 'B', 'a', 'C', 'Bailiff-Why'].map((name) => headers.get(name))).toEqual([
      'one',
      'two',
      '',
      '',
      'größer',
    ]);
    expect(['A', 'B', 'C'].map((name) => headers.occurrences(name))).toEqual([2, 1, 0]);
    expect([headers.has('B'), headers.has('b')]).toEqual([true, false]);
    expect(headers.entries()).toHaveLength(4);
  });

  it('a name within a value is no header', () => {
    expect(block('A: x B: y', 'C: B: z').get('B')).toBe('');
  });

  it.each([
    ['NATS/1.0\r\n\r\n', 0, ''],
    ['NATS/1.0 503\r\n\r\n', 503, ''],
    ['NATS/1.0 404 No Messages\r\nA: b\r\n\r\n', 404, 'No Messages'],
    ['NATS/1.0 abc\r\n\r\n', 0, ''],
    ['HTTP/1.1 200 OK\r\n\r\n', 0, ''],
  ])('status of %j', (text, code, description) => {
    expect(raw(text)).toMatchObject({ code, description });
  });

  it.each([
    ['a block', 'NATS/1.0\r\nA: b\r\n\r\n', true],
    ['a name that the client refuses', 'NATS/1.0\r\na b: x\r\nA: b\r\n\r\n', true],
    ['a line without a colon', 'NATS/1.0\r\nabc\r\nA: b\r\n\r\n', true],
    ['no terminator', 'NATS/1.0\r\nA: b', false],
    ['another protocol', 'HTTP/1.1 200 OK\r\nA: b\r\n\r\n', false],
    ['one byte', 'N', false],
    ['at the limit', `NATS/1.0\r\nA: b\r\nx: ${'x'.repeat(MAX_HEADER_BYTES - 23)}\r\n\r\n`, true],
    ['above the limit', `NATS/1.0\r\nA: b\r\nx: ${'x'.repeat(MAX_HEADER_BYTES - 22)}\r\n\r\n`, false],
  ])('readable: %s', (_, text, isReadable) => {
    const headers = raw(text);
    expect(headers.isReadable).toBe(isReadable);
    expect(headers.get('A')).toBe(isReadable ? 'b' : '');
  });

  it.each([
    ['alone', `NATS/1.0\r\n${SOURCE}`],
    ['behind a forged source', `NATS/1.0\r\n${SOURCE.replace('S', 'X').replace('7', '8').slice(0, -2)}${SOURCE}`],
    ['behind a header without an end', `NATS/1.0\r\na: b${SOURCE}`],
    ['behind a status', `NATS/1.0 503${SOURCE}`],
    ['behind a block above the limit', `NATS/1.0\r\na: ${'x'.repeat(60_000)}\r\n${SOURCE}`],
  ])('source: %s', (_, text) => {
    expect(Object.fromEntries(raw(text).source())).toEqual({
      'Nats-Stream': 'S',
      'Nats-Subject': 'a.b',
      'Nats-Sequence': '7',
      'Nats-Time-Stamp': '2036-01-01T00:00:00Z',
    });
  });

  it('source: none', () => {
    expect(block('A: b').source().size).toBe(0);
  });
});
