// Import cycles, and imports against the order of layers.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { cyclesOf, type ImportGraph, importsAgainst, LAYERS } from './import-order.ts';
import { listed } from './listed.ts';

const root = path.resolve(import.meta.dirname, '..');
const IMPORT = /(?:from|import\() ?'(\.[^']+)'|^import '(\.[^']+)'/gm;

/**
 * Relative imports of every source file in apps, libs and the lab; tests may import across layers.
 */
function graph(): ImportGraph {
  const files = listed().filter(
    (f) => /^(apps\/[^/]+|libs\/[^/]+|test\/lab)\/src\/.*\.ts$/.test(f) && !f.endsWith('.test.ts'),
  );
  const known = new Set(files);
  return new Map(
    files.map((file) => {
      const text = readFileSync(path.join(root, file), 'utf8');
      const targets = [...text.matchAll(IMPORT)].map(([, from, bare]) =>
        path.posix.join(path.posix.dirname(file), from ?? bare ?? ''),
      );
      return [file, targets.filter((target) => known.has(target))];
    }),
  );
}

describe('import order', () => {
  const imports = graph();

  it('cycles - there are none', () => {
    expect(cyclesOf(imports)).toEqual([]);
  });

  it.each(Object.entries(LAYERS))(
    'layers of %s - every folder is listed, and imports only what is below it',
    (folder, layers) => {
      expect(importsAgainst(imports, folder, layers)).toEqual([]);
    },
  );
});

describe('import order - the check itself', () => {
  it('cycles - finds a ring once and leaves out what only leads to it', () => {
    const ring: ImportGraph = new Map([
      ['a', ['b']],
      ['b', ['c']],
      ['c', ['b', 'd']],
      ['d', []],
    ]);
    expect(cyclesOf(ring)).toEqual([['b', 'c']]);
    expect(cyclesOf(new Map([...ring, ['c', ['d']]]))).toEqual([]);
  });

  it('layers - an import upwards, an unlisted folder and a folder without files are reported', () => {
    const imports: ImportGraph = new Map([
      ['x/main.ts', ['x/high/a.ts', 'x/low/b.ts']],
      ['x/high/a.ts', ['x/low/b.ts', 'x/main.ts']],
      ['x/low/b.ts', ['x/high/a.ts', 'x/config.ts']],
      ['x/config.ts', []],
      ['x/other/c.ts', []],
    ]);
    expect(importsAgainst(imports, 'x', ['.', 'high', 'low', 'gone', 'config.ts'])).toEqual([
      'x/high/a.ts imports x/main.ts, which is above it',
      'x/low/b.ts imports x/high/a.ts, which is above it',
      'x/other/c.ts is in no listed layer',
      'x/gone has no files',
    ]);
    const halves = ['.', ['high', 'low'], 'config.ts', 'other'];
    expect(importsAgainst(imports, 'x', halves)).toEqual([
      'x/high/a.ts imports x/low/b.ts, which is beside it',
      'x/high/a.ts imports x/main.ts, which is above it',
      'x/low/b.ts imports x/high/a.ts, which is beside it',
    ]);
    const downwards: ImportGraph = new Map([
      ['x/main.ts', ['x/low/b.ts']],
      ['x/low/b.ts', ['x/low/c.ts', 'y/d.ts']],
      ['x/low/c.ts', []],
      ['y/d.ts', ['x/main.ts']],
    ]);
    expect(importsAgainst(downwards, 'x', ['.', 'low'])).toEqual([]);
  });
});
