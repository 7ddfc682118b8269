import { describe, expect, it } from 'vitest';
import { RecordRepair } from './record-repair.ts';

/** A kernel that misses these records. */
function kernel() {
  const missing = { pods: 0, processes: 0 };
  const taken = (kind: keyof typeof missing) => {
    const count = missing[kind];
    missing[kind] = 0;
    return count;
  };
  const recorder = {
    bindPods: () => taken('pods'),
    recordTasks: () => Array.from({ length: taken('processes') }, (_, pid) => pid),
  };
  return { missing, repair: new RecordRepair(recorder) };
}

describe('record repair', () => {
  it('start - records what is older than the programs, and counts nothing', () => {
    const { missing, repair } = kernel();
    Object.assign(missing, { pods: 3, processes: 5 });
    repair.start();
    expect([repair.repaired, missing]).toEqual([
      { pods: 0, processes: 0 },
      { pods: 0, processes: 0 },
    ]);
  });

  it('repair - reports and adds up each missing record once', () => {
    const { missing, repair } = kernel();
    expect(repair.repair()).toBe('');
    missing.pods = 1;
    expect(repair.repair()).toContain('1 cgroups of pods and 0 processes');
    missing.processes = 2;
    expect(repair.repair()).toContain('0 cgroups of pods and 2 processes');
    expect(repair.repair()).toBe('');
    expect(repair.repaired).toEqual({ pods: 1, processes: 2 });
  });
});
