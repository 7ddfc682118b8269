import { expect, test } from 'vitest';
import { Budget, Failures, MAX_ADDRESSES } from './limits.ts';

test('limits - a budget gives its burst at once and refills evenly up to it', () => {
  const budget = new Budget(2, 3, 0);
  const takenAt = (ms: number, tries: number) =>
    Array.from({ length: tries }, () => budget.take(ms)).filter(Boolean).length;
  expect(takenAt(0, 10)).toBe(3);
  expect(takenAt(499, 10)).toBe(0);
  expect(takenAt(500, 10)).toBe(1);
  expect(takenAt(60_000, 10)).toBe(3);
});

test('limits - an address that fails too often is over until time passes, and no other is', () => {
  const failures = new Failures(60);
  for (let i = 0; i < 59; i += 1) failures.count('a', 0);
  expect(failures.isOver('a', 0)).toBe(false);
  failures.count('a', 0);
  expect([failures.isOver('a', 0), failures.isOver('b', 0)]).toEqual([true, false]);
  expect(failures.isOver('a', 1_000)).toBe(false);
});

test('limits - the table of addresses is bounded: the one quiet longest is forgotten', () => {
  const failures = new Failures(1);
  failures.count('first', 0);
  failures.count('loud', 0);
  for (let i = 0; i < MAX_ADDRESSES - 2; i += 1) failures.count(`other-${i}`, 0);
  failures.count('loud', 0);
  failures.count('one more', 0);
  expect(failures.size).toBe(MAX_ADDRESSES);
  expect([failures.isOver('first', 0), failures.isOver('loud', 0)]).toEqual([false, true]);
});
