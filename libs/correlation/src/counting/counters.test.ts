import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { counterPool, DUPLICATE, EpochCounter } from './counters.ts';

const makeCounter = () => new EpochCounter(counterPool());

interface Report {
  cumulative: number;
  own: number;
  frame: number;
}

/** What an honest collector says of a counter that grows by these steps. */
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

describe('counters - exact whatever the bus does', () => {
  it('first sighting - counts what the violation itself covers, not what came before', () => {
    expect(makeCounter().observe(0, 1000, 7, 90)).toBe(7);
  });

  it('loss - the next violation makes up for it', () => {
    const counter = makeCounter();
    expect([counter.observe(0, 5, 5, 1), counter.observe(0, 30, 10, 3)]).toEqual([5, 25]);
  });

  it('overtaken - a violation from before the first one seen is added', () => {
    const counter = makeCounter();
    expect([counter.observe(0, 10, 5, 2), counter.observe(0, 5, 5, 1)]).toEqual([5, 5]);
  });

  it('overtaken by a final one that had nothing of its own - is added', () => {
    const counter = makeCounter();
    expect([counter.observe(0, 5, 0, 2), counter.observe(0, 5, 5, 1)]).toEqual([DUPLICATE, 5]);
  });

  it('overtaken within what is known - an occurrence without packets, and a duplicate the second time', () => {
    const counter = makeCounter();
    counter.observe(0, 5, 5, 1);
    counter.observe(0, 10, 2, 3);
    expect([counter.observe(0, 8, 3, 2), counter.observe(0, 8, 3, 2)]).toEqual([0, DUPLICATE]);
  });

  it('forgetful collector - an old base under a new frame number adds only what grew', () => {
    const counter = makeCounter();
    counter.observe(0, 1000, 10, 50);
    expect([counter.observe(0, 1000, 1000, 51), counter.observe(0, 1003, 1003, 52)]).toEqual([0, 3]);
  });

  it('forgetful collector - its repeat of what is known adds no packets later either', () => {
    const counter = makeCounter();
    counter.observe(0, 1000, 10, 50);
    counter.observe(1, 1000, 1000, 51);
    expect(counter.observe(2, 1001, 1, 52)).toBe(1);
  });

  it('property - duplicates and reordering within the window of frames add up to what was counted', () => {
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

  it('property - any that are lost but the last change nothing', () => {
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

  it('property - two slots after it began, a counter says what one says that saw everything, honest or not', () => {
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
          // It saw its first slot in part only; the slot after it leans on that one.
          if (slot >= beganIn + 2) expect(said).toBe(expected);
        });
      }),
      { numRuns: 500 },
    );
  });
});
