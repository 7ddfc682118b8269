import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { RESOURCE_KINDS } from '../configuration/custom-resources.ts';
import { definitionOf } from './definitions.ts';
import { CRD_DIRECTORY, crdFiles } from './files.ts';
import { type Schema, structural } from './structural.ts';

const KUSTOMIZATION = 'kustomization.yaml';

test('definitions - the files are current (otherwise run src/crd/main.ts), complete, and in the kustomization', () => {
  const files = crdFiles();
  const names = files.map(({ file }) => file).sort();
  expect(readdirSync(CRD_DIRECTORY).sort()).toEqual([...names, KUSTOMIZATION].sort());
  const { resources } = parse(readFileSync(path.join(CRD_DIRECTORY, KUSTOMIZATION), 'utf8'));
  expect(resources.sort()).toEqual(names);
  for (const { file, text } of files) expect(readFileSync(path.join(CRD_DIRECTORY, file), 'utf8')).toBe(text);
});

/** Every schema within one, with its path. */
function* schemasIn(schema: Schema, at: string): Generator<[string, Schema]> {
  yield [at, schema];
  for (const [name, field] of Object.entries((schema['properties'] ?? {}) as Schema))
    yield* schemasIn(field as Schema, `${at}.${name}`);
  for (const key of ['items', 'additionalProperties'])
    if (typeof schema[key] === 'object') yield* schemasIn(schema[key] as Schema, `${at}.${key}`);
}

function schemaOf(kind: (typeof RESOURCE_KINDS)[number]): Schema {
  const spec = definitionOf(kind)['spec'] as { versions: { schema: { openAPIV3Schema: Schema } }[] };
  return spec.versions[0]?.schema.openAPIV3Schema as Schema;
}

test.each(RESOURCE_KINDS)(
  'definitions - %s: every schema has a type and only keywords of structural schemas',
  (kind) => {
    const bad = [...schemasIn(schemaOf(kind), kind)].filter(([, schema]) => {
      const typed = typeof schema['type'] === 'string' || schema['x-kubernetes-int-or-string'] === true;
      const foreign = ['$ref', 'anyOf', 'oneOf', 'const', 'uniqueItems', 'propertyNames'].some(
        (word) => word in schema,
      );
      const open = schema['type'] === 'object' && !schema['properties'] && !schema['additionalProperties'];
      return !typed || foreign || schema['additionalProperties'] === false || open;
    });
    expect(bad.map(([at]) => at)).toEqual([`${kind}.metadata`]);
  },
);

test.each<[string, Schema]>([
  ['a union of objects and texts', { anyOf: [{ type: 'object' }, { type: 'string' }] }],
  ['a union of three', { anyOf: [{ type: 'string' }, { type: 'integer' }, { type: 'boolean' }] }],
  ['an unknown keyword', { type: 'string', contentEncoding: 'base64' }],
])('structural - %s is an error, not dropped', (_, schema) => {
  expect(() => structural(schema, 'here')).toThrow(/^here: /);
});

test('structural - a default of some branches is dropped', () => {
  const branch = (type: string, more: Schema) => ({
    type: 'object',
    properties: { type: { type: 'string', const: type }, both: { type: 'integer', default: 1 }, ...more },
    required: ['type'],
  });
  const united = structural(
    { oneOf: [branch('a', { only: { type: 'string', default: 'x' } }), branch('b', {})] },
    'here',
  );
  expect(united).toEqual({
    type: 'object',
    properties: {
      type: { type: 'string', enum: ['a', 'b'] },
      both: { type: 'integer', format: 'int64', default: 1 },
      only: { type: 'string' },
    },
    required: ['type'],
  });
});
