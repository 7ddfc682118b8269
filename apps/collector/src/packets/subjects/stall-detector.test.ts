import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { StallDetector, subtractRunning, TICK_MS } from './stall-detector.ts';

describe('stalls - subtract running time from a moment', () => {
  it.each([
    ['no stall', [], 9_000],
    ['stalled until now', [{ fromMs: 7_000, toMs: 10_000 }], 6_000],
    ['a while ago', [{ fromMs: 6_000, toMs: 9_500 }], 5_500],
    ['longer ago than that', [{ fromMs: 2_000, toMs: 8_999 }], 9_000],
    [
      'twice',
      [
        { fromMs: 5_000, toMs: 7_000 },
        { fromMs: 7_400, toMs: 9_800 },
      ],
      4_600,
    ],
  ])('%s', (_, stalls, expected) => {
    expect(subtractRunning(1_000, 10_000, stalls)).toBe(expected);
  });
});

describe('stall detector - announcement', () => {
  let nowMs = 1_000;
  let detector: StallDetector;
  const run = (ms: number) => {
    for (let left = ms; left > 0; left -= TICK_MS) {
      nowMs += TICK_MS;
      vi.advanceTimersByTime(TICK_MS);
    }
  };
  /** The clock advances and no timer fires. */
  const stall = (ms: number) => {
    nowMs += ms;
    vi.setSystemTime(Date.now() + ms);
  };
  const age = (): number => {
    const { readAtMs, notBeforeMs } = detector.announcement(1_000);
    expect(readAtMs).toBe(Date.now());
    return readAtMs - notBeforeMs;
  };
  beforeEach(() => {
    vi.useFakeTimers({ now: 1_700_000_000_000 });
    detector = new StallDetector(() => nowMs);
    run(5_000);
  });
  afterEach(() => {
    detector.close();
    vi.useRealTimers();
  });

  it('running process - as old as the slack', () => {
    expect(age()).toBe(1_000);
  });
  it('first event after a stall - may be older by the stall', () => {
    stall(3_000);
    expect(age()).toBe(4_000);
  });
  it('soon after a stall - still older by it; much later - as old as the slack', () => {
    stall(3_000);
    run(750);
    // The stall ends at the tick after it.
    expect(age()).toBe(4_000 + TICK_MS);
    run(1_000);
    expect(age()).toBe(1_000);
  });
  it('step of the wall clock - no stall', () => {
    vi.setSystemTime(Date.now() + 3_600_000);
    expect(age()).toBe(1_000);
  });
  it('closed - leaves no timer', () => {
    detector.close();
    expect(vi.getTimerCount()).toBe(0);
  });
});
