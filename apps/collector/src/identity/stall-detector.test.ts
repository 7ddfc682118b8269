import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { BEAT_MS, backBy, RunWatch } from './stall-detector.ts';

describe('held up - a time of running, back from a moment', () => {
  it.each([
    ['never held up', [], 9_000],
    ['held up until now', [{ fromMs: 7_000, toMs: 10_000 }], 6_000],
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
  ])('%s', (_, heldUp, expected) => {
    expect(backBy(1_000, 10_000, heldUp)).toBe(expected);
  });
});

describe('held up - an announcement', () => {
  let nowMs = 1_000;
  let watch: RunWatch;
  const run = (ms: number) => {
    for (let left = ms; left > 0; left -= BEAT_MS) {
      nowMs += BEAT_MS;
      vi.advanceTimersByTime(BEAT_MS);
    }
  };
  /** As if the process stood still: the clock goes on, and no timer comes. */
  const standStill = (ms: number) => {
    nowMs += ms;
    vi.setSystemTime(Date.now() + ms);
  };
  const age = (): number => {
    const { readAtMs, notBeforeMs } = watch.announced(1_000);
    expect(readAtMs).toBe(Date.now());
    return readAtMs - notBeforeMs;
  };
  beforeEach(() => {
    vi.useFakeTimers({ now: 1_700_000_000_000 });
    watch = new RunWatch(() => nowMs);
    run(5_000);
  });
  afterEach(() => {
    watch.close();
    vi.useRealTimers();
  });

  it('of a process that runs is as old as the slack', () => {
    expect(age()).toBe(1_000);
  });
  it('that is the first thing read after it was held up may be as old as that', () => {
    standStill(3_000);
    expect(age()).toBe(4_000);
  });
  it('that is read some time after, is as well, and much later is not', () => {
    standStill(3_000);
    run(750);
    // It lasts until the beat after it.
    expect(age()).toBe(4_000 + BEAT_MS);
    run(1_000);
    expect(age()).toBe(1_000);
  });
  it('a step of the wall clock is no standing still', () => {
    vi.setSystemTime(Date.now() + 3_600_000);
    expect(age()).toBe(1_000);
  });
  it('a closed one leaves no timer', () => {
    watch.close();
    expect(vi.getTimerCount()).toBe(0);
  });
});
