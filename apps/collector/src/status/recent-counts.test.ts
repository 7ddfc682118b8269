import { expect, it } from 'vitest';
import { RECENT_MS, RecentCounts } from './recent-counts.ts';

const TICK = 10_000;

/** Readings every ten seconds. */
function observe(recent: RecentCounts, counts: Record<string, number>, fromMs: number, forMs: number) {
  let last = recent.observe(counts, fromMs);
  for (let at = fromMs + TICK; at <= fromMs + forMs; at += TICK) last = recent.observe(counts, at);
  return last;
}

it('the first hour - is null, because earlier growth is not known', () => {
  expect(observe(new RecentCounts(), { 'ring-full': 7 }, 0, RECENT_MS - TICK)).toBe(null);
});

it('a loss - is reported until an hour after it ended', () => {
  const recent = new RecentCounts();
  expect(observe(recent, { 'ring-full': 7 }, 0, RECENT_MS)).toEqual({});
  expect(observe(recent, { 'ring-full': 9 }, RECENT_MS + TICK, 0)).toEqual({ 'ring-full': 2 });
  expect(observe(recent, { 'ring-full': 9 }, RECENT_MS + TICK, RECENT_MS - TICK)).toEqual({ 'ring-full': 2 });
  expect(observe(recent, { 'ring-full': 9 }, 2 * RECENT_MS, 400_000)).toEqual({});
});

it('control - a loss that continues is always reported', () => {
  const recent = new RecentCounts();
  observe(recent, {}, 0, RECENT_MS);
  for (let n = 1; n < 2_000; n += 1)
    expect(recent.observe({ 'no-cell': n }, RECENT_MS + n * TICK)?.['no-cell']).toBeGreaterThan(0);
});

it('an interface that appears within the hour - its whole count is recent', () => {
  const recent = new RecentCounts();
  observe(recent, {}, 0, RECENT_MS);
  expect(recent.observe({ 'unjudged/5': 3 }, RECENT_MS + TICK)).toEqual({ 'unjudged/5': 3 });
});

it('reloaded programs - their whole count is recent', () => {
  const recent = new RecentCounts();
  observe(recent, { orphan: 9 }, 0, RECENT_MS);
  expect(recent.observe({ orphan: 2 }, RECENT_MS + TICK)).toEqual({ orphan: 2 });
});
