import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { initialMeta } from './initial-meta.ts';

const SECOND = 1_000_000_000n;
const YEAR = 365n * 86_400n * SECOND;

describe('initial-meta', () => {
  it('numbers - later maps start above every number that earlier ones allocated', () => {
    fc.assert(
      fc.property(fc.bigInt(0n, YEAR / 2n), fc.bigInt(SECOND, YEAR / 10n), (bootNs, livedNs) => {
        const first = initialMeta(bootNs);
        const second = initialMeta(bootNs + livedNs);
        expect(second.nextGeneration).toBeGreaterThanOrEqual(first.nextGeneration + Number(livedNs / SECOND) * 99);
        expect(second.frameSequence).toBeGreaterThanOrEqual(first.frameSequence + (livedNs / SECOND) * 1_000_000n);
      }),
    );
  });
  it('bounds - a generation is never 0 and fits an Avro int, a frame sequence fits a number', () => {
    expect(initialMeta(0n)).toMatchObject({ nextGeneration: 1, frameSequence: 0n });
    fc.assert(
      fc.property(fc.bigInt(0n, 100n * YEAR), (bootNs) => {
        const { nextGeneration, frameSequence } = initialMeta(bootNs);
        expect(nextGeneration).toBeGreaterThan(0);
        expect(nextGeneration).toBeLessThan(2 ** 31 - 1_000_000);
        expect(frameSequence).toBeLessThan(2n ** 53n);
      }),
    );
  });
});
