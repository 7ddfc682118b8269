/** What is run inside the virtual machine: read by both sides, the host's test files and the configuration inside. */

export interface Tier {
  /** Folder of its test files. */
  readonly dir: string;
  /** Of the files that are run, without `.test.ts`; all are when BAILIFF_VM_FULL is set or files are named. */
  readonly names: readonly string[];
  /** What its tests start as processes of their own, by nodeArgs() of tools/children.ts. */
  readonly programs: readonly string[];
  /** Of one test or hook, in emulated time. */
  readonly testTimeoutMs: number;
  /** Of the whole tier in one boot; with BAILIFF_VM_FULL FULL_TIMES that. */
  readonly timeoutMs: number;
  /** A process for each file: costs seconds a file under emulation. */
  readonly isolate: boolean;
}

/** All of test/kernel is about three times what is run otherwise, and slower a test. */
export const FULL_TIMES = 5;

/** Every limit of time is so many times as long: for a machine that has other work, or a kernel that is slow under emulation. */
export const PATIENCE = Math.max(1, Number(process.env['BAILIFF_VM_PATIENCE'] || 1));

export type TierName = 'lsm' | 'kernel';

export const TIERS: Readonly<Record<TierName, Tier>> = {
  lsm: {
    dir: 'test/lsm',
    names: ['**/*'],
    programs: [],
    testTimeoutMs: 180_000,
    timeoutMs: 2_400_000,
    isolate: false,
  },
  // The second kernel is asked whether it judges packets as the first does: a file for each topic. The rest is more of the same,
  // or bookkeeping that loads the object again for each test (2-5 s under emulation) and whole processes of the command line.
  kernel: {
    dir: 'test/kernel',
    names: ['ipv4', 'ipv6', 'nd-claims', 'modes', 'quarantine', 'checksum-offload', 'after-judgement'],
    programs: ['test/kernel/harness/agent.ts', 'apps/collector/src/main.ts'],
    testTimeoutMs: 120_000,
    timeoutMs: 1_200_000,
    isolate: false,
  },
};

export function tierOf(name: string | undefined): TierName {
  if (name === 'lsm' || name === 'kernel') return name;
  throw new Error(`BAILIFF_VM_TIER is ${name ?? 'not set'}; known: ${Object.keys(TIERS).join(', ')}`);
}
