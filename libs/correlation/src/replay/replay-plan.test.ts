import { describe, expect, it } from 'vitest';
import { MINUTE, T0 } from '../testing.ts';
import { planReplay, RECOVERY_MARGIN_MICROS, warmUpMicros } from './replay-plan.ts';

const HOUR = 60 * MINUTE;
const state = { firstSequence: 1, firstMicros: T0, lastMicros: T0 + 100 * HOUR, lastTriggerMicros: null };

describe('replay plan', () => {
  it('warm-up - two counter slots, the longest timespan and cooldown, and the bounds', () => {
    const longest = { timespanMicros: 10 * MINUTE, cooldownMicros: 10 * MINUTE };
    expect(warmUpMicros(longest)).toBeGreaterThan(80 * MINUTE);
    expect(warmUpMicros(longest)).toBeLessThan(81 * MINUTE);
  });

  it('empty stream - from the beginning', () => {
    const empty = { firstSequence: 0, firstMicros: 0, lastMicros: 0, lastTriggerMicros: null };
    expect(planReplay(empty, HOUR)).toEqual({ readFromMicros: 0, publishFromMicros: 0 });
  });

  it('no verdict yet - reads and publishes everything', () => {
    expect(planReplay(state, HOUR)).toEqual({ readFromMicros: 0, publishFromMicros: 0 });
  });

  it('verdicts - publishes from a margin before the newest, reads from a warm-up before that', () => {
    const trigger = T0 + 50 * HOUR;
    const publishFromMicros = trigger - RECOVERY_MARGIN_MICROS;
    expect(planReplay({ ...state, lastTriggerMicros: trigger }, HOUR)).toEqual({
      readFromMicros: publishFromMicros - HOUR,
      publishFromMicros,
    });
  });

  it('beginning lost - publishes nothing before the warm-up ends, but always new frames', () => {
    const cut = { ...state, firstSequence: 77 };
    expect(planReplay(cut, HOUR)).toEqual({ readFromMicros: 0, publishFromMicros: T0 + HOUR });
    expect(planReplay({ ...cut, lastMicros: T0 + MINUTE }, HOUR)).toEqual({
      readFromMicros: 0,
      publishFromMicros: T0 + MINUTE,
    });
  });
});
