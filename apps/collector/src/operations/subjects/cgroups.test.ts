import { describe, expect, it } from 'vitest';
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
});
