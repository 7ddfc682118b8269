import { describe, expect, test } from 'vitest';
import { defineResource } from '../kinds/resources.ts';
import type { KubeObject } from '../types.ts';
import { decodeContinue, encodeContinue, listPage } from './listing.ts';
import { Store } from './store.ts';
import { selectChange } from './watch.ts';

const things = defineResource({ group: '', version: 'v1', plural: 'things', kind: 'Thing', namespaced: true });

const thing = (namespace: string, name: string, labels?: { [key: string]: string }): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Thing',
  metadata: { name, namespace, labels, uid: name, resourceVersion: '1', creationTimestamp: '' },
});

function filled(): Store {
  const store = new Store();
  for (const [namespace, name] of [
    ['a', '1'],
    ['a', '2'],
    ['a', '3'],
    ['b', '1'],
    ['b', '2'],
  ] as const) {
    store.put('things', `${namespace}/${name}`, thing(namespace, name));
  }
  return store;
}

describe('list', () => {
  test.each([1, 2, 3, 4, 5, 6])('pages - of %i contain every object once', (limit) => {
    const store = filled();
    const seen: string[] = [];
    let token: string | undefined;
    do {
      const page = listPage(store, things, '', { limit, continue: token });
      seen.push(...page.items.map((item) => `${item.metadata.namespace}/${item.metadata.name}`));
      token = page.continue;
    } while (token !== undefined);
    expect(seen).toEqual(['a/1', 'a/2', 'a/3', 'b/1', 'b/2']);
  });

  test('pages - a namespace has its own remainder', () => {
    const page = listPage(filled(), things, 'a', { limit: 1 });
    expect(page.remainingItemCount).toBe(2);
    expect(listPage(filled(), things, 'c', { limit: 1 })).toMatchObject({ items: [], continue: undefined });
  });

  test('token - decodes its own, refuses a forged one', () => {
    const token = { version: 12, after: 'a/1' };
    expect(decodeContinue(encodeContinue(token))).toEqual(token);
    for (const bad of ['', 'zz', Buffer.from('{}').toString('base64url'), Buffer.from('[1]').toString('base64url')]) {
      expect(() => decodeContinue(bad)).toThrow(expect.objectContaining({ httpStatus: 400 }));
    }
  });
});

describe('watch selection', () => {
  const red = thing('a', '1', { colour: 'red' });
  const blue = thing('a', '1', { colour: 'blue' });
  const isRed = (object: KubeObject) => object.metadata.labels?.['colour'] === 'red';
  const change = { version: 7, storage: 'things', key: 'a/1' };

  test.each([
    ['ADDED', red, undefined, 'ADDED'],
    ['ADDED', blue, undefined, undefined],
    ['MODIFIED', red, red, 'MODIFIED'],
    ['MODIFIED', red, blue, 'ADDED'],
    ['MODIFIED', blue, red, 'DELETED'],
    ['MODIFIED', blue, blue, undefined],
    ['DELETED', red, red, 'DELETED'],
    ['DELETED', blue, blue, undefined],
  ] as const)('selection - %s as seen by a watcher (%#)', (type, object, previous, expected) => {
    expect(selectChange({ ...change, type, object, previous }, isRed)?.type).toBe(expected);
  });

  test('selection - an object that leaves appears in its former state with the new version', () => {
    const left = selectChange({ ...change, type: 'MODIFIED', object: blue, previous: red }, isRed)!;
    expect(left.object.metadata).toMatchObject({ labels: { colour: 'red' }, resourceVersion: '7' });
  });
});
