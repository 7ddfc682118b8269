import type { CniStatus, NodeStatus } from '@bailiff/schemas';
import { describe, expect, it } from 'vitest';
import { readingsOf } from './readings.ts';

const CNI: CniStatus = {
  state: 'installed',
  failurePolicy: 'open',
  problem: '',
  problemAt: null,
  passed: 0,
  lastPassed: '',
};
/** The readings of a node without interfaces. */
const readingsWith = (cni?: CniStatus) => {
  const empty = { interfaces: [], features: [], configRefused: [], maps: [], snapshotRefused: '', disarmedUntil: null };
  const status = { ...empty, bus: { unackedFrames: 0 }, ...(cni ? { cni } : {}) } as unknown as NodeStatus;
  const totals = { all: () => [].values(), suppressed: { spoof: 0, lsm: 0 } };
  return readingsOf(status, { states: {}, losses: {}, repaired: {}, totals: totals as never });
};
const currentOf = (cni?: CniStatus) =>
  Object.entries(readingsWith(cni).cniState).flatMap(([state, value]) => (value === 1 ? [state] : []));

describe('readings - CNI plugin', () => {
  it.each<[string, CniStatus | undefined, string[]]>([
    ['installed and served', CNI, ['installed']],
    ['not installed', { ...CNI, state: 'not-installed' }, ['not-installed']],
    ['not served', { ...CNI, state: 'not-served' }, ['not-served']],
    ['off, and still there', { ...CNI, state: 'off', problem: 'still installed' }, ['left-behind']],
    ['off', { ...CNI, state: 'off' }, []],
    ['not reported', undefined, []],
  ])('%s', (_, cni, states) => {
    expect(currentOf(cni)).toEqual(states);
    expect(Object.keys(readingsWith(cni).cniState)).toHaveLength(4);
  });

  it('the newest pod without a guard - in seconds; 0 without one', () => {
    const passed = { ...CNI, passed: 2, passedAt: '2026-01-01T00:00:00.500Z' };
    expect(readingsWith(passed).cniPassedAtSeconds).toBe(Date.UTC(2026, 0, 1) / 1000 + 0.5);
    expect(readingsWith(CNI).cniPassedAtSeconds).toBe(0);
  });
});
