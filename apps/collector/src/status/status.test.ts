import type { SpoofMaps } from '@bailiff/bpf';
import { LIST_LIMITS, MAX_REFUSED_KEYS, nodeStatus as schema } from '@bailiff/schemas';
import { sampleInterfaces, samplePodIdentity, sampleRuntimeStatus } from '@bailiff/schemas/testing';
import { describe, expect, it } from 'vitest';
import { DesiredState } from '../desired/desired-state.ts';
import type { CniRecord } from '../identity/cni-record.ts';
import { type Binding, NOT_OWN_MAC, ZERO_MAC } from '../identity/identity.ts';
import { interfaceAddresses } from '../identity/normalize.ts';
import { type GuardedInterface, type KernelEntries, newInterface } from '../packets/subjects/guarded-interface.ts';
import { Registry } from '../packets/subjects/registry.ts';
import { coverageOf, nodeStatus, unjudgedCounts } from './status.ts';

const maps = {
  losses: () => ({ 'ring-full': 0n, 'no-counter': 0n, 'no-iface': 0n }),
  fill: () => ({}),
} as unknown as SpoofMaps;
const status = (
  registry: Registry,
  desired = new DesiredState('n'),
  cniRecords: readonly CniRecord[] = [],
  recent: Record<string, number> | null = null,
  redirected = false,
  unlistedPods: string[] = [],
  endedPods: ReadonlySet<string> = new Set(),
) =>
  nodeStatus({
    nodeName: 'n',
    bootId: 'b',
    version: '1',
    startedAtMs: 0,
    hook: 'tcx',
    probes: [],
    registry,
    podEnds: null,
    redirected,
    nowMs: 0,
    cniRecords,
    desired,
    runtime: sampleRuntimeStatus({ state: 'off' }),
    cni: { state: 'off', failurePolicy: 'open', problem: '', problemAt: null, passed: 0, lastPassed: '' },
    quarantinesGone: [],
    unlistedPods,
    endedPods,
    maps,
    moment: { wallMs: 0, bootNs: 0n },
    bus: { connected: true, unackedFrames: 0, publishedFrames: 0, resentFrames: 0 },
    spoofRevision: 0,
    recent,
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
  it('a list that is refused for its addresses - a pod without an interface is named all the same', () => {
    const desired = new DesiredState('n');
    const pods = ['a', 'b', 'web'].map((uid) => samplePodIdentity({ uid, interfaces: sampleInterfaces('9.9.9.9') }));
    const bound = ['a', 'b'].map(
      (podUid) => ({ source: 'cni', podUid, ifName: 'eth0', addresses: ['10.0.0.1'] }) as unknown as Binding,
    );
    const named = (bindings: Binding[]) => {
      desired.receivePods(JSON.stringify({ nodeName: 'n', revision: 1, pods }), bindings);
      return status(new Registry(8), desired).interfaces.map(({ podUid, addresses }) => [podUid, ...addresses]);
    };
    expect(named(bound)).toContainEqual(['web', '9.9.9.9']);
    expect(desired.snapshotRefused).toContain('2 of 2');
    expect(named([]), 'control: it is accepted').toContainEqual(['web', '9.9.9.9']);
  });

  it('control - interfaces that fit are complete', () => {
    const registry = new Registry(8);
    registry.add(guarded(1, 0));
    registry.others.set(2, { name: 'eth0', coverage: 'not-applicable', reason: 'not a pod interface' });
    const result = status(registry);
    expect(result.interfaces.map((i) => i.interfaceName)).toEqual(['veth1', 'eth0']);
    expect(result).not.toHaveProperty('interfacesOmitted');
    expect(schema.parse(JSON.parse(JSON.stringify(result)))).toEqual(result);
  });

  it('disarms - of the node, and of namespaces by name', () => {
    const desired = new DesiredState('n');
    expect(status(new Registry(8), desired)).toMatchObject({ disarmedUntil: null, disarmedNamespaces: [] });
    const [until, disarmedUntil] = ['1970-01-01T00:01:00Z', '1970-01-01T00:01:00.000Z'];
    desired.receiveConfig('disarm.namespace.shop.all', JSON.stringify({ until, duration: '1m' }));
    const shop = { namespace: 'shop', disarmedUntil };
    expect(status(new Registry(8), desired)).toMatchObject({ disarmedUntil: null, disarmedNamespaces: [shop] });
    desired.receiveConfig('disarm.node._.n', JSON.stringify({ until, duration: '1m' }));
    expect(status(new Registry(8), desired)).toMatchObject({ disarmedUntil, disarmedNamespaces: [shop] });
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

  it('growth of the last hour - is in the status beside the totals, per interface and per node', () => {
    const registry = new Registry(8);
    registry.add({ ...guarded(7, 0), occurrences: { 'unjudged/programmed': 5 } });
    const known = status(registry, undefined, [], { 'ring-full': 2, 'unjudged/7': 3 });
    expect(known.recentLosses).toEqual({ 'ring-full': 2 });
    expect(known.interfaces[0]).toMatchObject({ unjudgedFrames: 5, recentUnjudgedFrames: 3 });
    expect(schema.parse(JSON.parse(JSON.stringify(known)))).toEqual(known);
    const unknown = status(registry);
    expect(unknown).not.toHaveProperty('recentLosses');
    expect(unknown.interfaces[0]).not.toHaveProperty('recentUnjudgedFrames');
    expect(unjudgedCounts(registry)).toEqual({ 'unjudged/7': 5 });
  });

  it('more interfaces than fit - a guarded one with unjudged frames is never omitted', () => {
    const registry = new Registry(4_096);
    const name = 'é'.repeat(120);
    for (let n = 1; n <= 2_000; n += 1) registry.add({ ...guarded(n, n), link: { ...link(n), name: `${n}${name}` } });
    registry.add({ ...guarded(3_000, 3_000), occurrences: { 'unjudged/programmed': 5 } });
    const { interfaces, interfacesOmitted } = status(registry);
    expect(interfacesOmitted?.partial).toBeGreaterThan(100);
    expect(interfaces[0]).toMatchObject({ interfaceName: 'veth3000', unjudgedFrames: 5 });
  });

  it('a netkit pair is guarded where frames that its pod redirects past the guard are dropped', () => {
    const registry = new Registry(8);
    const mac = '0a:00:00:00:00:01';
    const binding = { mac, podUid: 'p' } as Binding;
    const kernel = { record: { mac, state: 'programmed' }, grants: [] } as unknown as KernelEntries;
    registry.add({ ...guarded(1, 0), link: { ...link(1), kind: 'netkit' }, binding, kernel });
    const coverage = (redirected: boolean) => status(registry, undefined, [], null, redirected).interfaces[0]?.coverage;
    expect([coverage(true), coverage(false)]).toEqual(['guarded', 'partial']);
  });

  it('a netkit pair in mode L3 has no MAC of its own, a veth whose MAC is contested has none either', () => {
    const of = (kind: string, mac: string): GuardedInterface => {
      const iface = { ...guarded(1, 0), link: { ...link(1), kind, mac } };
      const binding = { mac, podUid: 'p' } as Binding;
      return { ...iface, binding, kernel: { record: { mac, state: 'programmed' } } as KernelEntries };
    };
    expect(coverageOf(of('netkit', ZERO_MAC))).toEqual({ coverage: 'guarded', reason: '' });
    expect(coverageOf(of('veth', NOT_OWN_MAC))).toMatchObject({
      coverage: 'partial',
      reason: expect.stringMatching(/has its MAC/),
    });
  });

  it('clsact filters behind tcx programs of another agent - partial, with a remedy', () => {
    const iface = { ...guarded(1, 0), isBehind: true };
    expect(coverageOf(iface)).toEqual({
      coverage: 'partial',
      reason: expect.stringMatching(/tcx programs.*--hook auto/),
    });
    expect(coverageOf({ ...iface, isBehind: false }).reason, 'control').not.toMatch(/tcx/);
  });

  it.each(['enforce', 'audit'] as const)(
    'an interface that outlives its pod, %s - named with its former pod',
    (mode) => {
      const modes = { orphaned: mode } as KernelEntries['record']['modes'];
      const record = { state: 'programmed', modes, auditUntilNs: 0n } as KernelEntries['record'];
      const registry = new Registry(8);
      const binding = { podUid: 'web', mac: '02:00:00:00:00:01' } as Binding;
      const pod = { uid: 'web', namespace: 'shop', name: 'web' } as GuardedInterface['pod'];
      registry.add({ ...guarded(1, 0), binding, pod, orphaned: true, kernel: { record, grants: [], probePorts: [] } });
      const [row] = status(registry).interfaces;
      expect(row).toMatchObject({ coverage: 'partial', orphaned: true, podUid: 'web', podName: 'web' });
      expect(row?.reason).toMatch(
        mode === 'enforce' ? /sends is dropped$/ : /violates orphaned, in a mode that does not/,
      );
      expect(schema.parse(JSON.parse(JSON.stringify(status(registry)))).interfaces[0]?.orphaned).toBe(true);
    },
  );

  it('interfaces without a host side - each is listed with its reason, also of a pod with a guarded one', () => {
    const desired = new DesiredState('n');
    const pods = ['both', 'only', 'neither'].map((uid) =>
      samplePodIdentity({ uid, name: uid, interfaces: sampleInterfaces('10.0.0.2', 'fd00::2') }),
    );
    desired.receivePods(JSON.stringify({ nodeName: 'n', revision: 1, pods }), []);
    const registry = new Registry(8);
    registry.add({ ...guarded(1, 0), binding: { podUid: 'both', mac: '02:00:00:00:00:01' } as Binding });
    const record = { podNamespace: 'shop', podMac: '', addresses: ['10.9.0.2'], hostInterfaces: [] as string[] };
    const records = [
      { ...record, podUid: 'both', podName: 'both', ifName: 'net1', plugin: 'macvlan' },
      { ...record, podUid: 'only', podName: 'only', ifName: 'eth0', plugin: 'ipvlan' },
      { ...record, podUid: 'gone', podName: 'gone', ifName: 'eth0', plugin: 'ipvlan' },
      { ...record, podUid: 'neither', podName: 'neither', ifName: 'eth0', plugin: 'bridge' },
      // A pod made the configuration too long by annotations.
      { ...record, podUid: 'both', podName: 'both', ifName: 'net2', plugin: 'unknown' },
      { ...record, podUid: 'both', podName: 'both', ifName: 'net3', plugin: 'unknown', hostInterfaces: ['veth1'] },
    ] as CniRecord[];
    const entry = { podNamespace: 'shop', podName: 'both', verdictId: 'v', until: '2026-01-01T00:00:00Z', reason: 'r' };
    const list = { nodeName: 'n', revision: 1, entries: [{ ...entry, podUid: 'both' }] };
    desired.receiveQuarantine(JSON.stringify(list));
    const uncovered = status(registry, desired, records).interfaces.filter((i) => i.coverage === 'not-covered');
    // The guarded interface shows what the kernel has.
    expect(uncovered.map(({ podUid, quarantinedUntil }) => [podUid, quarantinedUntil !== null])).toEqual([
      ['both', true],
      ['both', true],
      ['only', false],
      ['neither', false],
    ]);
    expect(uncovered.map((i) => `${i.podUid}: ${i.reason.split(':')[0]}`)).toEqual([
      'both: net1 is of kind macvlan',
      'both: net2 is of kind unknown',
      'only: eth0 is of kind ipvlan',
      'neither: no interface of it was found on this node',
    ]);
  });

  it('interfaces without a host side - one with as many addresses as its record keeps leaves the status readable', () => {
    const desired = new DesiredState('n');
    const pods = ['many', 'few'].map((uid) => samplePodIdentity({ uid, name: uid }));
    desired.receivePods(JSON.stringify({ nodeName: 'n', revision: 1, pods }), []);
    const asked = (of: (i: number) => string) => Array.from({ length: 1_000 }, (_, i) => of(i));
    const many = interfaceAddresses(
      [...asked((i) => `10.9.${i >> 8}.${i & 255}`), ...asked((i) => `fd00::${i.toString(16)}`)],
      'ips',
      [],
    );
    expect(many.length, 'control').toBeGreaterThan(LIST_LIMITS.addresses.items);
    const record = { podNamespace: 'shop', podMac: '', ifName: 'net1', plugin: 'macvlan', hostInterfaces: [] };
    const records = [
      { ...record, podUid: 'many', podName: 'many', addresses: many },
      { ...record, podUid: 'few', podName: 'few', addresses: ['10.8.0.2'] },
    ] as unknown as CniRecord[];
    const read = schema.parse(JSON.parse(JSON.stringify(status(new Registry(8), desired, records))));
    expect(read.interfaces.map(({ podName, addresses }) => [podName, addresses.length])).toEqual([
      ['many', LIST_LIMITS.addresses.items],
      ['few', 1],
    ]);
  });

  it.each([
    ['its host side is gone', ['veth9'], 'partial'],
    ['beside a bridge that is there', ['cni0', 'veth9'], 'partial'],
    ['control: its host side is there, and bound to no pod', ['veth1'], 'not-covered'],
    ['control: its host side is excluded by name', ['excluded0', 'gone0'], 'not-covered'],
    ['control: its record names none', [], 'not-covered'],
  ])(
    'a pod without an interface, %s - partial only where the node no longer has the interface',
    (_name, hostInterfaces, coverage) => {
      const desired = new DesiredState('n');
      const pod = samplePodIdentity({ uid: 'web', name: 'web', interfaces: sampleInterfaces('10.0.0.2') });
      desired.receivePods(JSON.stringify({ nodeName: 'n', revision: 1, pods: [pod] }), []);
      const registry = new Registry(8);
      registry.add(guarded(1, 0));
      registry.others.set(2, { name: 'cni0', kind: 'bridge', coverage: 'not-applicable', reason: 'a bridge device' });
      registry.others.set(3, { name: 'excluded0', coverage: 'not-applicable', reason: 'excluded by name' });
      const record = { podUid: 'web', podNamespace: 'shop', podName: 'web', ifName: 'eth0', plugin: 'bridge' };
      const records = [{ ...record, hostInterfaces }] as unknown as CniRecord[];
      const row = status(registry, desired, records).interfaces.find(({ podUid }) => podUid === 'web');
      expect(row?.coverage).toBe(coverage);
      expect(row?.reason).toMatch(coverage === 'partial' ? /^its interface veth9 was removed/ : /^no interface of it/);
    },
  );

  it('a pod whose object was removed by force - once its node has nothing of it, no word; control: its processes run on', () => {
    const desired = new DesiredState('n');
    const interfaces = sampleInterfaces('10.0.0.2', 'fd00::2');
    const pods = ['gone', 'runs'].map((uid) => samplePodIdentity({ uid, name: uid, interfaces, ended: true }));
    desired.receivePods(JSON.stringify({ nodeName: 'n', revision: 1, pods }), []);
    const { interfaces: shown } = status(new Registry(8), desired, [], null, false, ['runs']);
    expect(shown.map(({ podUid, coverage }) => [podUid, coverage])).toEqual([['runs', 'not-covered']]);
  });

  it('a listed pod that has ended here - is not uncovered; control: one without an interface that runs', () => {
    const desired = new DesiredState('n');
    const interfaces = sampleInterfaces('10.0.0.2', 'fd00::2');
    const pods = ['ended', 'runs'].map((uid) => samplePodIdentity({ uid, name: uid, interfaces }));
    desired.receivePods(JSON.stringify({ nodeName: 'n', revision: 1, pods }), []);
    const { interfaces: shown } = status(new Registry(8), desired, [], null, false, [], new Set(['ended']));
    expect(shown.map(({ podUid, coverage }) => [podUid, coverage])).toEqual([['runs', 'not-covered']]);
  });

  it('rejected keys above the limit - counted', () => {
    const desired = new DesiredState('n');
    for (let n = 0; n < MAX_REFUSED_KEYS + 5; n += 1) desired.receiveConfig(`spoof.namespace.ns${n}.default`, '{');
    const { configRefused } = status(new Registry(8), desired);
    expect(configRefused).toHaveLength(MAX_REFUSED_KEYS + 1);
    expect(configRefused.at(-1)?.reason).toBe('5 more keys were refused');
  });
});
