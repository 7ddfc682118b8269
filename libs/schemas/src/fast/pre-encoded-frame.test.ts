import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeViolationFrame } from '../codec/codec.ts';
import type { Violation } from '../generated/types.gen.ts';
import { sampleFrame, sampleLsmViolation, sampleViolation } from '../testing.ts';
import { encodeCounterPart, encodeOwnerPart, encodePreEncodedFrame } from './pre-encoded-frame.ts';

const prepared = (violation: Violation) => ({
  ...violation,
  encodedCounter: encodeCounterPart(violation),
  encodedOwner: encodeOwnerPart(violation),
});

describe('pre-encoded frame', () => {
  it('property - has the bytes of encodeViolationFrame', () => {
    const violation = fc.record({
      vector: fc.string({ maxLength: 200 }),
      action: fc.constantFrom('drop' as const, 'audit' as const),
      counterEpoch: fc.string({ unit: 'binary', maxLength: 300 }),
      cumulativePackets: fc.maxSafeInteger().map((n) => Math.trunc(n / 2)),
      suppressed: fc.nat(),
      lastSeenAt: fc.nat({ max: 1_900_000_000_000_000 }),
      final: fc.boolean(),
      interfaceName: fc.string({ maxLength: 15 }),
      ifindex: fc.nat(),
      pod: fc.constantFrom(null, sampleViolation().pod),
      sample: fc.constantFrom(null, sampleViolation().sample),
      detail: fc.constantFrom('', 'a detail'),
    });
    const any = fc.oneof(violation.map(sampleViolation), violation.map(sampleLsmViolation));
    fc.assert(
      fc.property(fc.array(any, { maxLength: 64 }), (violations) => {
        const frame = sampleFrame({ violations });
        expect(encodePreEncodedFrame({ ...frame, violations: violations.map(prepared) })).toEqual(
          encodeViolationFrame(frame),
        );
      }),
      { numRuns: 200 },
    );
  });

  it('an invalid value - is rejected', () => {
    const violation = prepared(sampleViolation({ count: 0.5 }));
    const encode = () => encodePreEncodedFrame({ ...sampleFrame(), violations: [violation] });
    expect(encode).toThrow(expect.objectContaining({ code: 'INVALID_VALUE' }));
  });
});
