// Configuration of vitest inside the virtual machine: one tier a boot (BAILIFF_VM_TIER), one process for all of its files where
// they allow it, and transformed modules kept on disk, because emulation makes start-up dear.
import path from 'node:path';
import { defineConfig } from 'vitest/config';
import { TIERS, tierOf } from './tiers.ts';

const tier = TIERS[tierOf(process.env['BAILIFF_VM_TIER'])];
const root = path.resolve(import.meta.dirname, '../..');

export default defineConfig({
  root,
  cacheDir: path.join(root, '.cache/vm/vite'),
  test: {
    include: [...tier.include],
    testTimeout: tier.testTimeoutMs,
    hookTimeout: tier.testTimeoutMs,
    pool: 'forks',
    fileParallelism: false,
    isolate: tier.isolate,
    watch: false,
    reporters: [path.join(import.meta.dirname, 'line-reporter.ts')],
    experimental: { fsModuleCache: true, fsModuleCachePath: path.join(root, '.cache/vm/modules') },
  },
});
