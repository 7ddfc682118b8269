import { expect, test } from 'vitest';
import { changeAnnotations, keyOfResource, RESOURCE_KINDS, resourceChange, resourceOfKey } from './custom-resources.ts';
import { parseConfigKey } from './keys.ts';

test.each(RESOURCE_KINDS.filter((kind) => kind !== 'SpoofPolicy'))(
  'resources - the key of a %s leads back to it',
  (kind) => {
    expect(resourceOfKey(keyOfResource(kind, 'a', {}))).toEqual({ kind, name: 'a' });
  },
);

test.each(['spoof.cluster._.default', 'runtime.namespace.shop.a'])('resources - none has a name for %s', (key) => {
  expect(resourceOfKey(parseConfigKey(key))).toBeNull();
});

test('author - counts for the generation that its change made, and for no other one', () => {
  const change = { by: 'anna', why: 'quiet for a week' };
  const uid = 'a';
  const annotations = changeAnnotations(change, { uid, generation: 4 });
  expect(resourceChange(annotations, { uid, generation: 4 })).toEqual(change);
  for (const generation of [3, 5]) expect(resourceChange(annotations, { uid, generation })).toBeNull();
  expect(resourceChange(annotations, { uid: 'a copy', generation: 4 })).toBeNull();
  // A new resource has no uid before it exists; a person who writes the annotations may leave it out.
  const created = changeAnnotations(change, { uid: '', generation: 1 });
  expect(resourceChange(created, { uid, generation: 1 })).toEqual(change);
  const { 'bailiff.dev/changed-by': _by, ...nameless } = annotations;
  for (const without of [undefined, {}, nameless]) expect(resourceChange(without, { uid, generation: 4 })).toBeNull();
});
