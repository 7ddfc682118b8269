// Configuration of vitest inside the virtual machine: one tier a boot (BAILIFF_VM_TIER), one process for all of its files where
// they allow it, and transformed modules kept on disk, because emulation makes start-up dear.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { defineConfig } from 'vitest/config';
import { TIERS, tierOf } from './tiers.ts';

const tier = TIERS[tierOf(process.env['BAILIFF_VM_TIER'])];
const root = path.resolve(import.meta.dirname, '../..');
// vitest empties its cache when the lock file changed, also under another machine that is reading it: one folder a lock file.
const lock = createHash('sha256')
  .update(readFileSync(path.join(root, 'package-lock.json')))
  .digest('hex')
  .slice(0, 16);
const modules = path.join(root, '.cache/vm/modules', lock);
mkdirSync(modules, { recursive: true });

export default defineConfig({
  root,
  cacheDir: path.join(root, '.cache/vm/vite'),
  test: {
    include: [...(process.env['BAILIFF_VM_FULL'] || process.env['BAILIFF_VM_FILES'] ? tier.all : tier.include)],
    testTimeout: tier.testTimeoutMs,
    hookTimeout: tier.testTimeoutMs,
    pool: 'forks',
    fileParallelism: false,
    isolate: tier.isolate,
    watch: false,
    reporters: [path.join(import.meta.dirname, 'line-reporter.ts')],
    experimental: { fsModuleCache: true, fsModuleCachePath: modules },
  },
});
