import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Vocabulary } from './evidence.ts';
import { BUCKETS, CountWindow, OrderedStageWindow, StageWindow, ValueWindow, windowPools } from './windows.ts';

const pools = windowPools;
const T = 60_000_000;
const WIDTH = T / BUCKETS;

/** Events whose times go forwards, stand still, jump over the window, and run back a little. */
const times = fc
  .array(
    fc.oneof(fc.integer({ min: -8_000_000, max: 20_000_000 }), fc.constant(0), fc.integer({ min: 0, max: 90_000_000 })),
    {
      minLength: 1,
      maxLength: 80,
    },
  )
  .map((steps) => {
    let at = 1_800_000_000_000_000;
    return steps.map((step) => {
      at += step;
      return at;
    });
  });

/** Time as a window has it: never back. */
function clocksOf(given: readonly number[]): number[] {
  let clock = -1;
  return given.map((time) => {
    clock = Math.max(clock, time);
    return clock;
  });
}

describe('windows - against a brute-force oracle', () => {
  it('count - equals the sum of the newest buckets, and lies between the exact sums of T - one bucket and T', () => {
    const amounts = fc.infiniteStream(fc.integer({ min: 0, max: 1_000_000 }));
    fc.assert(
      fc.property(times, amounts, (given, stream) => {
        const window = new CountWindow('g', pools());
        const clocks = clocksOf(given);
        const packets = given.map(() => stream.next().value as number);
        const bucketOf = (time: number) => Math.floor(time / WIDTH);
        given.forEach((time, index) => {
          const total = window.add(time, packets[index] as number, T);
          const now = clocks[index] as number;
          const sum = (isIn: (clock: number) => boolean) =>
            clocks.slice(0, index + 1).reduce((a, clock, i) => (isIn(clock) ? a + (packets[i] as number) : a), 0);
          expect(total).toBe(sum((clock) => bucketOf(clock) > bucketOf(now) - BUCKETS));
          expect(total).toBeLessThanOrEqual(sum((clock) => clock > now - T));
          expect(total).toBeGreaterThanOrEqual(sum((clock) => clock > now - (T - WIDTH)));
        });
      }),
    );
  });

  it('value - equals the number of distinct values in the window, up to the limit', () => {
    const values = fc.infiniteStream(fc.integer({ min: 0, max: 12 }).map(String));
    fc.assert(
      fc.property(times, values, fc.integer({ min: 1, max: 8 }), (given, stream, limit) => {
        const window = new ValueWindow('g', pools());
        const clocks = clocksOf(given);
        const seen = given.map(() => stream.next().value as string);
        given.forEach((time, index) => {
          const distinct = window.add(time, seen[index] as string, limit, T);
          const now = clocks[index] as number;
          const inWindow = new Set(seen.slice(0, index + 1).filter((_, i) => (clocks[i] as number) > now - T));
          expect(distinct).toBe(Math.min(limit, inWindow.size));
        });
      }),
    );
  });

  it('stages - equal the stages seen in the window', () => {
    const masks = fc.infiniteStream(fc.integer({ min: 1, max: 7 }));
    fc.assert(
      fc.property(times, masks, (given, stream) => {
        const window = new StageWindow('g', pools(), 3);
        const clocks = clocksOf(given);
        const seen = given.map(() => stream.next().value as number);
        given.forEach((time, index) => {
          const count = window.add(time, seen[index] as number, T);
          const now = clocks[index] as number;
          let union = 0;
          for (let i = 0; i <= index; i++) if ((clocks[i] as number) > now - T) union |= seen[i] as number;
          expect(count).toBe([0, 1, 2].filter((stage) => (union >> stage) & 1).length);
        });
      }),
    );
  });

  it('ordered stages - complete exactly when a chain of distinct violations in their order ends here', () => {
    const masks = fc.infiniteStream(fc.integer({ min: 1, max: 7 }));
    fc.assert(
      fc.property(times, masks, (given, stream) => {
        const window = new OrderedStageWindow('g', pools(), 3);
        const clocks = clocksOf(given);
        const seen = given.map(() => stream.next().value as number);
        const matches = (i: number, stage: number) => ((seen[i] as number) >> stage) & 1;
        given.forEach((time, k) => {
          const reached = window.add(time, seen[k] as number, T);
          const now = clocks[k] as number;
          let complete = false;
          for (let i = 0; i < k; i++) {
            for (let j = i + 1; j < k; j++) {
              if ((clocks[i] as number) > now - T && matches(i, 0) && matches(j, 1) && matches(k, 2)) complete = true;
            }
          }
          expect(reached === 3).toBe(complete);
        });
      }),
    );
  });

  it('evidence - what is older than the window is not shown, and what is left out is counted', () => {
    const window = new CountWindow('g', pools());
    const at = 1_800_000_000_000_000;
    const words = new Vocabulary();
    for (let i = 0; i < 50; i++) {
      window.add(at + i, 1, T);
      window.evidence.add(window.clock, i, 0, 1, words.numberOf('ipv4-source'));
    }
    expect(window.evidence.since(window.startAt(T), words).map((e) => e.streamSequence)).toEqual(
      Array.from({ length: 32 }, (_, i) => i + 18),
    );
    expect(window.violations).toBe(50);
    window.add(at + 2 * T, 1, T);
    expect(window.violations).toBe(1);
    expect(window.evidence.since(0, words)).toEqual([]);
  });

  it('pools - a row that was given back is empty for the next one', () => {
    const both = pools();
    const first = new CountWindow('a', both);
    first.add(1_800_000_000_000_000, 99, T);
    first.release();
    first.release();
    expect(both.counts.used).toBe(0);
    const second = new CountWindow('b', both);
    expect(second.add(1_800_000_000_000_000, 1, T)).toBe(1);
  });
});
