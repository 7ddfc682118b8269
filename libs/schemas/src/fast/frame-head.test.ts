import { describe, expect, it } from 'vitest';
import { encodeViolationFrame } from '../codec/codec.ts';
import { RELEASED_SCHEMAS } from '../generated/schemas.gen.ts';
import { sampleFrame, sampleViolation } from '../testing.ts';
import { announcedViolations } from './frame-head.ts';

const of = (count: number) =>
  encodeViolationFrame(sampleFrame({ violations: Array.from({ length: count }, () => sampleViolation()) }));

describe('violations that a frame announces', () => {
  it.each([0, 1, 63, 64])('%i', (count) => {
    expect(announcedViolations(of(count))).toBe(count);
    // The rest of the frame is not read.
    expect(announcedViolations(of(count).subarray(0, -1))).toBe(count);
  });

  it('of a released schema: its frames begin alike', () => {
    const released = RELEASED_SCHEMAS.filter(({ name }) => name === 'ViolationFrame');
    expect(released).not.toEqual([]);
    for (const { text, fingerprint } of released) {
      const fields = (JSON.parse(text) as { fields: { name: string }[] }).fields.map(({ name }) => name);
      expect(fields.slice(0, 6).join()).toBe('nodeName,bootId,frameSequence,publishedAt,collectorVersion,violations');
      const frame = Buffer.from(of(7));
      frame.writeBigUInt64LE(BigInt(`0x${fingerprint}`), 2);
      expect(announcedViolations(frame)).toBe(7);
    }
  });

  it('null: no frame, an unknown schema, a beginning that is cut or too long', () => {
    const unknown = Buffer.from(of(1));
    unknown.writeUInt32LE(0, 2);
    const tooLong = Buffer.concat([of(1).subarray(0, 10), Buffer.from([0xfe, 0xff, 0xff, 0x7f])]);
    for (const message of [Buffer.alloc(0), Buffer.from('text'), unknown, of(1).subarray(0, 20), tooLong])
      expect(announcedViolations(message)).toBeNull();
  });
});
