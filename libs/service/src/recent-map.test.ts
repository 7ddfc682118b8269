import { expect, it } from 'vitest';
import { RecentMap } from './recent-map.ts';

it('recent map - beyond its limit the oldest key is dropped; a key that is set again is the newest', () => {
  const map = new RecentMap<string, number>(2).set('a', 1).set('b', 2).set('a', 3);
  expect([...map]).toEqual([
    ['b', 2],
    ['a', 3],
  ]);
  expect([...map.set('c', 4)]).toEqual([
    ['a', 3],
    ['c', 4],
  ]);
});
