import { expect, test } from 'vitest';
import {
  Budget,
  KnownTokens,
  MAX_KNOWN,
  MAX_REVIEWS,
  MAX_SOURCES,
  REPLAY_MS,
  RecentReviews,
  SourceBudgets,
} from './limits.ts';

test('limits - a budget gives its burst at once and refills evenly up to it', () => {
  const budget = new Budget(2, 3, 0);
  const takenAt = (ms: number, tries: number) =>
    Array.from({ length: tries }, () => budget.take(ms)).filter(Boolean).length;
  expect(takenAt(0, 10)).toBe(3);
  expect(takenAt(499, 10)).toBe(0);
  expect(takenAt(500, 10)).toBe(1);
  expect(takenAt(60_000, 10)).toBe(3);
});

test('limits - a source that fails too often is over until time passes, and no other is', () => {
  const failures = new SourceBudgets(60);
  for (let i = 0; i < 59; i += 1) failures.count('a', 0);
  expect(failures.isOver('a', 0)).toBe(false);
  failures.count('a', 0);
  expect([failures.isOver('a', 0), failures.isOver('b', 0)]).toEqual([true, false]);
  expect(failures.isOver('a', 1_000)).toBe(false);
});

test('limits - events beyond the budget that are charged have to be refilled; control: counted ones', () => {
  const [charged, counted] = [new SourceBudgets(6), new SourceBudgets(6)];
  for (let i = 0; i < 9; i += 1) {
    charged.charge('a', 0);
    counted.count('a', 0);
  }
  expect([charged.isOver('a', 10_000), counted.isOver('a', 10_000)]).toEqual([true, false]);
  expect([charged.isOver('a', 39_000), charged.isOver('a', 40_000)]).toEqual([true, false]);
});

test('limits - a burst below the budget of a minute is what a source has at once', () => {
  const logins = new SourceBudgets(60, 2);
  logins.count('a', 0);
  expect(logins.isOver('a', 0)).toBe(false);
  logins.count('a', 0);
  expect([logins.isOver('a', 999), logins.isOver('a', 1_000)]).toEqual([true, false]);
  const least = new SourceBudgets(1, 2);
  least.count('a', 0);
  expect(least.isOver('a', 0), 'never above the budget of a minute').toBe(true);
});

test('limits - the table of sources is bounded: the one quiet longest is forgotten', () => {
  const failures = new SourceBudgets(1);
  failures.count('first', 0);
  failures.count('loud', 0);
  for (let i = 0; i < MAX_SOURCES - 2; i += 1) failures.count(`other-${i}`, 0);
  failures.count('loud', 0);
  failures.count('one more', 0);
  expect(failures.size).toBe(MAX_SOURCES);
  expect([failures.isOver('first', 0), failures.isOver('loud', 0)]).toEqual([false, true]);
});

test('limits - a token that was let in is known for its node until its end, and the oldest is forgotten when there are too many', () => {
  const known = new KnownTokens();
  known.add('a', 'node-a', 1_000);
  expect([known.nodeOf('a', 999), known.nodeOf('a', 1_000), known.nodeOf('b', 0)]).toEqual(['node-a', null, null]);
  known.forget('a');
  expect(known.nodeOf('a', 0)).toBe(null);
  for (let i = 0; i <= MAX_KNOWN; i += 1) known.add(`token-${i}`, 'node-a', 1_000);
  expect([known.nodeOf('token-0', 0), known.nodeOf('token-1', 0)]).toEqual([null, 'node-a']);
});

test('limits - a review serves its token for some seconds, unless it is forgotten; the oldest goes first', async () => {
  const reviews = new RecentReviews<number>();
  await reviews.add('a', Promise.resolve(1), 0);
  expect(await reviews.get('a', REPLAY_MS - 1)).toBe(1);
  expect([reviews.get('a', REPLAY_MS), reviews.get('b', 0)]).toEqual([null, null]);
  reviews.forget('a');
  expect(reviews.get('a', 0)).toBe(null);
  for (let i = 0; i <= MAX_REVIEWS; i += 1) void reviews.add(`token-${i}`, Promise.resolve(i), 0);
  expect([reviews.get('token-0', 0), await reviews.get('token-1', 0)]).toEqual([null, 1]);
});
