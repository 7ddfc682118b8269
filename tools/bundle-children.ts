/**
 * Vitest's global setup of the tiers that start processes: bundles the sources of children.ts once
 * per run.
 */
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';
import type { TestProject } from 'vitest/node';
import { CHILDREN, CHILDREN_VARIABLE } from './children.ts';
import { entriesOf } from './node-bundle.ts';
import { writePage } from './page.ts';

const ROOT = path.resolve(import.meta.dirname, '..');
const { version } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as { version: string };

async function bundle(directory: string): Promise<void> {
  const options = entriesOf(ROOT, CHILDREN, directory);
  await build({
    ...options,
    define: { ...options.define, 'process.env.BAILIFF_VERSION': JSON.stringify(version) },
    // esbuild itself, which a lab uses for its builds.
    external: ['esbuild'],
  });
  await writePage();
}

export default async function setup(project: TestProject): Promise<(() => void) | undefined> {
  if (process.env[CHILDREN_VARIABLE]) return undefined;
  // Inside the workspace, so that its packages resolve.
  mkdirSync(path.join(ROOT, 'test/build'), { recursive: true });
  const directory = mkdtempSync(path.join(ROOT, 'test/build/children-'));
  process.env[CHILDREN_VARIABLE] = directory;
  // Some of them run as the user nobody.
  chmodSync(directory, 0o755);
  await bundle(directory);
  project.onTestsRerun(() => bundle(directory));
  return () => {
    delete process.env[CHILDREN_VARIABLE];
    rmSync(directory, { recursive: true, force: true });
  };
}
