import { sampleViolation } from '@bailiff/schemas/testing';
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
const tally = (most?: { groups?: number; counters?: number }) => new Tally<string>((key) => key, most);
const at = (sequence: number, nodeName = 'n') => ({ sequence, nodeName });

describe('tally', () => {
  it('packets - what a counter grew by within what was read, whatever it was before', () => {
    const counts = tally();
    counts.add('a', violation('e', 1_000, 10), at(1));
    counts.add('a', violation('e', 1_025, 25), at(2));
    expect(counts.groups()[0]).toMatchObject({ packets: 35, violations: 2, firstSequence: 1, lastSequence: 2 });
  });

  it('packets - one that came twice adds nothing, one that was lost is made up for', () => {
    const counts = tally();
    counts.add('a', violation('e', 10, 10), at(1));
    counts.add('a', violation('e', 10, 10), at(2));
    counts.add('a', violation('e', 40, 10), at(4));
    expect(counts.groups()[0]?.packets).toBe(40);
  });

  it('groups - most packets first, with the newest that has a sample', () => {
    const counts = tally();
    counts.add('few', violation('e1', 1, 1, 50), at(1));
    counts.add('many', violation('e2', 9, 9, 10), at(2));
    counts.add('many', { ...violation('e3', 1, 1, 90), sample: null }, at(3));
    const [first, second] = counts.groups();
    expect([first?.key, second?.key]).toEqual(['many', 'few']);
    expect(first).toMatchObject({ packets: 10, firstAtMicros: 10, lastAtMicros: 90, sample: { counterEpoch: 'e2' } });
  });

  it('bound - counters above it are counted by their own increments, and the result says so', () => {
    const counts = tally({ counters: 2 });
    counts.add('a', violation('e1', 5, 5), at(1));
    expect(counts.inexact).toBe(false);
    for (const epoch of ['e2', 'e2']) counts.add('a', violation(epoch, 7, 7), at(2));
    expect(counts.groups()[0]?.packets).toBe(19);
    expect(counts.inexact).toBe(true);
  });

  it('bound - a node that invents groups gets half of them, the rest is counted; another node has its own', () => {
    const counts = tally({ groups: 100 });
    for (let n = 0; n < 1_000; n += 1) counts.add(`junk-${n}`, violation(`e${n}`, 3, 3), at(1, 'flood'));
    counts.add('real', violation('e', 8, 8), at(2, 'quiet'));
    expect(counts.groups()).toHaveLength(51);
    expect(counts.groups()[0]).toMatchObject({ key: 'real', packets: 8 });
    expect(counts.rest).toEqual({ violations: 950, packets: 2_850 });
    // The control: a known group grows on.
    counts.add('junk-0', violation('e0', 9, 6), at(3, 'flood'));
    expect(counts.groups()[0]).toMatchObject({ key: 'junk-0', packets: 9 });
  });
});
