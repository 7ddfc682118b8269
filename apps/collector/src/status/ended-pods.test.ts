import { expect, it } from 'vitest';
import { EndedPods } from './ended-pods.ts';

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
