/**
 * Bundles TypeScript to plain JavaScript modules for the virtual machine, where transforming,
 * resolving and reading hundreds of files takes a minute. The host needs two seconds. The output is
 * a separate folder below `.cache/vm`, removed on disposal.
 *
 * Invariants: a module still finds the files beside its source; a source imported by several
 * entries becomes one shared module; vitest is not bundled. Stacks name places in the bundle until
 * `places` maps them back.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { SourceMap } from 'node:module';
import path from 'node:path';
import { type BuildOptions, build } from 'esbuild';
import { entriesOf } from '../../tools/node-bundle.ts';
import { repoRoot } from './kernels.ts';
import { TIERS, type TierName } from './tiers.ts';

const CACHE = path.join(repoRoot, '.cache/vm');
/** Files that vitest inside needs beside the tests. */
const OF_VITEST = ['test/vm/inside.config.ts', 'test/vm/line-reporter.ts'];

export class Bundle implements Disposable {
  readonly dir: string;

  constructor() {
    mkdirSync(CACHE, { recursive: true });
    this.dir = mkdtempSync(path.join(CACHE, 'bundle-'));
  }

  /** Bundled module of this source; both paths are relative to the workspace. */
  file(source: string): string {
    return path.join(this.dir, source.replace(/\.ts$/, '.mjs'));
  }

  async make(sources: readonly string[], options: BuildOptions = {}): Promise<void> {
    await build({
      ...entriesOf(repoRoot, sources, this.dir),
      ...{ chunkNames: 'chunks/[name]-[hash]', sourcemap: 'linked' },
      ...options,
    });
  }

  /** Replaces places in the bundle with those in the sources. */
  places(text: string): string {
    const place = /(?:file:\/\/)?([^\s()]+\.mjs)(?:\?vitest=\d+)?:(\d+):(\d+)/g;
    return text.replaceAll(place, (whole, file: string, line: string, column: string) => {
      if (!file.startsWith(`${this.dir}/`)) return whole;
      const map = new SourceMap(JSON.parse(readFileSync(`${file}.map`, 'utf8')));
      const entry = map.findEntry(Number(line) - 1, Number(column) - 1);
      if (!('originalSource' in entry)) return whole;
      const source = path.resolve(path.dirname(file), entry.originalSource);
      return `${path.relative(repoRoot, source)}:${entry.originalLine + 1}:${entry.originalColumn + 1}`;
    });
  }

  [Symbol.dispose](): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/**
 * Bundles the tests of a tier, the programs that they start, and vitest's configuration and
 * reporter.
 */
export async function bundleTier(name: TierName): Promise<Bundle> {
  const { dir, programs } = TIERS[name];
  const tests = readdirSync(path.join(repoRoot, dir), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.ts'))
    .map((file) => path.join(dir, file));
  const bundle = new Bundle();
  try {
    await bundle.make([...tests, ...programs, ...OF_VITEST], { external: ['vitest', 'vitest/*'] });
    return bundle;
  } catch (error) {
    bundle[Symbol.dispose]();
    throw error;
  }
}
