import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../types.ts';
import { pruneAndDefault, schemaCauses } from './schema.ts';

describe('schema', () => {
  test.each<[JsonObject, unknown, string[]]>([
    [{ type: 'string' }, 'x', []],
    [{ type: 'string' }, 1, ['f']],
    [{ type: 'integer' }, 1.5, ['f']],
    [{ type: 'number' }, 1, []],
    [{ type: 'string', nullable: true }, null, []],
    [{ type: 'string' }, null, ['f']],
    [{ 'x-kubernetes-int-or-string': true }, '50%', []],
    [{ type: 'integer', minimum: 1, exclusiveMinimum: true }, 1, ['f']],
    [{ type: 'integer', multipleOf: 5 }, 7, ['f']],
    [{ type: 'string', minLength: 2, maxLength: 3 }, 'x', ['f']],
    [{ type: 'string', maxLength: 3 }, 'xxxx', ['f']],
    [{ type: 'array', minItems: 1 }, [], ['f']],
    [{ type: 'array', items: { type: 'integer' } }, [1, 'x', 'y'], ['f[1]', 'f[2]']],
    [{ type: 'object', required: ['a'] }, {}, ['f.a']],
    [{ type: 'object', minProperties: 1 }, {}, ['f']],
    [{ type: 'object', maxProperties: 1 }, { a: 1, b: 2 }, ['f']],
    [{ type: 'object', additionalProperties: { type: 'string' } }, { a: 1 }, ['f.a']],
    [{ anyOf: [{ type: 'string' }, { type: 'integer' }] }, 1, []],
    [{ anyOf: [{ type: 'string' }, { type: 'integer' }] }, true, ['f']],
    [{ oneOf: [{ required: ['a'] }, { required: ['b'] }] }, { a: 1, b: 1 }, ['f']],
    [{ allOf: [{ required: ['a'] }, { required: ['b'] }] }, {}, ['f.a', 'f.b']],
    [{ not: { required: ['a'] } }, { a: 1 }, ['f']],
  ])('validate - %j for %j', (schema, value, fields) => {
    expect(schemaCauses(schema, value, 'f').map((cause) => cause.field)).toEqual(fields);
  });

  test('prune - removes unknown fields, keeps preserved and mapped ones, sets defaults', () => {
    const schema: JsonObject = {
      type: 'object',
      properties: {
        spec: {
          type: 'object',
          properties: {
            a: { type: 'string', default: 'x' },
            inner: { type: 'object', default: {}, properties: { b: { type: 'integer', default: 2 } } },
            list: { type: 'array', items: { type: 'object', properties: { c: { type: 'string', default: 'y' } } } },
            map: { type: 'object', additionalProperties: { type: 'object', properties: { d: {} } } },
            free: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
          },
        },
      },
    };
    const value = {
      apiVersion: 'v1',
      metadata: { anything: 1 },
      gone: 1,
      spec: { a: null, list: [{ z: 1 }], map: { k: { d: 1, e: 2 } }, free: { any: 1 }, gone: 2 },
    };
    expect(pruneAndDefault(schema, value)).toEqual({
      apiVersion: 'v1',
      metadata: { anything: 1 },
      spec: { a: 'x', inner: { b: 2 }, list: [{ c: 'y' }], map: { k: { d: 1 } }, free: { any: 1 } },
    });
  });
});
