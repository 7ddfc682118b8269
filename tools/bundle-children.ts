/** Vitest's global set-up of the tiers that start processes: bundles those of children.ts, once a run however many tiers it has. */
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { build } from 'esbuild';
import type { TestProject } from 'vitest/node';
import { CHILDREN, CHILDREN_VARIABLE } from './children.ts';

const ROOT = path.resolve(import.meta.dirname, '..');

const { version } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as { version: string };

async function bundle(directory: string): Promise<void> {
  // What a source finds beside itself.
  const built = (file: string) => JSON.stringify(path.join(ROOT, 'libs/bpf/build', file));
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
    define: { 'process.env.BAILIFF_VERSION': JSON.stringify(version) },
    banner: {
      js: [
        "import { createRequire as __createRequire } from 'node:module';",
        'const require = __createRequire(import.meta.url);',
        `process.env.BAILIFF_NATIVE ||= ${built('Release/bailiff_bpf.node')};`,
        `process.env.BAILIFF_SPOOF_OBJECT ||= ${built('bpf/spoof.bpf.o')};`,
        `process.env.BAILIFF_RUNTIME_OBJECT ||= ${built('bpf/runtime.bpf.o')};`,
      ].join('\n'),
    },
  });
}

export default async function setup(project: TestProject): Promise<(() => void) | undefined> {
  if (process.env[CHILDREN_VARIABLE]) return undefined;
  const directory = mkdtempSync(path.join(tmpdir(), 'bailiff-children-'));
  // Some of them run as nobody.
  chmodSync(directory, 0o755);
  process.env[CHILDREN_VARIABLE] = directory;
  await bundle(directory);
  project.onTestsRerun(() => bundle(directory));
  return () => {
    delete process.env[CHILDREN_VARIABLE];
    rmSync(directory, { recursive: true, force: true });
  };
}
