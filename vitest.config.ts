// One vitest configuration. Projects are tiers: `unit` runs anywhere, on every processor; every
// other tier starts real servers or touches the kernel. Files that run at the same time have names,
// ports, namespaces and pin directories of their own.
import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { begin } from './tools/environment.ts';
import { isNewestFetched, pathWithNewest } from './tools/nats-server.ts';
import Sequencer from './tools/sequencer.ts';

// Tests of this file load it too, in a worker, which has the environment already.
if (!process.env['VITEST_WORKER_ID']) begin();

/** Undoes mocks and stubs, so that the next file of the process does not see them. */
const NOTHING_LEFT = { restoreMocks: true, unstubEnvs: true, unstubGlobals: true };
/** Fails a file that leaves anything else behind. */
const ONE_PROCESS = { isolate: false, setupFiles: ['tools/left-behind-setup.ts'] };
/** Tiers with generated inputs. */
const GENERATED = ['kernel', 'fuzz', 'sim'];
const SEED = 'tools/seed-setup.ts';
const DIRECTORIES = 'tools/directories-setup.ts';
/** Setup files of a tier. */
const setupOf = (tier: string): string[] => [
  DIRECTORIES,
  ...(SHARED.includes(tier) ? ONE_PROCESS.setupFiles : []),
  ...(GENERATED.includes(tier) ? [SEED] : []),
  ...(tier === 'e2e' ? ['tools/labs-setup.ts'] : []),
];
/** Tiers whose tests start sources of this workspace as processes. */
const CHILDREN = ['native', 'kernel', 'cluster', 'cri', 'e2e', 'chaos'];
/** Tiers of many short files, which share processes: loading is half of the work of a short file. */
const SHARED = ['kernel', 'bus', 'cluster'];
/**
 * Groups of real tiers, which run one after the other, after the unit tests.
 *
 * - First group: four workers on two processors, because the files of `cluster` and `bus` mostly
 *   wait. test/vm/lsm.test.ts runs for most of it; `kernel`, `fuzz` and `sim` compute beside its end.
 * - `e2e`, `chaos` and `cri`: services in the demo's machine miss their start limits with three
 *   files at a time.
 */
const GROUPS = [
  { tiers: ['vm', 'cluster', 'bus', 'native', 'kernel', 'fuzz', 'sim'], workers: 4 },
  { tiers: ['e2e', 'chaos', 'cri'], workers: 2 },
];
const groupOf = (tier: string): number => GROUPS.findIndex(({ tiers }) => tiers.includes(tier));
const real = (tier: string, include: string[], testTimeout: number) => ({
  test: {
    name: tier,
    include,
    testTimeout,
    hookTimeout: testTimeout,
    pool: 'forks' as const,
    globalSetup: CHILDREN.includes(tier) ? ['tools/bundle-children.ts'] : [],
    maxWorkers: GROUPS[groupOf(tier)]!.workers,
    ...(SHARED.includes(tier) ? ONE_PROCESS : {}),
    setupFiles: setupOf(tier),
    ...NOTHING_LEFT,
    sequence: { groupOrder: 1 + groupOf(tier) },
  },
});
/**
 * Files of a tier that run once more on the newest nats-server; without that server, one skipped
 * test. All of `bus`, which holds Bailiff's assumptions about the server. Of the other tiers those
 * whose outcome the server decides: login, a full disk, kills, clusters, recreated streams. The
 * attack from packet to pod runs there alone.
 */
const newest = (tier: string, include: string[], testTimeout: number) => {
  const { test } = real(tier, isNewestFetched() ? include : ['tools/newest-nats-missing.ts'], testTimeout);
  const env = { BAILIFF_NATS: 'newest', PATH: pathWithNewest(process.env['PATH'] ?? '') };
  return { test: { ...test, name: `${tier}-newest`, env } };
};

const ON_NEWEST = [
  ...[
    'bus-auth',
    'bus-auth-attack',
    'bus-auth-second-login',
    'backup-restore',
    'bus-disk-full',
    'bus-routes',
    'config-follow',
    'correlator-kill',
    'correlator-recreated',
    'evidence-log-restored',
  ],
  ...['responder', 'responder-disk-full', 'responder-recreated'],
  ...['siem-relay-connector', 'siem-relay-kill', 'siem-relay-restored'],
];
const inCluster = (names: readonly string[]) => names.map((name) => `test/cluster/${name}.test.ts`);

export default defineConfig({
  test: {
    reporters: ['default', './tools/closing-reporter.ts'],
    sequence: { sequencer: Sequencer },
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
            'test/live/**/*.test.ts',
            'test/versions/**/*.test.ts',
          ],
          // For a test that hangs. Some generate inputs for ten seconds on a busy machine.
          testTimeout: 60_000,
          hookTimeout: 60_000,
          pool: 'forks',
          // Vitest's default leaves one processor idle.
          maxWorkers: availableParallelism(),
          ...ONE_PROCESS,
          setupFiles: [DIRECTORIES, ...ONE_PROCESS.setupFiles, SEED],
          ...NOTHING_LEFT,
        },
      },
      real('native', ['libs/bpf/test/**/*.test.ts', 'cni/test/**/*.test.ts'], 60_000),
      real('kernel', ['test/kernel/**/*.test.ts'], 60_000),
      // Host side of the virtual machine; test/lsm runs only inside it (test/vm/runner.ts).
      real('vm', ['test/vm/**/*.test.ts'], 120_000),
      real('fuzz', ['test/fuzz/**/*.test.ts'], 300_000),
      real('sim', ['test/sim/**/*.test.ts'], 300_000),
      real('bus', ['test/bus/**/*.test.ts'], 60_000),
      real('cluster', ['test/cluster/**/*.test.ts'], 120_000),
      real('cri', ['test/cri/**/*.test.ts'], 120_000),
      // The attack costs two labs, and runs once: on the newest nats-server if there is one.
      real('e2e', [isNewestFetched() ? 'test/e2e/!(attack).test.ts' : 'test/e2e/*.test.ts'], 300_000),
      real('chaos', ['test/chaos/**/*.test.ts'], 300_000),
      newest('bus', ['test/bus/**/*.test.ts'], 60_000),
      newest('cluster', inCluster(ON_NEWEST), 120_000),
      newest('e2e', ['test/e2e/attack.test.ts'], 300_000),
      newest('chaos', ['test/chaos/power-failure.test.ts', 'test/chaos/collector-kill-loop.test.ts'], 300_000),
    ],
  },
});
