/**
 * Bundles TypeScript to plain JavaScript modules for the virtual machine, where transforming,
 * resolving and reading hundreds of files takes a minute. The host needs two seconds. The output is
 * a separate folder below `.cache/vm`, removed on disposal.
 *
 * Invariants: a module still finds the files beside its source; a source imported by several
 * entries becomes one shared module. Stacks name places in the bundle until `places` maps them
 * back.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { SourceMap } from 'node:module';
import path from 'node:path';
import { type BuildOptions, build } from 'esbuild';
import { entriesOf } from '../../tools/node-bundle.ts';
import { repoRoot } from './kernels.ts';

const CACHE = path.join(repoRoot, '.cache/vm');
export const RUNNER = 'test/vm/runner.ts';

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
      chunkNames: 'chunks/[name]-[hash]',
      sourcemap: 'linked',
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

/** What the runner inside needs: test files, the programs that they start, and itself. */
export async function bundleTests(tests: readonly string[], programs: readonly string[] = []): Promise<Bundle> {
  const bundle = new Bundle();
  try {
    const alias = { vitest: path.join(repoRoot, 'test/vm/vitest-inside.ts') };
    await bundle.make([...tests, ...programs, RUNNER], { alias });
    return bundle;
  } catch (error) {
    bundle[Symbol.dispose]();
    throw error;
  }
}
