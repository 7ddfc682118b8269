import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CountWindow, ValueWindow } from './count-windows.ts';
import { MAX_EVIDENCE } from './evidence.ts';
import { BUCKETS, windowPools } from './group-window.ts';
import { OrderedStageWindow, StageWindow } from './stage-windows.ts';
import { MAX_STEPS } from './step-times.ts';
import { StringInterner } from './string-interner.ts';
import { UNKNOWN_TIME } from './time.ts';

const pools = windowPools;
const T = 60_000_000;
const WIDTH = T / BUCKETS;

/** Events whose times advance, repeat, jump over the window, and step back a little. */
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

/** The clock of a window: it never moves back. */
function clocksOf(given: readonly number[]): number[] {
  let clock = -1;
  return given.map((time) => {
    clock = Math.max(clock, time);
    return clock;
  });
}

/** A violation in the window of an ordered rule: when it counts, and its node time. */
interface Counted {
  clock: number;
  own: number;
  mask: number;
  seen?: boolean;
}

/**
 * Whether one violation per stage, in list order, forms a chain that the newest ends; all in the
 * window.
 */
function isLastOfChain(counted: readonly Counted[], stages: number): boolean {
  const now = (counted.at(-1) as Counted).clock;
  const fits = ({ mask, clock }: Counted, stage: number) => ((mask >> stage) & 1) === 1 && clock > now - T;
  /** Whether the stages below this one occur before this position. */
  const before = (place: number, stage: number): boolean =>
    stage === 0 || counted.slice(0, place).some((one, at) => fits(one, stage - 1) && before(at, stage - 1));
  return fits(counted.at(-1) as Counted, stages - 1) && before(counted.length - 1, stages - 1);
}

/** Whether one violation per stage, sorted by node time, forms a chain that contains the newest. */
function isOneOfChain(counted: readonly Counted[], stages: number): boolean {
  const newest = counted.at(-1) as Counted;
  const sorted = counted
    .filter(({ own }) => own !== UNKNOWN_TIME && own > newest.clock - T)
    // The sort is stable: equal times stay in stream order.
    .sort((a, b) => a.own - b.own);
  const fits = ({ mask, seen }: Counted, stage: number) =>
    ((mask >> stage) & 1) === 1 && (seen !== false || stage === 0);
  const choose = (from: number, stage: number, held: boolean): boolean => {
    if (stage === stages) return held;
    return sorted.some(
      (one, at) => at >= from && fits(one, stage) && choose(at + 1, stage + 1, held || one === newest),
    );
  };
  return choose(0, 0, false);
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
        const counted = clocksOf(given).map((clock) => ({
          clock,
          own: UNKNOWN_TIME,
          mask: stream.next().value as number,
        }));
        given.forEach((time, k) => {
          expect(window.add(time, (counted[k] as Counted).mask, T) === 3).toBe(
            isLastOfChain(counted.slice(0, k + 1), 3),
          );
        });
      }),
    );
  });

  /** Stages, maximum violations, and whether steps between two of the same stage may be dropped. */
  const ordered = [
    { stages: 2, most: 80, exactly: true },
    { stages: 3, most: MAX_STEPS, exactly: true },
    { stages: 4, most: MAX_STEPS, exactly: true },
    { stages: 3, most: 160, exactly: false },
  ];
  it.each(ordered)(
    'ordered stages, own times - $stages stages, $most violations: complete as any order of the bus or of their times does',
    ({ stages, most, exactly }) => {
      let turned = 0;
      const violation = fc.record({
        step: fc.oneof(
          { weight: 9, arbitrary: fc.integer({ min: -1_000_000, max: 3_000_000 }) },
          { weight: 3, arbitrary: fc.constant(0) },
          { weight: 1, arbitrary: fc.nat({ max: 70_000_000 }) },
        ),
        late: fc.oneof(fc.constant(0), fc.nat({ max: 10_000_000 }), fc.constantFrom(null, 2_000_000, T - 1, T)),
        // Mostly of one stage, as in practice.
        mask: fc.oneof(
          { weight: 4, arbitrary: fc.nat({ max: stages - 1 }).map((stage) => 1 << stage) },
          fc.integer({ min: 1, max: (1 << stages) - 1 }),
        ),
        seen: fc.constantFrom(true, true, true, false),
      });
      const all = fc.array(violation, { minLength: 1, maxLength: most, size: 'max' });
      fc.assert(
        fc.property(all, (given) => {
          const window = new OrderedStageWindow('g', pools(), stages);
          const counted: Counted[] = [];
          let at = 1_800_000_000_000_000;
          let clock = 0;
          for (const { step, late, mask, seen } of given) {
            at += step;
            clock = Math.max(clock, at);
            const own = late === null ? UNKNOWN_TIME : at - late;
            counted.push({ clock, own, mask, seen });
            const completes = window.add(at, mask, T, own, seen) === stages;
            const ofBus = isLastOfChain(counted, stages);
            const ofTimes = isOneOfChain(counted, stages);
            if (exactly) expect(completes).toBe(ofBus || ofTimes);
            else if (completes) expect(ofBus || ofTimes).toBe(true);
            if (ofBus) expect(completes).toBe(true);
            if (completes && !ofBus) turned++;
          }
        }),
        { numRuns: 300 },
      );
      // Stream order alone finds fewer.
      expect(turned).toBeGreaterThan(20);
    },
  );

  it.each([
    ['between', 15],
    ['before', 9],
    ['behind', 21],
  ])(
    'ordered stages, own times - of more than are kept, one %s two of the same is left out and the oldest is not',
    (_, more) => {
      const window = new OrderedStageWindow('g', pools(), 3);
      const [first, second, third] = [1, 2, 4];
      const at = 1_800_000_000_000_000;
      const add = (matched: number, own: number) => window.add(at, matched, T, at - T + own);
      expect([add(first, 1), add(third, 10), add(third, 20)]).toEqual([1, 1, 1]);
      for (let i = 3; i < MAX_STEPS; i++) add(i % 2 === 0 ? third : first, 100 + i);
      add(third, more);
      expect(add(second, 5)).toBe(3);
    },
  );

  it('evidence - omits violations older than the window, and counts what it leaves out', () => {
    const window = new CountWindow('g', pools());
    const at = 1_800_000_000_000_000;
    const words = new StringInterner();
    for (let i = 0; i < 50; i++) {
      window.add(at + i, 1, T);
      window.recordEvidence(i, 0, 1, words.numberOf('ipv4-source', 'node', 0));
    }
    expect(window.evidenceSince(window.startAt(T), words).map((e) => e.streamSequence)).toEqual(
      Array.from({ length: 32 }, (_, i) => i + 18),
    );
    expect(window.violations).toBe(50);
    window.add(at + 2 * T, 1, T);
    expect(window.violations).toBe(1);
    expect(window.evidenceSince(0, words)).toEqual([]);
  });

  it('property - evidence is the newest since the window was empty, and rows are freed', () => {
    const both = pools();
    const words = new StringInterner();
    const process = { tgid: 7, uid: 0, comm: 'sh', executable: '/bin/sh', parentExecutable: '' };
    const by = { ...process, containerName: '', operation: '', subject: '' };
    const gaps = fc.array(fc.oneof({ weight: 60, arbitrary: fc.nat({ max: 500_000 }) }, fc.constant(2 * T)), {
      maxLength: 160,
    });
    fc.assert(
      fc.property(gaps, fc.nat({ max: 3 }), (all, seen) => {
        const window = new StageWindow('g', both, 2);
        let at = 1_800_000_000_000_000;
        let kept: { at: number; piece: object }[] = [];
        all.forEach((gap, i) => {
          at += gap;
          window.add(at, 1, T);
          const known = i % 4 < seen ? { ...by, tgid: i } : null;
          window.recordEvidence(i, i % 64, 2 * i, words.numberOf(`vector-${i % 3}`, 'node', 0), known);
          if (gap >= T) kept = [];
          const piece = { streamSequence: i, index: i % 64, vector: `vector-${i % 3}`, packets: 2 * i, process: known };
          kept.push({ at, piece });
          const newest = kept.slice(-MAX_EVIDENCE);
          for (const since of [0, window.startAt(T), at])
            expect(window.evidenceSince(since, words)).toEqual(newest.filter((k) => k.at >= since).map((k) => k.piece));
        });
        window.release();
        expect([both.stages.rows.used, both.stages.evidence.used]).toEqual([0, 0]);
      }),
      { numRuns: 60 },
    );
  });

  it('pools - a freed row is zero when it is allocated again', () => {
    const both = pools();
    const first = new CountWindow('a', both);
    first.add(1_800_000_000_000_000, 99, T);
    first.release();
    first.release();
    expect(both.counts.rows.used).toBe(0);
    const second = new CountWindow('b', both);
    expect(second.add(1_800_000_000_000_000, 1, T)).toBe(1);
  });
});
