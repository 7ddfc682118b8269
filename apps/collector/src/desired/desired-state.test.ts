import { type PodIdentity, workloadOf } from '@bailiff/schemas';
import { describe, expect, it } from 'vitest';
import type { Binding } from '../identity/identity.ts';
import { DesiredState, podRefOf } from './desired-state.ts';

const pod = (uid: string, extra: object = {}) => ({
  uid,
  namespace: 'shop',
  name: `web-${uid}`,
  labels: {},
  serviceAccount: 'web',
  owners: [
    { kind: 'ReplicaSet', name: 'web-5c', uid: 'rs' },
    { kind: 'Deployment', name: 'web', uid: 'd' },
  ],
  interfaces: [{ name: 'eth0', addresses: ['10.0.0.2'], mac: null }],
  hostNetwork: false,
  containers: [],
  allowedPrefixes: [],
  probePorts: [],
  revision: 1,
  createdAt: '2026-01-01T00:00:00Z',
  ...extra,
});
const snapshot = (revision: number, pods: object[], nodeName = 'n1') => JSON.stringify({ nodeName, revision, pods });
const binding = (uid: string, address: string): Binding => ({
  source: 'cni',
  podUid: uid,
  podNamespace: 'shop',
  podName: 'web',
  ifName: 'eth0',
  mac: '0a:00:00:00:00:01',
  addresses: [address],
  link: { name: 'v', mac: '', linkNetnsid: 1 },
});
const moment = { wallMs: Date.parse('2026-01-01T00:00:00Z'), bootNs: 1_000_000_000n };

describe('desired state - a snapshot that shrinks', () => {
  const uids = Array.from({ length: 100 }, (_, n) => `u${n}`);
  const podsOf = (of: readonly string[]) => of.map((uid) => pod(uid));
  const here = (of: readonly string[]) => of.map((uid) => binding(uid, '10.0.0.2'));
  const full = () => {
    const state = new DesiredState('n1');
    expect(state.takePods(snapshot(1, podsOf(uids)), here(uids))).toMatchObject({ changed: true });
    return state;
  };
  it.each([0, 3, 49])('to %i of 100 pods whose interfaces are here is refused, and the last good one kept', (left) => {
    const state = full();
    const taken = state.takePods(snapshot(2, podsOf(uids.slice(0, left))), here(uids));
    expect(taken).toEqual({
      refused: `snapshot 2 lacks ${100 - left} of 100 pods whose interfaces and CNI records are still here`,
    });
    expect([state.pods.size, state.snapshotRevision, state.snapshotRefused]).toEqual([
      100,
      1,
      expect.stringContaining('lacks'),
    ]);
    expect(state.takePods(snapshot(3, podsOf(uids)), here(uids))).toMatchObject({ changed: true });
    expect(state.snapshotRefused).toBe('');
  });
  it('step by step it is the same', () => {
    const state = full();
    expect(state.takePods(snapshot(2, podsOf(uids.slice(0, 60))), here(uids))).toMatchObject({ changed: true });
    expect(state.takePods(snapshot(3, podsOf(uids.slice(0, 40))), here(uids))).toHaveProperty('refused');
  });
  it('a drain passes: with the interfaces, and when the snapshot is ahead of them as soon as they go', () => {
    expect(full().takePods(snapshot(2, []), [])).toMatchObject({ changed: true });
    const state = full();
    expect(state.takePods(snapshot(2, podsOf(['u0'])), here(uids))).toHaveProperty('refused');
    expect(state.rejudge(here(uids.slice(0, 50)))).toBeNull();
    expect(state.rejudge(here(uids.slice(0, 2)))).toMatchObject({ refused: '' });
    expect([state.pods.size, state.snapshotRefused]).toEqual([1, '']);
  });
  it('pods that no snapshot told of, and those of another kind of binding, are no ground for refusal', () => {
    expect(new DesiredState('n1').takePods(snapshot(1, []), here(uids))).toMatchObject({ changed: true });
    const read = here(uids).map((b) => ({ ...b, source: 'netns' as const }));
    expect(full().takePods(snapshot(2, []), read)).toMatchObject({ changed: true });
  });
});

describe('desired state - pods', () => {
  it('a newer snapshot is taken, an older one is not, and neither is the same news twice a problem', () => {
    const state = new DesiredState('n1');
    expect(state.takePods(snapshot(5, [pod('a')]), [])).toMatchObject({ changed: true });
    expect(state.takePods(snapshot(4, []), [])).toEqual({ changed: false });
    expect([...state.pods.keys()]).toEqual(['a']);
  });
  it.each([
    ['another node’s', snapshot(9, [], 'n2'), /of node n2/],
    ['not JSON', '{', /not JSON/],
    ['a pod without uid', snapshot(9, [pod('')]), /^pods\.0\.uid/],
    [
      'contradicts the node on most interfaces',
      snapshot(9, [
        pod('a', { interfaces: [{ name: 'eth0', addresses: ['9.9.9.9'], mac: null }] }),
        pod('b', { interfaces: [{ name: 'eth0', addresses: ['9.9.9.8'], mac: null }] }),
      ]),
      /disagrees/,
    ],
  ])('refused, and the last good one kept - %s', (_name, json, reason) => {
    const state = new DesiredState('n1');
    state.takePods(snapshot(5, [pod('a')]), []);
    expect(state.takePods(json, [binding('a', '10.0.0.2'), binding('b', '10.0.0.3')])).toEqual({
      refused: expect.stringMatching(reason),
    });
    expect([...state.pods.keys()]).toEqual(['a']);
    expect(state.snapshotRefused).toMatch(reason);
    state.takePods(snapshot(10, [pod('a')]), []);
    expect(state.snapshotRefused).toBe('');
  });
});

describe('desired state - what an earlier process knew, and bad values', () => {
  it('a restored snapshot is in force, and the first one from the bus replaces it whatever its revision', () => {
    const state = new DesiredState('n1');
    state.takePods(snapshot(9, [pod('a')]), []);
    state.restored();
    expect(state.takePods(snapshot(1, [pod('b')]), [])).toMatchObject({ changed: true });
    expect([...state.pods.keys()]).toEqual(['b']);
    expect(state.takePods(snapshot(0, []), [])).toEqual({ changed: false });
  });
  it('nothing is known until it was said', () => {
    const state = new DesiredState('n1');
    expect([...state.known]).toEqual([]);
    state.takeConfig('spoof.namespace.shop.default', '{}');
    state.restored();
    expect([...state.known]).toEqual(['spoof']);
    state.synced('disarm');
    state.takeCluster(JSON.stringify({ revision: 1, nodes: [] }));
    expect([...state.known].sort()).toEqual(['cluster', 'disarm', 'spoof']);
  });
  it('one bad value costs itself, not the snapshot', () => {
    const state = new DesiredState('n1');
    const bad = pod('a', {
      allowedPrefixes: ['garbage', '10.9.1.0/16'],
      interfaces: [{ name: 'eth0', addresses: ['10.0.0.2', 'x'], mac: null }],
      probePorts: [
        { port: 70_000, protocol: 'TCP' },
        { port: 80, protocol: 'TCP' },
      ],
    });
    const taken = state.takePods(snapshot(1, [bad, pod('b')]), []);
    expect(taken).toEqual({ changed: true, dropped: expect.arrayContaining([expect.stringContaining('"garbage"')]) });
    expect(state.pods.get('a')).toMatchObject({
      allowedPrefixes: ['10.9.0.0/16'],
      interfaces: [{ addresses: ['10.0.0.2'] }],
      probePorts: [{ port: 80 }],
    });
    expect(state.pods.has('b')).toBe(true);
    const nodes = [{ name: 'n1', addresses: ['192.168.0.1', '?'], podCidrs: [] }];
    expect(state.takeCluster(JSON.stringify({ revision: 1, nodes }))).toMatchObject({ dropped: [expect.any(String)] });
    expect(state.cluster.nodes[0]?.addresses).toEqual(['192.168.0.1']);
  });
  it('a wrong feed that came before the pods is withdrawn as they are bound, and taken when enough bear it out', () => {
    const state = new DesiredState('n1');
    const wrong = [1, 2].map((n) =>
      pod(`w${n}`, { interfaces: [{ name: 'eth0', addresses: [`9.9.9.${n}`], mac: null }] }),
    );
    const right = ['a', 'b', 'c'].map((uid, n) =>
      pod(uid, { interfaces: [{ name: 'eth0', addresses: [`10.0.1.${n}`], mac: null }] }),
    );
    const json = snapshot(7, [...wrong, ...right]);
    expect(state.takePods(json, [])).toMatchObject({ changed: true });
    expect(state.rejudge([binding('w1', '10.0.0.1')])).toBeNull();
    const two = [binding('w1', '10.0.0.1'), binding('w2', '10.0.0.2')];
    expect(state.rejudge(two)).toEqual({ inForce: null, refused: expect.stringContaining('2 of 2') });
    expect([state.pods.size, state.snapshotRefused]).toEqual([0, expect.stringContaining('2 of 2')]);
    expect(state.rejudge(two)).toBeNull();
    const five = [...two, ...['a', 'b', 'c'].map((uid, n) => binding(uid, `10.0.1.${n}`))];
    expect(state.rejudge(five)).toEqual({ inForce: json, refused: '' });
    expect([state.pods.size, state.snapshotRefused]).toEqual([5, '']);
  });
  it('modes follow the binding’s namespace while the bus has not told of the pod', () => {
    const state = new DesiredState('n1');
    state.takeConfig('spoof.namespace.shop.default', JSON.stringify({ modes: { tunnel: 'audit' } }));
    expect([state.modesOf(null, 'shop').tunnel, state.modesOf(null, 'bank').tunnel]).toEqual(['audit', 'enforce']);
  });
});

describe('desired state - configuration', () => {
  it('workload over namespace over cluster; deleting one lets the wider hold again', () => {
    const state = new DesiredState('n1');
    state.takePods(snapshot(1, [pod('a')]), []);
    state.takeConfig('spoof.cluster._.default', JSON.stringify({ modes: { tunnel: 'off' } }));
    state.takeConfig('spoof.namespace.shop.default', JSON.stringify({ modes: { tunnel: 'audit' } }));
    state.takeConfig('spoof.workload.shop.web', JSON.stringify({ modes: { tunnel: 'enforce' } }));
    const shop = state.pods.get('a') ?? null;
    expect(state.modesOf(shop).tunnel).toBe('enforce');
    state.takeConfig('spoof.workload.shop.web', null);
    expect(state.modesOf(shop).tunnel).toBe('audit');
    expect(state.modesOf(null).tunnel).toBe('off');
  });
  it('a bad value is refused with its field, the last good one stays, and a good one clears the report', () => {
    const state = new DesiredState('n1');
    state.takeConfig('spoof.cluster._.default', JSON.stringify({ modes: { tunnel: 'off' } }));
    expect(state.takeConfig('spoof.cluster._.default', JSON.stringify({ modes: { tunel: 'off' } }))).toEqual({
      refused: expect.stringContaining('modes'),
    });
    expect(state.modesOf(null).tunnel).toBe('off');
    expect([...state.configRefused.keys()]).toEqual(['spoof.cluster._.default']);
    state.takeConfig('spoof.cluster._.default', '{}');
    expect([...state.configRefused.keys()]).toEqual([]);
  });
  it('a break-glass covers its namespace and no other', () => {
    const state = new DesiredState('n1');
    state.takeConfig('disarm.namespace.shop.all', JSON.stringify({ until: '2026-01-01T00:01:00Z', duration: '1m' }));
    expect(state.auditUntilNs('shop', moment)).toBe(61_000_000_000n);
    expect(state.auditUntilNs('bank', moment)).toBe(0n);
    expect(state.disarmedUntil(moment)).toBeNull();
    state.takeConfig('disarm.node._.n1', JSON.stringify({ until: '2026-01-01T00:01:00Z', duration: '1m' }));
    expect(state.disarmedUntil(moment)).toBe('2026-01-01T00:01:00.000Z');
  });
});

describe('desired state - a store that was made anew', () => {
  it('documents count their revisions anew once it is told so; what is in force stays until then', () => {
    const state = new DesiredState('n1');
    const entry = { podUid: 'a', podNamespace: 's', podName: 'a', verdictId: 'v', until: '', reason: '' };
    const list = (revision: number, entries: object[]) => JSON.stringify({ nodeName: 'n1', revision, entries });
    const pods = (revision: number) => JSON.stringify({ nodeName: 'n1', revision, pods: [] });
    const cluster = (revision: number) => JSON.stringify({ revision, nodes: [] });
    state.takeQuarantine(list(7, [entry]));
    state.takePods(pods(7), []);
    state.takeCluster(cluster(7));
    const takeOlder = () => [
      state.takeQuarantine(list(1, [])),
      state.takePods(pods(1), []),
      state.takeCluster(cluster(1)),
    ];
    expect(takeOlder()).toEqual([{ changed: false }, { changed: false }, { changed: false }]);
    for (const part of ['quarantine', 'pods', 'cluster'] as const) state.forgetRevision(part);
    expect([...state.quarantined.keys()]).toEqual(['a']);
    for (const taken of takeOlder()) expect(taken).toMatchObject({ changed: true });
    expect(state.quarantined.size).toBe(0);
  });
});

describe('desired state - quarantine and attribution', () => {
  it('holds for the listed pods until their time', () => {
    const state = new DesiredState('n1');
    const entry = {
      podUid: 'a',
      podNamespace: 'shop',
      podName: 'web',
      verdictId: 'v',
      until: '2026-01-01T00:00:10Z',
      reason: '',
    };
    state.takeQuarantine(JSON.stringify({ nodeName: 'n1', revision: 1, entries: [entry] }));
    expect(state.quarantineUntilNs('a', moment)).toBe(11_000_000_000n);
    expect(state.quarantineUntilNs('b', moment)).toBe(0n);
    state.takeQuarantine(JSON.stringify({ nodeName: 'n1', revision: 2, entries: [] }));
    expect(state.quarantineUntilNs('a', moment)).toBe(0n);
  });
  it('another node’s list is refused', () => {
    expect(new DesiredState('n1').takeQuarantine(JSON.stringify({ nodeName: 'n2', revision: 1, entries: [] }))).toEqual(
      { refused: expect.stringContaining('n2') },
    );
  });
  it('a violation is attributed to the top of the owner chain; without the bus, to what the record says', () => {
    const state = new DesiredState('n1');
    state.takePods(snapshot(1, [pod('a')]), []);
    const known = state.pods.get('a');
    expect(known && workloadOf(known)).toBe('web');
    expect(podRefOf(binding('a', '10.0.0.2'), known ?? null)).toMatchObject({
      name: 'web-a',
      ownerKind: 'Deployment',
      ownerUid: 'd',
      serviceAccount: 'web',
    });
    expect(podRefOf(binding('a', '10.0.0.2'), null)).toMatchObject({
      uid: 'a',
      namespace: 'shop',
      name: 'web',
      ownerKind: '',
    });
  });

  it('a pod that no controller is confirmed to have made has the modes of its namespace, whatever its name', () => {
    const state = new DesiredState('n1');
    const take = (scope: string, value: object) => state.takeConfig(`spoof.${scope}`, JSON.stringify(value));
    take('namespace.shop.default', { modes: { 'ipv4-source': 'audit' } });
    take('workload.shop.vpn', { modes: { 'ipv4-source': 'off' } });
    const owners = [{ kind: 'Deployment', name: 'vpn', uid: 'd' }];
    const mode = (change: Partial<PodIdentity>) =>
      state.modesOf(pod('u', { namespace: 'shop', ...change }))['ipv4-source'];
    expect(mode({ owners })).toBe('off');
    expect(mode({ owners, unowned: true })).toBe('audit');
    expect(mode({ name: 'vpn', owners: [], unowned: true })).toBe('audit');
  });

  it("sampling - a namespace or workload that says something has its own, what it leaves out is the wider one; others have the node's", () => {
    const state = new DesiredState('n1');
    const take = (key: string, value: object) => state.takeConfig(key, JSON.stringify(value));
    take('spoof.cluster._.default', { sampling: { burst: 3, perSecond: 4 } });
    const of = (workload: string, namespace = 'shop') =>
      state.samplingOf(pod('u', { namespace, owners: [{ kind: 'Deployment', name: workload, uid: 'd' }] }));
    expect(of('web')).toBeNull();
    take('spoof.namespace.shop.default', { sampling: { perSecond: 50 } });
    take('spoof.workload.shop.web', { sampling: { burst: 100 } });
    expect(of('cart')).toEqual({ burst: 3, perSecond: 50 });
    expect(of('web')).toEqual({ burst: 100, perSecond: 50 });
    expect(state.samplingOf(null, 'shop')).toEqual({ burst: 3, perSecond: 50 });
    expect(of('web', 'bank')).toBeNull();
  });

  it.each([
    ['spoof.cluster._.other', '{}'],
    ['spoof.namespace.shop.other', '{}'],
    ['disarm.cluster._.other', JSON.stringify({ until: '2026-01-01T00:00:00Z', reason: 'r', by: 'b' })],
  ])('%s - a name that nobody reads at its scope is refused, not silently in force', (key, json) => {
    const state = new DesiredState('n1');
    const before = state.clusterConfig;
    expect(state.takeConfig(key, json)).toMatchObject({ refused: expect.stringContaining('is read by nobody') });
    expect(state.configRefused.get(key)).toContain('is read by nobody');
    expect([state.configKeys('spoof'), state.clusterConfig === before]).toEqual([[], true]);
    expect(state.takeConfig('spoof.cluster._.default', '{"unknown":"enforce"}')).toEqual({ changed: true });
  });
});
