import { expect, it } from 'vitest';
import { ENDING_MS, EndedPods, EndingPods } from './ended-pods.ts';

it('ended pods - only those that had a cgroup, by a complete listing, until they have one again', () => {
  const pods = new EndedPods();
  const listed = ['runs', 'ends', 'starts'];
  const look = (cgroups: string[] | null) => [...pods.observe(listed, cgroups && new Set(cgroups))];
  expect(look(['runs', 'ends'])).toEqual([]);
  expect(look(null)).toEqual([]);
  expect(look(['runs'])).toEqual(['ends']);
  expect(look(['runs', 'ends'])).toEqual([]);
  expect(look(['runs'])).toEqual(['ends']);
  // A list without it forgets it.
  expect([...pods.observe(['runs'], new Set(['runs']))]).toEqual([]);
  expect(look(['runs'])).toEqual([]);
});

it('ending pods - for ten seconds after their interface was removed; control: never one that had none', () => {
  const pods = new EndingPods();
  const look = (bound: string[], atMs: number, listed = ['runs', 'ends', 'without']) => [
    ...pods.observe(listed, new Set(bound), atMs),
  ];
  expect(look(['runs', 'ends', ''], 0)).toEqual([]);
  expect(look(['runs'], 1)).toEqual(['ends']);
  expect(look(['runs'], ENDING_MS - 1)).toEqual(['ends']);
  expect(look(['runs'], ENDING_MS)).toEqual([]);
  // One that has an interface again, and loses it again.
  expect(look(['runs', 'ends'], ENDING_MS + 1)).toEqual([]);
  expect(look(['runs'], ENDING_MS + 2)).toEqual(['ends']);
  // Listed only after its interface is gone.
  expect(look(['late'], ENDING_MS + 3)).toEqual(['runs', 'ends']);
  expect(look([], ENDING_MS + 4, ['late'])).toEqual(['late']);
  expect(look([], 2 * ENDING_MS + 3, ['late'])).toEqual([]);
});
