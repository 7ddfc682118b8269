import { CURRENT_SCHEMAS, encodeVerdict } from '@bailiff/schemas';
import { describe, expect, it } from 'vitest';
import { incident } from '../testing.ts';
import { hasFingerprint } from './schema-text.ts';
import { sensitiveRanges } from './sensitive.ts';

const record = (...fields: unknown[]) => JSON.stringify({ type: 'record', name: 'Verdict', fields });
const message = (...body: number[]) => Buffer.from([0xc3, 1, 0, 0, 0, 0, 0, 0, 0, 0, ...body]);
const whole = (bytes: Uint8Array) => [{ start: 0, end: bytes.length, class: 'unreadable' }];

describe('schemas of a hostile writer', () => {
  it.each([
    ['no JSON', '{', message(0)],
    ['no schema', '{"type":"record","name":"x"}', message(0)],
    ['null', 'null', message(0)],
    ['a record in itself', record({ name: 'a', type: 'Verdict' }), message(0)],
    ['a list in itself', record({ name: 'a', type: ['null', 'Verdict'] }), message(...Array(5_000).fill(2), 0)],
    [
      '2^48 items without bytes',
      record({ name: 'a', type: { type: 'array', items: 'null' } }),
      message(128, 128, 128, 128, 128, 128, 128, 1, 0),
    ],
    ['nested deep', '['.repeat(30_000) + ']'.repeat(30_000), message(0)],
  ])('%s - the message is redacted as a whole, and nothing is thrown', (_name, schema, bytes) => {
    expect(sensitiveRanges(bytes, schema)).toEqual(whole(bytes));
  });

  it('a recursive schema whose values end is read', () => {
    expect(sensitiveRanges(message(2, 2, 0), record({ name: 'a', type: ['null', 'Verdict'] }))).toEqual([]);
  });

  it('only a text with the fingerprint of a message is its schema', () => {
    const own = CURRENT_SCHEMAS.find(({ name }) => name === 'Verdict');
    if (!own) throw new Error('no schema');
    const { fingerprint, text } = own;
    expect(hasFingerprint(text, fingerprint)).toBe(true);
    // It would hide the part of an address or an argument.
    const renamed = text.replace('"EvidenceProcess"', '"Other"');
    const bytes = encodeVerdict(incident(1).verdict);
    expect(sensitiveRanges(bytes, renamed)).toEqual([]);
    expect(hasFingerprint(renamed, fingerprint)).toBe(false);
    expect(hasFingerprint('{', fingerprint)).toBe(false);
    expect(hasFingerprint(`${text}${' '.repeat(65_536)}`, fingerprint)).toBe(false);
  });
});
