import { expect, test } from 'vitest';
import { UnknownPods } from './unknown-pods.ts';

test('unknown pods - of either kind, until the next list without them and until none is late', () => {
  const changes: boolean[] = [];
  const unknown = new UnknownPods((areSome) => changes.push(areSome));
  unknown.listed();
  unknown.late(false);
  expect(changes).toEqual([]);
  unknown.ignored();
  unknown.late(true);
  unknown.late(false);
  // They were ignored before the list, and are in it.
  unknown.listed();
  expect(changes).toEqual([true]);
  unknown.listed();
  expect(changes).toEqual([true, false]);
  unknown.late(true);
  unknown.ignored();
  unknown.listed();
  unknown.listed();
  expect(unknown.areSome).toBe(true);
  unknown.late(false);
  expect(changes).toEqual([true, false, true, false]);
});
