/** Vitest's global set-up of the tiers that start processes: bundles those of children.ts, once a run however many tiers it has. */
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { build, type Plugin } from 'esbuild';
import type { TestProject } from 'vitest/node';
import { CHILDREN, CHILDREN_VARIABLE } from './children.ts';

const ROOT = path.resolve(import.meta.dirname, '..');
const { version } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as { version: string };

/** What a source finds beside itself, it finds from within a bundle too. */
const whereSourcesAre: Plugin = {
  name: 'where-sources-are',
  setup({ onLoad }) {
    onLoad({ filter: /\.ts$/ }, async ({ path: file }) => {
      const [url, directory] = [pathToFileURL(file).href, path.dirname(file)].map((place) => JSON.stringify(place));
      const source = await readFile(file, 'utf8');
      return { contents: `const sourceUrl = ${url}, sourceDirectory = ${directory};${source}`, loader: 'ts' };
    });
  },
};

async function bundle(directory: string): Promise<void> {
  await build({
    absWorkingDir: ROOT,
    entryPoints: [...CHILDREN],
    outdir: directory,
    outbase: '.',
    outExtension: { '.js': '.mjs' },
    // What many of them need is made once.
    splitting: true,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'warning',
    define: {
      'process.env.BAILIFF_VERSION': JSON.stringify(version),
      'import.meta.url': 'sourceUrl',
      'import.meta.dirname': 'sourceDirectory',
    },
    plugins: [whereSourcesAre],
    // Itself, by which a lab makes what it runs.
    external: ['esbuild'],
    banner: {
      js: [
        "import { createRequire as __createRequire } from 'node:module';",
        'const require = __createRequire(import.meta.url);',
      ].join('\n'),
    },
  });
}

export default async function setup(project: TestProject): Promise<(() => void) | undefined> {
  if (process.env[CHILDREN_VARIABLE]) return undefined;
  // In the workspace, whose packages they find.
  mkdirSync(path.join(ROOT, 'test/build'), { recursive: true });
  const directory = mkdtempSync(path.join(ROOT, 'test/build/children-'));
  process.env[CHILDREN_VARIABLE] = directory;
  // Some of them run as nobody.
  chmodSync(directory, 0o755);
  await bundle(directory);
  project.onTestsRerun(() => bundle(directory));
  return () => {
    delete process.env[CHILDREN_VARIABLE];
    rmSync(directory, { recursive: true, force: true });
  };
}
