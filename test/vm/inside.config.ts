// Configuration of vitest inside the virtual machine: one tier per boot (BAILIFF_VM_TIER), with the
// files that the host bundled (BAILIFF_VM_BUNDLE). Node loads them directly, in one process for all
// of them if the tier allows it.
import path from 'node:path';
import type { ViteUserConfig } from 'vitest/config';
import { PATIENCE, TIERS, tierOf } from './tiers.ts';

const tier = TIERS[tierOf(process.env['BAILIFF_VM_TIER'])];
const root = process.env['BAILIFF_VM_BUNDLE'] ?? '';
const all = process.env['BAILIFF_VM_FULL'] || process.env['BAILIFF_VM_FILES'];
const names = all ? ['**/*'] : tier.names;

export default {
  root,
  cacheDir: path.join(root, 'vite'),
  test: {
    include: names.map((name) => `${tier.dir}/${name}.test.mjs`),
    exclude: [],
    testTimeout: tier.testTimeoutMs * PATIENCE,
    hookTimeout: tier.testTimeoutMs * PATIENCE,
    pool: 'forks',
    fileParallelism: false,
    isolate: tier.isolate,
    watch: false,
    reporters: [path.join(root, 'test/vm/line-reporter.mjs')],
    experimental: { viteModuleRunner: false, nodeLoader: false },
  },
} satisfies ViteUserConfig;
