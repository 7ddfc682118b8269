// One vitest configuration. Projects are tiers: `unit` runs anywhere and in parallel; every other tier
// starts real servers or touches the kernel, so its files run one after another.
import { defineConfig } from 'vitest/config';

const serial = (name: string, include: string[], testTimeout: number) => ({
  test: { name, include, testTimeout, hookTimeout: testTimeout, pool: 'forks' as const, fileParallelism: false },
});

export default defineConfig({
  test: {
    reporters: ['default', './tools/closing-reporter.ts'],
    exclude: ['**/node_modules/**', '**/dist/**', '**/build/**'],
    projects: [
      {
        test: {
          name: 'unit',
          include: [
            'apps/*/src/**/*.test.ts',
            'libs/*/src/**/*.test.ts',
            'tools/**/*.test.ts',
            'test/k8s/**/*.test.ts',
            'test/lab/src/**/*.test.ts',
          ],
          testTimeout: 15_000,
          pool: 'forks',
        },
      },
      serial('native', ['libs/bpf/test/**/*.test.ts'], 60_000),
      serial('kernel', ['test/kernel/**/*.test.ts'], 60_000),
      // Host side of the virtual machine; test/lsm runs only inside it (test/vm/inside.config.ts).
      serial('vm', ['test/vm/**/*.test.ts'], 120_000),
      serial('fuzz', ['test/fuzz/**/*.test.ts'], 120_000),
      serial('sim', ['test/sim/**/*.test.ts'], 120_000),
      serial('bus', ['test/bus/**/*.test.ts'], 60_000),
      serial('cluster', ['test/cluster/**/*.test.ts'], 120_000),
      serial('e2e', ['test/e2e/**/*.test.ts'], 180_000),
      serial('chaos', ['test/chaos/**/*.test.ts'], 300_000),
    ],
  },
});
