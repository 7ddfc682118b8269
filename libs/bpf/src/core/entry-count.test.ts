import { expect, test } from 'vitest';
import { COUNT_SHARE, EntryCount } from './entry-count.ts';

/** A map whose count takes a time, and how often it was counted. */
function counted(takesMs: number) {
  let [nowMs, times] = [0, 0];
  const count = new EntryCount(
    {
      count() {
        nowMs += takesMs;
        return ++times;
      },
    },
    () => nowMs,
  );
  const wait = (ms: number) => {
    nowMs += ms;
  };
  return { read: () => count.read(), wait, times: () => times };
}

test('entries of a map - a count that took long is kept, within its share of the time', () => {
  const { read, wait, times } = counted(300);
  for (let n = 0; n < 6_000; n++) {
    read();
    wait(100);
  }
  expect(times() * 300).toBeLessThanOrEqual(300 + 600_000 * COUNT_SHARE);
  expect(times()).toBeGreaterThan(5);
});

test('entries of a map - a fast count is never kept', () => {
  const { read } = counted(0.1);
  expect([read(), read(), read()]).toEqual([1, 2, 3]);
});
