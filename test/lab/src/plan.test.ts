import { describe, expect, it } from 'vitest';
import { LabError } from './errors.ts';
import { fabricLines, nodeLines } from './net/fabric.ts';
import { DEFAULT_OPTIONS, planLab } from './plan.ts';

const plan = planLab('abc', { ...DEFAULT_OPTIONS, nodes: 3 }, '/labs');

describe('plan', () => {
  it('nodes - unique addresses, ranges and directories', () => {
    const keys = ['name', 'netns', 'address4', 'address6', 'podCidr4', 'podCidr6', 'dir', 'bpfDir', 'cgroup'] as const;
    for (const key of keys) expect(new Set(plan.nodes.map((node) => node[key])).size).toBe(3);
    expect(plan.nodes[2]).toMatchObject({
      name: 'node-2',
      netns: 'bl-abc-n2',
      podCidr4: '10.244.2.0/24',
      podCidr6: 'fd00:10:244:2::/64',
      bpfDir: '/labs/abc/nodes/node-2/bpf',
      cgroup: 'bailiff-lab-abc/node-2',
    });
  });

  it('nodes - IPv6 prefixes are hexadecimal', () => {
    const many = planLab('abc', { ...DEFAULT_OPTIONS, nodes: 17 }, '/labs');
    expect(many.nodes[16]?.podCidr6).toBe('fd00:10:244:10::/64');
    expect(many.nodes[15]?.address6).toBe('fd00:10:250::10');
  });

  it.each([
    { nodes: 0 },
    { nodes: 65 },
    { nodes: 1.5 },
    { podsPerNode: -1 },
    { podsPerNode: 251 },
    { podsPerNode: Number.NaN },
  ])('limits - %j is refused', (wrong) => {
    expect(() => planLab('abc', { ...DEFAULT_OPTIONS, ...wrong })).toThrow(LabError);
  });

  it('fabric - every node has a port, and a route to every other but not to itself', () => {
    expect(fabricLines(plan).filter((line) => line.includes('type veth'))).toHaveLength(3);
    const routes = nodeLines(plan, plan.nodes[1]!).filter((line) => line.startsWith('route'));
    expect(routes).toEqual([
      'route add 10.244.0.0/24 via 10.250.0.1 dev eth0',
      'route add fd00:10:244:0::/64 via fd00:10:250::1 dev eth0',
      'route add 10.244.2.0/24 via 10.250.0.3 dev eth0',
      'route add fd00:10:244:2::/64 via fd00:10:250::3 dev eth0',
    ]);
  });
});
