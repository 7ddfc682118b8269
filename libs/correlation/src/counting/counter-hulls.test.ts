import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type CountedViolation, CounterHulls } from './counter-hulls.ts';
import { counterPool, DUPLICATE, EpochCounter } from './counters.ts';

const grown = (cumulative: number, by: number, counterEpoch = 'e'): CountedViolation => ({
  counterEpoch,
  cumulativePackets: cumulative,
  count: Math.min(1, by),
  suppressed: Math.max(0, by - 1),
});
const sumOf = (hulls: CounterHulls, all: readonly CountedViolation[], node = 'n') =>
  all.reduce((sum, one) => sum + hulls.growth(node, one), 0);

describe('growth of counters', () => {
  it('what a counter grew by within what was read, whatever it was before', () => {
    expect(sumOf(new CounterHulls(), [grown(1_000, 10), grown(1_025, 25)])).toBe(35);
  });

  it('a repeated frame adds nothing, and a gap is made up for by the next violation', () => {
    expect(sumOf(new CounterHulls(), [grown(10, 10), grown(10, 10), grown(40, 10)])).toBe(40);
  });

  it('a frame whose acknowledgement was lost is contained in the next one, and counts once', () => {
    const rows = [grown(100, 100), grown(250, 250), grown(300, 50)];
    expect(sumOf(new CounterHulls(), rows)).toBe(300);
    // The control: the sum of the increments.
    expect(rows.reduce((sum, { count, suppressed }) => sum + count + suppressed, 0)).toBe(400);
  });

  it('a new epoch begins at its own base', () => {
    expect(sumOf(new CounterHulls(), [grown(50, 50), grown(7, 7, 'after-boot'), grown(9, 2, 'after-boot')])).toBe(59);
  });

  it('a node that reports the counter of another one hides nothing', () => {
    const hulls = new CounterHulls();
    hulls.growth('thief', grown(2 ** 50, 1));
    expect(sumOf(hulls, [grown(10, 10), grown(20, 10)])).toBe(20);
  });

  it('any order, repetition, resend and epoch - the sum is the truth, as in the correlator', () => {
    const step = fc.record({
      by: fc.integer({ min: 1, max: 50 }),
      // The acknowledgement of the frame is lost: the next one contains its increment.
      isLost: fc.boolean(),
      isNewEpoch: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 20 }), fc.infiniteStream(fc.nat()), (steps, picks) => {
        let [truth, epoch, cumulative, acked] = [0, 0, 0, 0];
        const sent = steps.map(({ by, isLost, isNewEpoch }) => {
          if (isNewEpoch) [epoch, cumulative, acked] = [epoch + 1, 0, 0];
          cumulative += by;
          truth += by;
          const violation = grown(cumulative, cumulative - acked, `e${epoch}`);
          if (!isLost) acked = cumulative;
          return violation;
        });
        const again = [...picks.take(10)].map((pick) => sent[pick % sent.length] as CountedViolation);
        expect(sumOf(new CounterHulls(), [...again, ...sent])).toBe(truth);
        const pool = counterPool();
        const counters = new Map<string, EpochCounter>();
        const inOrder = sent.map(({ counterEpoch, cumulativePackets, count, suppressed }, index) => {
          const counter = counters.get(counterEpoch) ?? new EpochCounter(pool);
          counters.set(counterEpoch, counter);
          const added = counter.observe(0, cumulativePackets, count + suppressed, index);
          return added === DUPLICATE ? 0 : added;
        });
        expect(inOrder.reduce((sum, added) => sum + added, 0)).toBe(truth);
      }),
    );
  });

  it('bound - a node that invents counters gets half of them, another node stays exact', () => {
    const hulls = new CounterHulls(100);
    for (let n = 0; n < 1_000; n += 1) hulls.growth('flood', grown(5, 5, `e${n}`));
    expect(hulls.inexact).toBe(true);
    for (let n = 0; n < 20; n += 1) {
      expect(sumOf(hulls, [grown(10, 10, `e${n}`), grown(10, 10, `e${n}`)], 'quiet')).toBe(10);
    }
    // The control: a counter beyond the bound counts what it reports.
    expect(sumOf(hulls, [grown(10, 10, 'e999'), grown(10, 10, 'e999')], 'flood')).toBe(20);
  });
});
