/** What is run inside the virtual machine: read by both sides, the host's test files and the configuration inside. */

export interface Tier {
  readonly include: readonly string[];
  /** Of one test or hook, in emulated time. */
  readonly testTimeoutMs: number;
  /** Of the whole tier in one boot. */
  readonly timeoutMs: number;
  /** A process for each file: costs seconds a file under emulation. */
  readonly isolate: boolean;
}

export type TierName = 'lsm' | 'kernel';

export const TIERS: Readonly<Record<TierName, Tier>> = {
  lsm: { include: ['test/lsm/**/*.test.ts'], testTimeoutMs: 60_000, timeoutMs: 600_000, isolate: false },
  kernel: { include: ['test/kernel/**/*.test.ts'], testTimeoutMs: 120_000, timeoutMs: 600_000, isolate: false },
};

export function tierOf(name: string | undefined): TierName {
  if (name === 'lsm' || name === 'kernel') return name;
  throw new Error(`BAILIFF_VM_TIER is ${name ?? 'not set'}; known: ${Object.keys(TIERS).join(', ')}`);
}
