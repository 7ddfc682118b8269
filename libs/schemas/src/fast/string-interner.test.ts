import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BoundedTap } from '../codec/bounded-tap.ts';
import { MAX_TEXT } from '../codec/limits.ts';
import { StringInterner } from './string-interner.ts';

/** A string in Avro's encoding, for lengths below 64. */
const encoded = (bytes: Uint8Array) => Buffer.from([bytes.length * 2, ...bytes]);

function read(strings: StringInterner, message: Buffer): string {
  const tap = new BoundedTap();
  tap.reset(message, 0);
  const text = strings.read(tap, MAX_TEXT.Violation.vector);
  expect(tap.pos).toBe(message.length);
  return text;
}

describe('string interner', () => {
  it('property - reads the bytes, whatever was read before', () => {
    const strings = new StringInterner();
    const few = fc.uint8Array({ min: 0x61, max: 0x63, maxLength: 3 });
    const any = fc.uint8Array({ maxLength: 63 });
    const likely = fc.constantFrom('é', '\u{1f47e}', 'default').map((text) => new Uint8Array(Buffer.from(text)));
    // One byte of a two-byte character is not the character.
    const broken = fc.constantFrom(new Uint8Array([0xe9]), new Uint8Array([0xff, 0xfd]));
    fc.assert(
      fc.property(fc.array(fc.oneof(few, any, likely, broken), { maxLength: 40 }), (all) => {
        for (const bytes of all) expect(read(strings, encoded(bytes))).toBe(Buffer.from(bytes).toString('utf8'));
      }),
      { numRuns: 300 },
    );
  });

  it.each([
    ['without a length', [], 'TRUNCATED'],
    ['truncated', [0x06, 0x61, 0x61], 'TRUNCATED'],
    ['of negative length', [0x05, 0x61, 0x61, 0x61], 'MALFORMED'],
    ['above its limit', [0x82, 0x06, ...Buffer.alloc(385, 'a')], 'FIELD_TOO_LONG'],
  ])('%s - is rejected', (_, bytes, code) => {
    const tap = new BoundedTap();
    tap.reset(Buffer.from(bytes), 0);
    expect(() => new StringInterner().read(tap, MAX_TEXT.Violation.vector)).toThrow(expect.objectContaining({ code }));
  });
});
