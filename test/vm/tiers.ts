/** The tiers that run inside the virtual machine. */

export interface Tier {
  /** Folder of its test files. */
  readonly dir: string;
  /**
   * Files that run, without `.test.ts`; null: all. All run if BAILIFF_VM_FULL is set or files are
   * named.
   */
  readonly names: readonly string[] | null;
  /** Programs that its tests start as separate processes, by nodeArgs() of tools/children.ts. */
  readonly programs: readonly string[];
  /** For one test or hook, in emulated time. */
  readonly testTimeoutMs: number;
  /** For the whole tier in one boot; with BAILIFF_VM_FULL multiplied by FULL_TIMES. */
  readonly timeoutMs: number;
}

/** All of test/kernel is seven times the default set. */
export const FULL_TIMES = 5;

/** Factor for every time limit: for a busy machine, or a kernel that is slow under emulation. */
export const PATIENCE = Math.max(1, Number(process.env['BAILIFF_VM_PATIENCE'] || 1));

export type TierName = 'lsm' | 'kernel';

export const TIERS: Readonly<Record<TierName, Tier>> = {
  lsm: {
    dir: 'test/lsm',
    names: null,
    programs: [],
    testTimeoutMs: 180_000,
    timeoutMs: 2_400_000,
  },
  // What the kernel decides: metadata and pages of packets, their change after the decision, marks that skip
  // the guard, and netkit, which
  // the first kernel may lack. The programs' own decisions are the same instructions on every
  // kernel, so the other files run on the first kernel alone.
  kernel: {
    dir: 'test/kernel',
    names: [
      'checksum-offload',
      'after-judgement',
      'changing-pages',
      'shared-copies',
      'joined',
      'segment-lists',
      'tunnel-segments',
      'guard-bypass',
      'guard-bypass-ways',
      'netkit',
      'netkit-counts',
      'netkit-redirect',
      'netkit-upgrade',
      'packet-fields',
      'left-links',
    ],
    programs: ['test/kernel/harness/agent.ts', 'apps/collector/src/main.ts'],
    testTimeoutMs: 120_000,
    timeoutMs: 1_200_000,
  },
};
