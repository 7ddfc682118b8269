import { describe, expect, it } from 'vitest';
import { attackReport } from '../command/report.ts';
import type { LabPodInfo } from '../state/state.ts';
import { chooseTargets, resolvePod } from './manual-attack.ts';
import { forgedFrame, MANUAL_VECTORS, type Scene, tailOf } from './manual-frames.ts';

const pod = (name: string, node: string): LabPodInfo => ({
  namespace: 'default',
  name,
  uid: `uid-${name}`,
  node,
  netns: `ns-${name}`,
  ips: [],
  mac: '',
  hostInterface: '',
});
const pods = [pod('web-a-x1', 'node-0'), pod('web-b-x1', 'node-1'), pod('web-c-x2', 'node-1')];
const scene: Scene = {
  mac: '02:00:00:00:00:02',
  toMac: '02:00:00:00:00:03',
  linkLocal: 'fe80::2',
  claimed: 'web-c',
  ip4: '10.0.0.2',
  victim4: '10.0.0.3',
  claimed4: '10.0.0.4',
  gateway4: '10.0.0.1',
  ip6: 'fd00::2',
  victim6: 'fd00::3',
  claimed6: 'fd00::4',
  gateway6: 'fd00::1',
};

describe('attack by hand', () => {
  it('pod - by name, namespace and name, UID, or an unambiguous end of the name', () => {
    for (const text of ['web-c-x2', 'default/web-c-x2', 'uid-web-c-x2', 'x2'])
      expect(resolvePod(pods, text).name).toBe('web-c-x2');
    expect(() => resolvePod(pods, 'x1')).toThrow(expect.objectContaining({ code: 'LAB_AMBIGUOUS', exitCode: 2 }));
    expect(() => resolvePod(pods, 'nope')).toThrow(/no pod "nope".*default\/web-a-x1/);
  });

  it('cast - prefers pods of the same node; a single pod cannot attack', () => {
    const cast = chooseTargets(pods, pods[1]!);
    expect([cast.victim.name, cast.claimed?.name]).toEqual(['web-c-x2', 'web-a-x1']);
    expect(chooseTargets(pods.slice(0, 2), pods[0]!).claimed).toBeNull();
    expect(() => chooseTargets(pods.slice(0, 1), pods[0]!)).toThrow(/second pod/);
  });

  it.each(MANUAL_VECTORS)('%s - its own frame, with a description of the claim', (vector) => {
    const { frame, description } = forgedFrame(vector, scene, Buffer.alloc(32, 1));
    expect(frame.subarray(0, 6).toString('hex')).toBe('020000000003');
    expect(frame.subarray(6, 12).toString('hex') === '020000000002').toBe(vector !== 'source-mac');
    expect(description).not.toBe('');
    expect(tailOf(frame).length).toBeLessThanOrEqual(32);
  });

  it('report - what was sent, what landed, where to look', () => {
    const outcome = {
      attacker: pods[0]!,
      victim: pods[1]!,
      vectors: ['arp-sender'] as const,
      descriptions: ['ARP'],
      sent: 1,
      landed: 0,
      cutOff: false,
    };
    const text = attackReport(outcome);
    expect(text).toMatch(/^default\/web-a-x1 on node-0 forged 1 packet\ntowards default\/web-b-x1; 0 landed there\.\n/);
    expect(text).toMatch(/arp-sender {2}ARP\n[\s\S]*bailiff explain default\/web-a-x1/);
    expect(attackReport({ ...outcome, cutOff: true })).toMatch(/The pod was stopped before/);
  });
});
