import { expect, it } from 'vitest';
import { frameSequences, SEQUENCE_BLOCK } from './frame.ts';

it('frame sequences - unique and growing, across blocks and processes', () => {
  let kernel = 100;
  let calls = 0;
  const allocate = (count: number) => {
    calls += 1;
    kernel += count;
    return BigInt(kernel - count + 1);
  };
  const first = frameSequences(allocate);
  const given = Array.from({ length: SEQUENCE_BLOCK + 3 }, first);
  expect(calls).toBe(2);
  const second = frameSequences(allocate);
  given.push(second(), second());
  expect(given[0]).toBe(101);
  expect(given.every((sequence, at) => at === 0 || sequence > (given[at - 1] as number))).toBe(true);
});
