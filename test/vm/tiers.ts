/** What is run inside the virtual machine: read by both sides, the host's test files and the configuration inside. */

export interface Tier {
  readonly include: readonly string[];
  /** Left out, unless BAILIFF_VM_FULL is set. */
  readonly exclude: readonly string[];
  /** Of one test or hook, in emulated time. */
  readonly testTimeoutMs: number;
  /** Of the whole tier in one boot. */
  readonly timeoutMs: number;
  /** A process for each file: costs seconds a file under emulation. */
  readonly isolate: boolean;
}

export type TierName = 'lsm' | 'kernel';

export const TIERS: Readonly<Record<TierName, Tier>> = {
  lsm: {
    include: ['test/lsm/**/*.test.ts'],
    exclude: [],
    testTimeoutMs: 60_000,
    timeoutMs: 600_000,
    isolate: false,
  },
  // What judges packets is run on every kernel. Left out is bookkeeping that loads the object anew for each test (2-5 s under
  // emulation) or starts whole processes of the command line, which outlast their own limits of time there.
  kernel: {
    include: ['test/kernel/**/*.test.ts'],
    exclude: ['test/kernel/lifecycle.test.ts', 'test/kernel/maps.test.ts', 'test/kernel/offline*.test.ts'],
    testTimeoutMs: 120_000,
    timeoutMs: 1_200_000,
    isolate: false,
  },
};

export function tierOf(name: string | undefined): TierName {
  if (name === 'lsm' || name === 'kernel') return name;
  throw new Error(`BAILIFF_VM_TIER is ${name ?? 'not set'}; known: ${Object.keys(TIERS).join(', ')}`);
}
