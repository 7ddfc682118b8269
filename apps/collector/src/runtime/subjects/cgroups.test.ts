import { describe, expect, it } from 'vitest';
import { SubjectLatency } from '../kernel/apply-latency.ts';
import { memoryMaps } from '../testing.ts';
import { cgroupProblem, isContainerDir } from './cgroups.ts';

const ID = '0123456789abcdef'.repeat(4);

describe('cgroups', () => {
  it.each([
    { name: ID, is: true },
    { name: `cri-containerd-${ID}.scope`, is: true },
    { name: `crio-${ID}.scope`, is: true },
    { name: `docker-${ID}.scope`, is: true },
    { name: `crio-conmon-${ID}.scope`, is: false },
    { name: `cri-containerd-${ID}0.scope`, is: false },
    { name: `x${ID}`, is: false },
  ])('container - $name: $is', ({ name, is }) => expect(isContainerDir(name, ID)).toBe(is));

  it('container without id - no match', () => expect(isContainerDir('', '')).toBe(false));

  it('root without cgroup v2, or no root - reported', () => {
    expect(cgroupProblem('/proc')).toContain('not of cgroup v2');
    expect(cgroupProblem('')).not.toBe('');
  });

  it('creation times - old ones are removed, recent ones stay', () => {
    const { born } = memoryMaps();
    born.set(1n, 0n);
    born.set(2n, 700_000_000_000n);
    const latency = new SubjectLatency(
      born,
      () => 800_000_000_000n,
      () => undefined,
    );
    latency.removeOld();
    expect(born.entries().map(([id]) => id)).toEqual([2n]);
  });
});
