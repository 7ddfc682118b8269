import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { deepFreeze, sameJson } from '../types.ts';
import { applyJsonPatch, applyMergePatch, applyStrategicPatch } from './patch.ts';

describe('merge patch', () => {
  // The cases of RFC 7396, appendix A.
  test.each([
    [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
    [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
    [{ a: 'b' }, { a: null }, {}],
    [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
    [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
    [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }],
    [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
    [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
    [
      ['a', 'b'],
      ['c', 'd'],
      ['c', 'd'],
    ],
    [{ a: 'b' }, ['c'], ['c']],
    [{ a: 'foo' }, null, null],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: 'b', c: null }, { a: 'b' }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ])('merge - %j with %j is %j', (target, patch, expected) => {
    expect(applyMergePatch(deepFreeze(target), deepFreeze(patch))).toEqual(expected);
  });

  test('merge - idempotent', () => {
    const json = fc.jsonValue({ maxDepth: 3 });
    fc.assert(
      fc.property(json, json, (target, patch) => {
        const once = applyMergePatch(target, patch);
        return sameJson(applyMergePatch(once, patch), once);
      }),
    );
  });
});

describe('json patch', () => {
  const document = deepFreeze({ a: { 'b/c': 1, 'd~e': 2 }, list: [1, 2, 3] });
  test.each([
    [[{ op: 'replace', path: '/a/b~1c', value: 9 }], { a: { 'b/c': 9, 'd~e': 2 }, list: [1, 2, 3] }],
    [[{ op: 'remove', path: '/a/d~0e' }], { a: { 'b/c': 1 }, list: [1, 2, 3] }],
    [[{ op: 'add', path: '/list/1', value: 'x' }], { a: { 'b/c': 1, 'd~e': 2 }, list: [1, 'x', 2, 3] }],
    [[{ op: 'add', path: '/list/-', value: 4 }], { a: { 'b/c': 1, 'd~e': 2 }, list: [1, 2, 3, 4] }],
    [[{ op: 'move', from: '/list/0', path: '/first' }], { a: { 'b/c': 1, 'd~e': 2 }, list: [2, 3], first: 1 }],
    [[{ op: 'copy', from: '/list', path: '/again' }], { a: { 'b/c': 1, 'd~e': 2 }, list: [1, 2, 3], again: [1, 2, 3] }],
    [
      [
        { op: 'test', path: '/list/2', value: 3 },
        { op: 'add', path: '', value: {} },
      ],
      {},
    ],
  ])('json - %j', (patch, expected) => {
    expect(applyJsonPatch(document, patch)).toEqual(expected);
  });

  test.each([
    [[{ op: 'test', path: '/list/0', value: 2 }], 422],
    [[{ op: 'remove', path: '/absent' }], 422],
    [[{ op: 'replace', path: '/absent', value: 1 }], 422],
    [[{ op: 'add', path: '/list/9', value: 1 }], 422],
    [[{ op: 'add', path: '/list/01', value: 1 }], 422],
    [[{ op: 'add', path: '/absent/deeper', value: 1 }], 422],
    [[{ op: 'explode', path: '/a' }], 422],
    [[{ op: 'test', path: 'a', value: 1 }], 422],
    [{ op: 'test' }, 400],
    [[1], 400],
  ])('json - %j is refused with %i', (patch, status) => {
    expect(() => applyJsonPatch(document, patch)).toThrow(expect.objectContaining({ httpStatus: status }));
  });
});

describe('strategic patch', () => {
  test('strategic - lists with a key merge item by item, others are replaced', () => {
    const target = deepFreeze({
      spec: {
        containers: [{ name: 'a', image: '1', env: [{ name: 'X', value: '1' }] }, { name: 'b' }],
        taints: [{ key: 'old' }],
      },
    });
    const patch = {
      spec: { containers: [{ name: 'a', image: '2', env: [{ name: 'Y', value: '2' }] }], taints: [{ key: 'new' }] },
    };
    expect(applyStrategicPatch(target, patch)).toEqual({
      spec: {
        containers: [
          {
            name: 'a',
            image: '2',
            env: [
              { name: 'X', value: '1' },
              { name: 'Y', value: '2' },
            ],
          },
          { name: 'b' },
        ],
        taints: [{ key: 'new' }],
      },
    });
  });

  test('strategic - directives delete and replace', () => {
    const target = deepFreeze({ spec: { containers: [{ name: 'a' }, { name: 'b' }], x: { y: 1 }, z: { keep: 1 } } });
    const patch = {
      spec: {
        containers: [{ $patch: 'delete', name: 'a' }],
        x: { $patch: 'delete' },
        z: { $patch: 'replace', only: 2 },
      },
    };
    expect(applyStrategicPatch(target, patch)).toEqual({ spec: { containers: [{ name: 'b' }], z: { only: 2 } } });
    const whole = { spec: { containers: [{ $patch: 'replace' }, { name: 'c' }] } };
    expect(applyStrategicPatch(target, whole)).toMatchObject({ spec: { containers: [{ name: 'c' }] } });
  });

  test('strategic - plain lists merge as sets', () => {
    const target = deepFreeze({ finalizers: ['a'] });
    expect(applyStrategicPatch(target, { finalizers: ['a', 'b'] })).toEqual({ finalizers: ['a', 'b'] });
    expect(applyStrategicPatch(target, { '$deleteFromPrimitiveList/finalizers': ['a'] })).toEqual({ finalizers: [] });
  });

  test('strategic - an item without its key is refused', () => {
    expect(() => applyStrategicPatch({}, { containers: [{ image: 'x' }] })).toThrow(
      expect.objectContaining({ httpStatus: 400 }),
    );
  });
});
