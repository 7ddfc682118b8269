import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryDirectory } from '@bailiff/service/testing';
import { beforeEach, describe, expect, it } from 'vitest';

const ROOT = path.resolve(import.meta.dirname, '../../..');
let checkout = '';
const at = (file: string) => path.join(checkout, file);

function put(file: string, text: string, ageMs: number): void {
  mkdirSync(path.dirname(at(file)), { recursive: true });
  writeFileSync(at(file), text);
  const time = new Date(Date.now() - ageMs);
  utimesSync(at(file), time, time);
}

beforeEach(() => {
  checkout = temporaryDirectory();
  mkdirSync(at('apps/cli/bin'), { recursive: true });
  cpSync(path.join(ROOT, 'apps/cli/bin/bailiff.mjs'), at('apps/cli/bin/bailiff.mjs'));
  writeFileSync(at('package.json'), '{"type":"module"}');
});

const run = () => execFileSync(process.execPath, [at('apps/cli/bin/bailiff.mjs')], { encoding: 'utf8' }).trim();
const bundle = (ageMs: number) => put('apps/cli/dist/main.mjs', "console.log('bundle');\n", ageMs);
const sources = (ageMs: number) => {
  put('apps/cli/src/main.ts', "console.log('sources' as string);\n", ageMs);
  put('libs/bus/src/index.ts', '', ageMs);
};
const packages = () => symlinkSync(path.join(ROOT, 'node_modules'), at('node_modules'));

describe('bin', () => {
  it('bundle - newer than its sources, it is what runs', () => {
    packages();
    sources(60_000);
    bundle(1_000);
    expect(run()).toBe('bundle');
  });

  it.each(['apps/cli/src/shared/rows/cluster-status.ts', 'libs/bus/src/index.ts'])(
    'bundle - older than %s, the sources run',
    (file) => {
      packages();
      sources(60_000);
      bundle(30_000);
      put(file, '', 1_000);
      expect(run()).toBe('sources');
    },
  );

  it('bundle - a changed test does not make it old', () => {
    packages();
    sources(60_000);
    bundle(30_000);
    put('apps/cli/src/run.test.ts', '', 1_000);
    expect(run()).toBe('bundle');
  });

  it('no bundle - the sources run', () => {
    packages();
    sources(60_000);
    expect(run()).toBe('sources');
  });

  it('installation - without sources the bundle runs', () => {
    bundle(30_000);
    expect(run()).toBe('bundle');
  });
});
