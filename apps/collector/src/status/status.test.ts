import type { SpoofMaps } from '@bailiff/bpf';
import { MAX_REFUSED_KEYS, nodeStatus as schema } from '@bailiff/schemas';
import { describe, expect, it } from 'vitest';
import { DesiredState } from '../desired/desired-state.ts';
import { newInterface } from '../interfaces/guarded-interface.ts';
import { Registry } from '../interfaces/registry.ts';
import { nodeStatus } from './status.ts';

const maps = {
  losses: () => ({ 'ring-full': 0n, 'no-counter': 0n, 'no-iface': 0n }),
  fill: () => ({}),
} as unknown as SpoofMaps;
const status = (registry: Registry, desired = new DesiredState('n')) =>
  nodeStatus({
    nodeName: 'n',
    bootId: 'b',
    version: '1',
    startedAtMs: 0,
    hook: 'tcx',
    probes: [],
    registry,
    desired,
    runtime: {
      ...{ state: 'off' as const, reason: '', remedy: '', missingHooks: [], policies: [], policiesOmitted: 0 },
      ...{ subjects: 0, sets: 0, losses: {}, maps: [] },
    },
    cni: { state: 'off', failurePolicy: 'open', problem: '', problemAt: null, passed: 0, lastPassed: '' },
    maps,
    moment: { wallMs: 0, bootNs: 0n },
    bus: { connected: true, unackedFrames: 0, publishedFrames: 0, resentFrames: 0 },
    spoofRevision: 0,
  });
const link = (ifindex: number) => ({
  ifindex,
  name: `veth${ifindex}`,
  kind: 'veth',
  mac: '',
  linkNetnsid: 1,
  peerIfindex: 2,
});

const guarded = (n: number, slot: number) => ({
  ...newInterface({ ifindex: n, generation: n, slot, seenBase: 0, link: link(n) }, 0),
  attachError: '',
});

describe('status', () => {
  it('control - interfaces that fit are complete', () => {
    const registry = new Registry(8);
    registry.add(guarded(1, 0));
    registry.others.set(2, { name: 'eth0', coverage: 'not-applicable', reason: 'not a pod interface' });
    const result = status(registry);
    expect(result.interfaces.map((i) => i.interfaceName)).toEqual(['veth1', 'eth0']);
    expect(result).not.toHaveProperty('interfacesOmitted');
    expect(schema.parse(JSON.parse(JSON.stringify(result)))).toEqual(result);
  });

  it('any number of interfaces - fits into a message; not-covered ones first, the rest is counted', () => {
    const registry = new Registry(4_096);
    for (let n = 1; n <= 500; n += 1) registry.add(guarded(n, n));
    for (let n = 1; n <= 20_000; n += 1)
      registry.others.set(10_000 + n, { name: `dummy${n}`, coverage: 'not-applicable', reason: 'a dummy device' });
    registry.others.set(40_000, { name: 'vethx', coverage: 'not-covered', reason: 'é'.repeat(100_000) });
    const result = status(registry);
    expect(Buffer.byteLength(JSON.stringify(result))).toBeLessThan(768 * 1024);
    expect(result.interfaces[0]?.interfaceName).toBe('vethx');
    expect(result.interfaces.filter((i) => i.coverage === 'partial')).toHaveLength(500);
    const { interfacesOmitted: omitted } = result;
    expect(omitted).toMatchObject({ guarded: 0, partial: 0, 'not-covered': 0 });
    expect((omitted?.['not-applicable'] ?? 0) + result.interfaces.length).toBe(20_501);
    expect(schema.parse(JSON.parse(JSON.stringify(result)))).toEqual(result);
  });

  it('rejected keys above the limit - counted', () => {
    const desired = new DesiredState('n');
    for (let n = 0; n < MAX_REFUSED_KEYS + 5; n += 1) desired.receiveConfig(`spoof.namespace.ns${n}.default`, '{');
    const { configRefused } = status(new Registry(8), desired);
    expect(configRefused).toHaveLength(MAX_REFUSED_KEYS + 1);
    expect(configRefused.at(-1)?.reason).toBe('5 more keys were refused');
  });
});
