import { describe, expect, it } from 'vitest';
import { Births } from '../kernel/apply-latency.ts';
import { memoryMaps } from '../testing.ts';
import { isContainerDir, whyNoCgroups } from './cgroups.ts';

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

  it('container - one that has no id yet is none', () => expect(isContainerDir('', '')).toBe(false));

  it('a root that is not of cgroup v2, or none - says so', () => {
    expect(whyNoCgroups('/proc')).toContain('not of cgroup v2');
    expect(whyNoCgroups('')).not.toBe('');
  });

  it('births - those that nobody asked about are forgotten, a late pod is not', () => {
    const { born } = memoryMaps();
    born.set(1n, 0n);
    born.set(2n, 700_000_000_000n);
    const births = new Births(
      born,
      () => 800_000_000_000n,
      () => undefined,
    );
    births.forgetOld();
    expect(born.entries().map(([id]) => id)).toEqual([2n]);
  });
});
