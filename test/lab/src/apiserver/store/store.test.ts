import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { KubeObject } from '../types.ts';
import type { Change } from './history.ts';
import { keyOf, Store } from './store.ts';

const object = (name: string, value = 0): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Thing',
  metadata: { name, uid: name, resourceVersion: '', creationTimestamp: '' },
  spec: { value },
});

describe('store', () => {
  test('versions - one sequence for all buckets, in every object and event', () => {
    const store = new Store({ startVersion: 10 });
    const seen: Change[] = [];
    store.subscribe((change) => seen.push(change));
    store.put('a', 'x', object('x'));
    store.put('b', 'x', object('x'));
    store.put('a', 'x', object('x', 1));
    store.remove('a', 'x');
    expect(seen.map((change) => `${change.version} ${change.type} ${change.storage}`)).toEqual([
      '11 ADDED a',
      '12 ADDED b',
      '13 MODIFIED a',
      '14 DELETED a',
    ]);
    expect(seen.every((change) => change.object.metadata.resourceVersion === String(change.version))).toBe(true);
    expect(seen[3]!.previous!.metadata.resourceVersion).toBe('13');
    expect(store.version).toBe(14);
  });

  test('objects - stored objects are immutable', () => {
    const store = new Store();
    const stored = store.put('a', 'x', object('x'));
    expect(() => {
      stored.spec!['value'] = 9;
    }).toThrow(TypeError);
  });

  test('keys - listed in byte order', () => {
    const store = new Store();
    for (const key of ['b', 'a/z', 'a', 'B', 'a.b']) store.put('s', key, object(key));
    expect(store.keys('s')).toEqual(['B', 'a', 'a.b', 'a/z', 'b']);
    expect(keyOf('', 'n')).toBe('n');
    expect(keyOf('ns', 'n')).toBe('ns/n');
  });

  test('listeners - a change made by a listener follows its cause, for all listeners', () => {
    const store = new Store();
    const order: string[] = [];
    store.subscribe((change) => {
      if (change.key === 'cause') store.put('s', 'effect', object('effect'));
    });
    store.subscribe((change) => order.push(change.key));
    store.put('s', 'cause', object('cause'));
    expect(order).toEqual(['cause', 'effect']);
  });

  test('snapshot - available for any covered version', () => {
    const step = fc.record({ key: fc.constantFrom('a', 'b', 'c', 'd'), remove: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 5, max: 60 }), (steps, historyLimit) => {
        const store = new Store({ historyLimit });
        const past: [number, string][] = [[store.version, JSON.stringify(store.snapshot('s', store.version))]];
        steps.forEach(({ key, remove }, index) => {
          if (remove && store.get('s', key) !== undefined) store.remove('s', key);
          else store.put('s', key, object(key, index));
          store.put('other', key, object(key));
          past.push([store.version, JSON.stringify(store.snapshot('s', store.version))]);
        });
        for (const [version, contents] of past) {
          const covered = version >= store.compactedVersion;
          const snapshot = store.snapshot('s', version);
          expect(snapshot !== undefined).toBe(covered);
          if (covered) expect(JSON.stringify(snapshot)).toBe(contents);
        }
      }),
    );
  });

  test('compaction - covers only newer versions', () => {
    const store = new Store({ startVersion: 0 });
    for (let index = 1; index <= 6; index += 1) store.put('s', 'x', object('x', index));
    store.compact(3);
    expect(store.changesSince(2)).toBeUndefined();
    expect(store.changesSince(3)?.map((change) => change.version)).toEqual([4, 5, 6]);
    store.compact();
    expect(store.compactedVersion).toBe(6);
    expect(store.changesSince(6)).toEqual([]);
  });
});
