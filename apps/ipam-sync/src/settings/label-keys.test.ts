import { expect, test } from 'vitest';
import { labelKeysIn } from './label-keys.ts';

test.each([
  ['labels', { matchLabels: { app: 'a', zone: 'b' } }, ['app', 'zone']],
  ['expressions', { matchExpressions: [{ key: 'tier', operator: 'Exists' }] }, ['tier']],
  ['both', { matchLabels: { app: 'a' }, matchExpressions: [{ key: 'tier', operator: 'Exists' }] }, ['app', 'tier']],
  ['nothing', undefined, []],
  ['an invalid policy', { matchLabels: null, matchExpressions: [null, { key: 7 }] }, []],
])('label keys - a policy that selects by %s', (_, podLabels, expected) => {
  expect(labelKeysIn(JSON.stringify({ selector: { podLabels } }))).toEqual(expected);
});
test('label keys - an invalid policy names none', () => {
  for (const json of ['', 'null', '[]', '{"selector":null}', '{']) expect(labelKeysIn(json)).toEqual([]);
});
