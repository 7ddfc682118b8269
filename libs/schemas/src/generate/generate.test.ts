import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { ROOT, readCurrent, readHistory } from './files.ts';
import { generateSchemas, generateTypes, withoutDoc } from './generate.ts';

const generated = (file: string) => readFileSync(path.join(ROOT, 'src/generated', file), 'utf8');

test('generate - types.gen.ts is current (else run src/generate/main.ts)', () => {
  expect(generated('types.gen.ts')).toBe(generateTypes(readCurrent()));
});

test('generate - schemas.gen.ts is current (else run src/generate/main.ts)', () => {
  expect(generated('schemas.gen.ts')).toBe(generateSchemas(readCurrent(), readHistory()));
});

test('generate - a changed schema changes both files', () => {
  const changed = structuredClone(readCurrent()) as { fields: { name: string }[] }[];
  (changed[0]?.fields[0] as { name: string }).name = 'renamed';
  expect(generateTypes(changed)).not.toBe(generated('types.gen.ts'));
  expect(generateSchemas(changed, readHistory())).not.toBe(generated('schemas.gen.ts'));
});

test('generate - an unsupported type is rejected', () => {
  const schema = { type: 'record', name: 'R', fields: [{ name: 'f', type: { type: 'map', values: 'int' } }] };
  expect(() => generateTypes([schema])).toThrow('no TypeScript');
});

test('generate - documentation is removed at every depth, and nothing else', () => {
  const schema = { doc: 'a', fields: [{ name: 'doc', doc: 'b', default: null }] };
  expect(withoutDoc(schema)).toEqual({ fields: [{ name: 'doc', default: null }] });
});
