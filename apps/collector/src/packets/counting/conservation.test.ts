import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BUSY_FRAMES, conserve, newConservation } from './conservation.ts';

const BACKLOG = 2_000;
/** Counters that were read at rest. */
const at = (received: number, judged: number) => ({ judgedBefore: judged, received, judgedAfter: judged });

describe('conservation of frames', () => {
  it('a difference counts when two readings have it, once', () => {
    const state = newConservation(5);
    expect(conserve(state, at(105, 100), BACKLOG)).toBe(0);
    expect(conserve(state, at(145, 100), BACKLOG), 'first sight').toBe(0);
    expect(conserve(state, at(145, 100), BACKLOG)).toBe(40);
    expect(conserve(state, at(145, 100), BACKLOG)).toBe(0);
    expect(conserve(state, at(155, 103), BACKLOG)).toBe(0);
    expect(conserve(state, at(155, 103), BACKLOG)).toBe(7);
    expect(state.unjudged).toBe(47);
  });

  it('frames that wait between the counters are no difference, also during a flood', () => {
    const state = newConservation(0);
    let received = 0;
    for (let i = 0; i < 10; i++) {
      received += 50 * BUSY_FRAMES;
      expect(conserve(state, at(received, received - BACKLOG), BACKLOG)).toBe(0);
    }
    expect(conserve(state, at(received, received), BACKLOG)).toBe(0);
  });

  it('more than can wait is found during a flood, and the rest when it pauses', () => {
    const state = newConservation(0);
    const unjudged = BACKLOG + 300;
    conserve(state, at(100_000, 100_000 - unjudged), BACKLOG);
    expect(conserve(state, at(200_000, 200_000 - unjudged), BACKLOG)).toBe(300);
    expect(conserve(state, at(200_000, 200_000 - unjudged), BACKLOG)).toBe(0);
    expect(conserve(state, at(200_000, 200_000 - unjudged), BACKLOG)).toBe(BACKLOG);
    expect(state.unjudged).toBe(unjudged);
  });

  it('without a base, the first reading is one', () => {
    const state = newConservation();
    expect(conserve(state, at(900, 100), BACKLOG)).toBe(0);
    conserve(state, at(910, 100), BACKLOG);
    expect(conserve(state, at(910, 100), BACKLOG)).toBe(10);
    expect(state.base).toBe(800);
  });

  it('limit - frames that are judged and not received hide as many of the same reading, and no later ones', () => {
    const state = newConservation(0);
    conserve(state, at(100, 100), BACKLOG);
    for (let i = 0; i < 3; i++) expect(conserve(state, at(120, 140), BACKLOG)).toBe(0);
    conserve(state, at(140, 140), BACKLOG);
    expect(conserve(state, at(140, 140), BACKLOG)).toBe(20);
  });

  it('property - never more than were unjudged, and all of them after a pause', () => {
    const step = fc.record({
      passed: fc.nat(BUSY_FRAMES * 3),
      unjudged: fc.nat(50),
      waiting: fc.nat(BACKLOG),
      during: fc.nat(20),
    });
    fc.assert(
      fc.property(fc.nat(1_000), fc.array(step, { maxLength: 30 }), (before, steps) => {
        const state = newConservation(before);
        let [received, judged, truth] = [before, 0, 0];
        for (const { passed, unjudged, waiting, during } of steps) {
          received += passed + unjudged;
          judged += passed;
          truth += unjudged;
          // Only a busy interface has frames that wait at both readings of a pair.
          const inFlight = passed > BUSY_FRAMES ? Math.min(waiting, passed) : 0;
          const judgedBefore = judged - inFlight;
          received += during;
          judged += during;
          conserve(state, { judgedBefore, received, judgedAfter: judged - inFlight }, BACKLOG);
          expect(state.unjudged).toBeLessThanOrEqual(truth);
        }
        for (let i = 0; i < 3; i++) conserve(state, at(received, judged), BACKLOG);
        expect(state.unjudged).toBe(truth);
      }),
    );
  });
});
