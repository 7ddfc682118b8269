import { sampleViolation } from '@bailiff/schemas/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Tally } from './tally.ts';

const violation = (epoch: string, cumulative: number, grown: number, at = 1) =>
  sampleViolation({
    counterEpoch: epoch,
    cumulativePackets: cumulative,
    count: Math.min(1, grown),
    suppressed: Math.max(0, grown - 1),
    firstSeenAt: at,
    lastSeenAt: at,
  });
const tally = (max?: number) => new Tally<string>((key) => key, max);

describe('tally', () => {
  it('packets - what a counter grew by within what was read, whatever it was before', () => {
    const counts = tally();
    counts.add('a', violation('e', 1_000, 10), 1);
    counts.add('a', violation('e', 1_025, 25), 2);
    expect(counts.groups()[0]).toMatchObject({ packets: 35, violations: 2, firstSequence: 1, lastSequence: 2 });
  });

  it('packets - one that came twice adds nothing, one that was lost is made up for', () => {
    const counts = tally();
    counts.add('a', violation('e', 10, 10), 1);
    counts.add('a', violation('e', 10, 10), 2);
    counts.add('a', violation('e', 40, 10), 4);
    expect(counts.groups()[0]?.packets).toBe(40);
  });

  it('property - any order and any repetition give the same packets', () => {
    const growths = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(growths, fc.infiniteStream(fc.nat()), (steps, picks) => {
        let total = 0;
        const all = steps.map((step) => {
          total += step;
          return violation('e', total, step);
        });
        const again = [...picks.take(10)].map((pick) => all[pick % all.length] as (typeof all)[0]);
        const counts = tally();
        for (const one of [...again, ...all]) counts.add('a', one, 1);
        expect(counts.groups()[0]?.packets).toBe(total);
      }),
    );
  });

  it('groups - most packets first, with the newest that has a sample', () => {
    const counts = tally();
    counts.add('few', violation('e1', 1, 1, 50), 1);
    counts.add('many', violation('e2', 9, 9, 10), 2);
    counts.add('many', { ...violation('e3', 1, 1, 90), sample: null }, 3);
    const [first, second] = counts.groups();
    expect([first?.key, second?.key]).toEqual(['many', 'few']);
    expect(first).toMatchObject({ packets: 10, firstAtMicros: 10, lastAtMicros: 90, sample: { counterEpoch: 'e2' } });
  });

  it('bound - counters above it are counted by their own increments, and the result says so', () => {
    const counts = tally(1);
    counts.add('a', violation('e1', 5, 5), 1);
    expect(counts.inexact).toBe(false);
    counts.add('a', violation('e2', 7, 7), 2);
    expect(counts.groups()[0]?.packets).toBe(12);
    expect(counts.inexact).toBe(true);
  });
});
