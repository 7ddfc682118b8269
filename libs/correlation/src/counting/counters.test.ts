import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { counterPool, DUPLICATE, EpochCounter } from './counters.ts';

const makeCounter = () => new EpochCounter(counterPool());

interface Report {
  cumulative: number;
  own: number;
  frame: number;
}

/** Violations of a correct collector for a counter that grows by these steps. */
function reportsOf(steps: readonly number[]): Report[] {
  let cumulative = 0;
  return steps.map((own, index) => {
    cumulative += own;
    return { cumulative, own, frame: index + 1 };
  });
}

const sumOf = (counter: EpochCounter, reports: readonly Report[], slot = 0) =>
  reports
    .map(({ cumulative, own, frame }) => counter.observe(slot, cumulative, own, frame))
    .filter((added) => added !== DUPLICATE)
    .reduce((a, b) => a + b, 0);

describe('counters - exact in any order of delivery', () => {
  it('first violation - counts its own packets, not earlier ones', () => {
    expect(makeCounter().observe(0, 1000, 7, 90)).toBe(7);
  });

  it('loss - the next violation makes up for it', () => {
    const counter = makeCounter();
    expect([counter.observe(0, 5, 5, 1), counter.observe(0, 30, 10, 3)]).toEqual([5, 25]);
  });

  it('reordered - a violation older than the first one seen is added', () => {
    const counter = makeCounter();
    expect([counter.observe(0, 10, 5, 2), counter.observe(0, 5, 5, 1)]).toEqual([5, 5]);
  });

  it('reordered - added after a final violation without packets', () => {
    const counter = makeCounter();
    expect([counter.observe(0, 5, 0, 2), counter.observe(0, 5, 5, 1)]).toEqual([DUPLICATE, 5]);
  });

  it('reordered within the hull - an occurrence without packets, then a duplicate', () => {
    const counter = makeCounter();
    counter.observe(0, 5, 5, 1);
    counter.observe(0, 10, 2, 3);
    expect([counter.observe(0, 8, 3, 2), counter.observe(0, 8, 3, 2)]).toEqual([0, DUPLICATE]);
  });

  it('lost acknowledgements - an old base under a new frame sequence adds only the growth', () => {
    const counter = makeCounter();
    counter.observe(0, 1000, 10, 50);
    expect([counter.observe(0, 1000, 1000, 51), counter.observe(0, 1003, 1003, 52)]).toEqual([0, 3]);
  });

  it('lost acknowledgements - the repeated interval adds no packets later', () => {
    const counter = makeCounter();
    counter.observe(0, 1000, 10, 50);
    counter.observe(1, 1000, 1000, 51);
    expect(counter.observe(2, 1001, 1, 52)).toBe(1);
  });

  it('property - duplicates and reordering add up to the exact count', () => {
    const steps = fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(steps, fc.infiniteStream(fc.double({ min: 0, max: 20, noNaN: true })), (sizes, jitter) => {
        const reports = reportsOf(sizes).flatMap((report) => [
          { report, at: report.frame + (jitter.next().value as number) },
          { report, at: report.frame + (jitter.next().value as number) },
        ]);
        const order = reports.sort((a, b) => a.at - b.at).map(({ report }) => report);
        expect(sumOf(makeCounter(), order)).toBe(sizes.reduce((a, b) => a + b, 0));
      }),
    );
  });

  it('property - losing any violation but the last changes nothing', () => {
    const steps = fc.array(fc.record({ size: fc.integer({ min: 1, max: 1000 }), lost: fc.boolean() }), {
      minLength: 1,
      maxLength: 60,
    });
    fc.assert(
      fc.property(steps, (all) => {
        const reports = reportsOf(all.map(({ size }) => size));
        const arriving = reports.filter((_, index) => index === 0 || index === all.length - 1 || !all[index]?.lost);
        expect(sumOf(makeCounter(), arriving)).toBe(reports.at(-1)?.cumulative);
      }),
    );
  });

  it('property - after two slots a late counter equals one that saw everything', () => {
    const report = fc.record({
      slotsOn: fc.constantFrom(0, 0, 0, 1, 1, 2, 3),
      cumulative: fc.integer({ min: 0, max: 40 }),
      own: fc.integer({ min: 0, max: 40 }),
      frame: fc.integer({ min: 0, max: 90 }),
    });
    fc.assert(
      fc.property(fc.array(report, { minLength: 2, maxLength: 60 }), fc.nat(), (reports, at) => {
        const begin = at % reports.length;
        const whole = makeCounter();
        const late = makeCounter();
        let slot = 0;
        let beganIn = 0;
        reports.forEach(({ slotsOn, cumulative, own, frame }, index) => {
          slot += slotsOn;
          const expected = whole.observe(slot, cumulative, own, frame);
          if (index < begin) return;
          if (index === begin) beganIn = slot;
          const said = late.observe(slot, cumulative, own, frame);
          // Its first slot is partial, and the next slot depends on it.
          if (slot >= beganIn + 2) expect(said).toBe(expected);
        });
      }),
      { numRuns: 500 },
    );
  });
});
