import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BUSY_FRAMES, conserve, isBusy, newConservation } from './conservation.ts';

/** More than a queue holds by default. */
const MANY = 2_000;
/** Counters that were read at rest. */
const at = (received: number, judged: number, waiting = 0) => {
  return { judgedBefore: judged, received, waiting, judgedAfter: judged };
};

describe('conservation of frames', () => {
  it('a difference counts when two readings have it, once', () => {
    const state = newConservation(5);
    expect(conserve(state, at(105, 100))).toBe(0);
    expect(conserve(state, at(145, 100)), 'first sight').toBe(0);
    expect(conserve(state, at(145, 100))).toBe(40);
    expect(conserve(state, at(145, 100))).toBe(0);
    expect(conserve(state, at(155, 103))).toBe(0);
    expect(conserve(state, at(155, 103))).toBe(7);
    expect(state.unjudged).toBe(47);
  });

  it('frames that wait between the counters are no difference, also during a flood', () => {
    const state = newConservation(0);
    let received = 0;
    for (let i = 0; i < 10; i++) {
      received += 50 * BUSY_FRAMES;
      expect(conserve(state, at(received, received - MANY, MANY))).toBe(0);
    }
    expect(conserve(state, at(received, received))).toBe(0);
  });

  it('a difference is found during a flood that never pauses, if fewer frames wait at two readings', () => {
    const state = newConservation(0);
    let received = 0;
    const read = (waiting: number) => {
      received += 50 * BUSY_FRAMES;
      expect(isBusy(state, received)).toBe(true);
      return conserve(state, at(received, received - 20 - waiting, 2 * waiting));
    };
    expect(read(MANY)).toBe(0);
    expect(read(MANY)).toBe(0);
    expect(read(3), 'one reading').toBe(0);
    expect(read(5)).toBe(15);
    expect(read(0), 'one reading').toBe(0);
    expect(read(0)).toBe(5);
    expect(state.unjudged).toBe(20);
  });

  it('without a base, the first reading is one', () => {
    const state = newConservation();
    expect(conserve(state, at(900, 100))).toBe(0);
    conserve(state, at(910, 100));
    expect(conserve(state, at(910, 100))).toBe(10);
    expect(state.base).toBe(800);
  });

  it('limit - frames that are judged and not received hide as many of the same reading, and no later ones', () => {
    const state = newConservation(0);
    conserve(state, at(100, 100));
    for (let i = 0; i < 3; i++) expect(conserve(state, at(120, 140))).toBe(0);
    conserve(state, at(140, 140));
    expect(conserve(state, at(140, 140))).toBe(20);
  });

  it('property - never more than were unjudged, and all of them after a pause', () => {
    const step = fc.record({
      passed: fc.nat(BUSY_FRAMES * 3),
      unjudged: fc.nat(50),
      waiting: fc.nat(MANY),
      during: fc.nat(20),
      others: fc.nat(20),
    });
    fc.assert(
      fc.property(fc.nat(1_000), fc.array(step, { maxLength: 30 }), (before, steps) => {
        const state = newConservation(before);
        let [received, judged, truth] = [before, 0, 0];
        for (const { passed, unjudged, waiting, during, others } of steps) {
          received += passed + unjudged;
          judged += passed;
          truth += unjudged;
          // Only a busy interface has frames that wait at both readings of a pair.
          const inFlight = passed > BUSY_FRAMES ? Math.min(waiting, passed) : 0;
          const judgedBefore = judged - inFlight;
          received += during;
          judged += during;
          conserve(state, { judgedBefore, received, waiting: inFlight + others, judgedAfter: judged - inFlight });
          expect(state.unjudged).toBeLessThanOrEqual(truth);
        }
        for (let i = 0; i < 3; i++) conserve(state, at(received, judged));
        expect(state.unjudged).toBe(truth);
      }),
    );
  });
});
