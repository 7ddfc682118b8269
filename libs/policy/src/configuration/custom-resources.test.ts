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
  const annotations = changeAnnotations(change, 4);
  expect(resourceChange(annotations, 4)).toEqual(change);
  for (const generation of [3, 5]) expect(resourceChange(annotations, generation)).toBeNull();
  const { 'bailiff.dev/changed-by': _by, ...nameless } = annotations;
  for (const without of [undefined, {}, nameless]) expect(resourceChange(without, 4)).toBeNull();
});
