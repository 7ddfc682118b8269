// ARCHITECTURE.md: the files that it names exist, and each walk follows the imports.
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { filesNamedIn, gapsOf, importsOf, type Read, walksOf } from './walks.ts';

const ROOT = path.resolve(import.meta.dirname, '..');
const texts = new Map<string, string | null>();
const read: Read = (file) => {
  const known = texts.get(file);
  if (known !== undefined) return known;
  const place = path.join(ROOT, file);
  const text = existsSync(place) ? readFileSync(place, 'utf8') : null;
  texts.set(file, text);
  return text;
};
const page = read('ARCHITECTURE.md') ?? '';
const walks = walksOf(page);

describe('ARCHITECTURE.md', () => {
  it('files - each that it names exists', () => {
    const named = filesNamedIn(page);
    expect(named.length).toBeGreaterThan(80);
    expect(named.filter((file) => read(file) === null)).toEqual([]);
  });

  it('walks - there are four, of ten files at least', () => {
    expect(walks.map(({ title }) => title)).toEqual([
      'Walk 1: packet sample → bus',
      'Walk 2: violation → verdict',
      'Walk 3: verdict → delete call',
      'Walk 4: pod change → kernel map',
    ]);
    expect(walks.filter(({ steps }) => steps.length < 10)).toEqual([]);
  });

  it.each(walks)('$title - each file is connected with the next', (walk) => {
    expect(gapsOf(walk, read)).toEqual([]);
  });
});

describe('walks - the check itself', () => {
  const files: Readonly<Record<string, string>> = {
    'apps/x/src/main.ts':
      "import { a } from './a.ts';\nimport { b } from './b.ts';\nimport type { Tool } from '@bailiff/y';",
    'apps/x/src/a.ts': "const subject = 'jobs';",
    'apps/x/src/b.ts': '',
    'apps/x/src/c.ts': "follow('jobs');",
    'libs/y/src/index.ts': "export * from './tool.ts';\nexport { type other as Other } from './other.ts';",
    'libs/y/src/tool.ts': 'export interface Tool {}',
    'libs/y/src/other.ts': '',
    'libs/bpf/native/core/ring.h': '',
    'libs/bpf/native/binding/wrap.cc': '#include "core/ring.h"',
  };
  const readFrom: Read = (file) => files[file] ?? null;
  const gaps = (...rows: string[]) =>
    gapsOf(
      walksOf(`# Page\n### Walk 1: x\n${rows.map((row) => `| ${row} | text |`).join('\n')}\n## Next`)[0]!,
      readFrom,
    );

  it.each([
    ['an import', ['`apps/x/src/main.ts`', '`apps/x/src/a.ts`']],
    ['an import of the file before', ['`apps/x/src/a.ts`', '`apps/x/src/main.ts`']],
    ['a file above that imports both', ['`apps/x/src/main.ts`', '`apps/x/src/a.ts`', '`apps/x/src/b.ts`']],
    ['an import by the library', ['`apps/x/src/main.ts`', '`libs/y/src/tool.ts`']],
    ['a header of a source', ['`libs/bpf/native/binding/wrap.cc`', '`libs/bpf/native/core/ring.cc`']],
    ['a word in both', ['`apps/x/src/a.ts`', '↓ `jobs`', '`apps/x/src/c.ts`']],
  ])('accepts %s', (_how, rows) => {
    expect(gaps(...rows)).toEqual([]);
  });

  it.each([
    ['no connection', ['`apps/x/src/a.ts`', '`apps/x/src/b.ts`']],
    ['a file below that imports both', ['`apps/x/src/a.ts`', '`apps/x/src/b.ts`', '`apps/x/src/main.ts`']],
    ['another file of the library', ['`apps/x/src/main.ts`', '`libs/y/src/other.ts`']],
    ['a word in one of them', ['`apps/x/src/a.ts`', '↓ `jobs`', '`apps/x/src/b.ts`']],
  ])('reports %s', (_how, rows) => {
    expect(gaps(...rows)).toHaveLength(1);
  });

  it('imports - names of a library lead to their files', () => {
    expect([...importsOf('apps/x/src/main.ts', readFrom)]).toEqual([
      'apps/x/src/a.ts',
      'apps/x/src/b.ts',
      'libs/y/src/tool.ts',
    ]);
  });
});
