import { expect, it } from 'vitest';
import { RECENT_MS, RecentCounts } from './recent-counts.ts';

const TICK = 10_000;

/** Readings every ten seconds. */
function observe(recent: RecentCounts, counts: Record<string, number>, fromMs: number, forMs: number) {
  let last = recent.observe(counts, fromMs);
  for (let at = fromMs + TICK; at <= fromMs + forMs; at += TICK) last = recent.observe(counts, at);
  return last;
}

it('the first hour - what happened before it is not known', () => {
  expect(observe(new RecentCounts(), { 'ring-full': 7 }, 0, RECENT_MS - TICK)).toBe(null);
});

it('a loss - is reported for an hour, and no more when its cause has ended', () => {
  const recent = new RecentCounts();
  expect(observe(recent, { 'ring-full': 7 }, 0, RECENT_MS)).toEqual({});
  expect(observe(recent, { 'ring-full': 9 }, RECENT_MS + TICK, 0)).toEqual({ 'ring-full': 2 });
  expect(observe(recent, { 'ring-full': 9 }, RECENT_MS + TICK, RECENT_MS - TICK)).toEqual({ 'ring-full': 2 });
  expect(observe(recent, { 'ring-full': 9 }, 2 * RECENT_MS, 400_000)).toEqual({});
});

it('control - a loss that goes on is reported all the time', () => {
  const recent = new RecentCounts();
  observe(recent, {}, 0, RECENT_MS);
  for (let n = 1; n < 2_000; n += 1)
    expect(recent.observe({ 'no-cell': n }, RECENT_MS + n * TICK)?.['no-cell']).toBeGreaterThan(0);
});

it('an interface that appears within the hour - all of its count is recent', () => {
  const recent = new RecentCounts();
  observe(recent, {}, 0, RECENT_MS);
  expect(recent.observe({ 'unjudged/5': 3 }, RECENT_MS + TICK)).toEqual({ 'unjudged/5': 3 });
});

it('programs that were loaded again - their count is what happened since', () => {
  const recent = new RecentCounts();
  observe(recent, { orphan: 9 }, 0, RECENT_MS);
  expect(recent.observe({ orphan: 2 }, RECENT_MS + TICK)).toEqual({ orphan: 2 });
});
