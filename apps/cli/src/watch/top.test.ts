import { expect, it } from 'vitest';
import { Ranking } from './top.ts';

it('ranking - sums counts, orders by the highest, and counts names beyond the limit', () => {
  const ranking = new Ranking(2);
  for (const [name, count, at] of [
    ['a', 1, 10],
    ['b', 5, 30],
    ['a', 2, 20],
    ['c', 9, 40],
  ] as const) {
    ranking.add(name, count, at);
  }
  expect(ranking.top(9)).toEqual([
    { name: 'b', count: 5, newestMicros: 30 },
    { name: 'a', count: 3, newestMicros: 20 },
  ]);
  expect([ranking.omitted, ranking.top(1).length]).toEqual([1, 1]);
});
