import { expect, test } from 'vitest';
import { FairCounts } from './fair-counts.ts';

const fill = (counts: FairCounts, owner: string): number => {
  let added = 0;
  for (; counts.hasRoom(owner); added++) counts.add(owner);
  return added;
};

test('fair counts - one owner gets half, the next one half of the rest, and what is removed is free again', () => {
  const counts = new FairCounts(1_000);
  expect([counts.roomFor('a'), counts.roomFor('a', 10), counts.roomFor('a', 2_000)]).toEqual([500, 495, 0]);
  expect(['a', 'b', 'c'].map((owner) => fill(counts, owner))).toEqual([500, 250, 125]);
  for (let index = 0; index < 500; index++) counts.remove('a');
  expect(counts.size).toBe(375);
  expect(fill(counts, 'b')).toBe(188);
  expect(counts.hasRoom('d')).toBe(true);
});

test('fair counts - no number of owners fills it while each has one', () => {
  const counts = new FairCounts(100);
  for (let owner = 0; owner < 99; owner++) fill(counts, `owner-${owner}`);
  expect(counts.size).toBeLessThanOrEqual(100);
  counts.clear();
  expect(fill(counts, 'a')).toBe(50);
});
