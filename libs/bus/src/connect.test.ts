import { expect, test } from 'vitest';
import { retryDelayMs } from './connect.ts';

test('connect - the wait before the next attempt doubles with each refusal of a token, up to a bound, and is spread', () => {
  expect([0, 1, 2, 3, 4, 1_000].map((refusals) => retryDelayMs(refusals, 0))).toEqual([
    250, 500, 1_000, 2_000, 2_000, 2_000,
  ]);
  expect([0, 3].map((refusals) => retryDelayMs(refusals, 1))).toEqual([500, 3_000]);
});
