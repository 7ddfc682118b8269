import { createHash } from 'node:crypto';
import { spoofCluster } from '@bailiff/policy';
import {
  clusterSnapshot,
  decodeSnapshotValue,
  MAX_SNAPSHOT_BYTES,
  MAX_SNAPSHOT_JSON_BYTES,
  nodeSnapshot,
} from '@bailiff/schemas';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { grantRequests, MAC_ANNOTATION, NO_PERMITS, PREFIX_ANNOTATION, permitsOf } from '../pods/grants.ts';
import type { PodRecord } from '../pods/records.ts';
import { ClusterState } from './cluster-state.ts';
import { EndedPods } from './ended-pods.ts';
import { fitPods } from './fit.ts';
import { digestOf, encodeSnapshot, nextRevision, type PlanInput, planCluster, planNode } from './plan.ts';

const record = (uid: string, change: Partial<PodRecord> = {}): PodRecord => ({
  uid,
  namespace: 'shop',
  name: uid,
  nodeName: 'n1',
  labels: {},
  serviceAccount: 'default',
  owner: null,
  controllerRevision: '',
  program: '',
  addresses: [],
  hostNetwork: false,
  containers: [],
  requests: grantRequests(),
  probePorts: [],
  createdAt: '2026-11-24T10:00:00Z',
  terminating: false,
  revision: 1,
  cut: false,
  ...change,
});
const later = '2026-11-24T10:00:01Z';
const NODES = ['n1', 'n2'];
function stateWithNodes(): ClusterState {
  const state = new ClusterState();
  for (const name of NODES) state.putNode({ name, addresses: [], podCidrs: [] });
  return state;
}
const input = (state: ClusterState, change: Partial<PlanInput> = {}): PlanInput => ({
  state,
  permits: NO_PERMITS,
  ownersOf: ({ owner }) => (owner ? [owner] : []),
  selectedBy: new Set(['app']),
  ended: new EndedPods(),
  ...change,
});
const addressesOn = (state: ClusterState, node: string) =>
  Object.fromEntries(
    (planNode(node, input(state))?.pods ?? []).map((pod) => [pod.uid, pod.interfaces.flatMap((i) => i.addresses)]),
  );

describe('plan - a node', () => {
  test('plan - a pod without an address is listed at once, without an interface', () => {
    const state = stateWithNodes();
    expect([...state.putPod(record('a'))]).toEqual(['n1']);
    const snapshot = nodeSnapshot.parse({ ...planNode('n1', input(state)), revision: 1 });
    expect(snapshot.pods).toMatchObject([{ uid: 'a', interfaces: [], hostNetwork: false }]);
    expect([...state.putPod(record('a', { addresses: ['10.1.0.5'], revision: 2 }))]).toEqual(['n1']);
    expect(planNode('n1', input(state))?.pods).toMatchObject([
      { interfaces: [{ name: 'eth0', addresses: ['10.1.0.5'], mac: null }], revision: 2 },
    ]);
  });
  test('plan - a static pod is listed under the UID of its node; claims of this UID that do not run, later and earlier ones, and one of another node, are not believed', () => {
    const uid = 'a'.repeat(32);
    const runs = { containers: [{ name: 'proxy', id: 'c1' }] };
    const mirror = record('mirror', { name: 'proxy-n1', namespace: 'kube-system', staticUid: uid, ...runs });
    const claims = [
      record('claim', { staticUid: uid, createdAt: later }),
      // Of a time before the kubelet made the mirror again.
      record('early', { staticUid: uid, createdAt: '2026-11-24T09:00:00Z' }),
      record('elsewhere', { staticUid: uid, nodeName: 'n2', createdAt: '2026-11-24T09:00:00Z' }),
    ];
    for (const order of [
      [mirror, ...claims],
      [...claims, mirror],
    ]) {
      const state = stateWithNodes();
      for (const one of order) state.putPod(one);
      const listed = planNode('n1', input(state))?.pods.map((pod) => [pod.uid, pod.name]);
      expect(listed).toEqual([
        [uid, 'proxy-n1'],
        ['claim', 'claim'],
        ['early', 'early'],
      ]);
    }
    const alone = stateWithNodes();
    for (const one of claims) alone.putPod(one);
    const uidsOn = (node: string) => planNode(node, input(alone))?.pods.map((pod) => pod.uid);
    expect([uidsOn('n1'), uidsOn('n2')], 'before the kubelet made the mirror').toEqual([
      ['claim', 'early'],
      ['elsewhere'],
    ]);
    // For the kernel's maps, a UID without its dashes is the same one.
    const [own, digits] = ['0a1b2c3d-0000-4000-8000-000000000001', '0a1b2c3d000040008000000000000001'];
    alone.putPod(record(own, runs));
    alone.putPod(record('of-a-pod', { staticUid: digits }));
    expect(uidsOn('n1'), 'the UID of another pod').toEqual([own, 'claim', 'early', 'of-a-pod']);
    const without = stateWithNodes();
    without.putPod(record('plain'));
    expect(planNode('n1', input(without))?.pods.map((pod) => pod.uid)).toEqual(['plain']);
  });
  test('plan - a node without pods has an empty snapshot, a deleted one none', () => {
    const state = stateWithNodes();
    expect(planNode('n1', input(state))).toEqual({ nodeName: 'n1', pods: [] });
    state.putPod(record('a'));
    expect(planNode('n1', input(state))?.pods).toHaveLength(1);
    expect([...state.removeNode('n1')]).toEqual(['_cluster', 'n1']);
    expect(planNode('n1', input(state))).toBeNull();
    expect([...state.putNode({ name: 'n1', addresses: [], podCidrs: [] })]).toEqual(['_cluster', 'n1']);
    expect(planNode('n1', input(state))?.pods).toHaveLength(1);
  });
  test('plan - pods do not create nodes', () => {
    const state = stateWithNodes();
    state.putPod(record('a', { nodeName: 'invented' }));
    expect(planNode('invented', input(state))).toBeNull();
    expect(state.nodeNames()).toEqual(NODES);
  });
  test('plan - a pod whose program changed loses its owner', () => {
    const state = stateWithNodes();
    const owner = { kind: 'ReplicaSet', name: 'vpn-1', uid: 'rs' };
    const isUnowned = (program: string, claimed: PodRecord['owner'] = owner) => {
      state.putPod(record('a', { owner: claimed, program }));
      return planNode('n1', input(state))?.pods[0]?.unowned === true;
    };
    expect([isUnowned('template'), isUnowned('template', null), isUnowned('template')]).toEqual([false, true, false]);
    expect([isUnowned('attacker'), isUnowned('template')]).toEqual([true, true]);
    state.removePod('a');
    expect(isUnowned('template')).toBe(false);
  });
  test('plan - prefixes need request and permit', () => {
    const state = stateWithNodes();
    const requests = grantRequests({ [PREFIX_ANNOTATION]: '10.2.0.0/16,nonsense' });
    state.putPod(record('a', { requests }));
    expect(planNode('n1', input(state))?.pods[0]?.allowedPrefixes).toEqual([]);
    const permits = permitsOf(
      spoofCluster.parse({ allowedPrefixes: [{ namespace: 'shop', prefixes: ['10.0.0.0/8'] }] }),
    );
    expect(planNode('n1', input(state, { permits }))?.pods[0]?.allowedPrefixes).toEqual(['10.2.0.0/16']);
    expect([...state.nodesAsking()]).toEqual(['n1']);
    expect(state.refusedPrefixes).toBe(1);
  });
  test('plan - a pod without an object keeps a grant while it is permitted', () => {
    const state = stateWithNodes();
    const annotations = { [PREFIX_ANNOTATION]: '10.2.0.0/16', [MAC_ANNOTATION]: '52:54:00:00:00:01' };
    state.putPod(record('a', { requests: grantRequests(annotations) }));
    const permits = permitsOf(
      spoofCluster.parse({
        allowedPrefixes: [{ namespace: 'shop', prefixes: ['10.0.0.0/8'] }],
        allowedMacs: [{ namespace: 'shop', macs: ['52:54:00'] }],
      }),
    );
    const ended = new EndedPods();
    const [pod] = planNode('n1', input(state, { permits }))?.pods ?? [];
    state.removePod('a');
    ended.removed('n1', pod!, 0);
    expect(ended.nodes()).toEqual([]);
    ended.reported('n1', new Set(['a']), 0);
    expect(ended.nodes()).toEqual(['n1']);
    const grants = (change: Partial<PlanInput>) => {
      const [former] = planNode('n1', input(state, { ended, ...change }))?.pods ?? [];
      return [former?.ended, former?.allowedPrefixes, former?.allowedMacs];
    };
    const all = [true, ['10.2.0.0/16'], ['52:54:00:00:00:01']];
    expect(grants({ permits }), 'control').toEqual(all);
    expect(grants({})).toEqual([true, [], undefined]);
    expect(grants({ permits: { ...permits, macs: [] } })).toEqual([true, ['10.2.0.0/16'], undefined]);
    expect(grants({ permits }), 'permitted again').toEqual(all);
  });
  test('plan - MACs need request and permit, which may be for a confirmed workload', () => {
    const state = stateWithNodes();
    const owner = { kind: 'ReplicaSet', name: 'vm', uid: 'vm' };
    const requests = grantRequests({ [MAC_ANNOTATION]: '52:54:00:00:00:01,0a:58:00:00:00:01,52:54:00,nonsense' });
    state.putPod(record('a', { requests, owner }));
    const allowedMacs = [{ namespace: 'shop', workload: 'vm', macs: ['52:54:00'] }];
    const permits = permitsOf(spoofCluster.parse({ allowedMacs }));
    const macsOf = (change: Partial<PlanInput>) => planNode('n1', input(state, change))?.pods[0]?.allowedMacs;
    expect(macsOf({})).toBeUndefined();
    expect(macsOf({ permits })).toEqual(['52:54:00:00:00:01']);
    expect(macsOf({ permits, ownersOf: () => [] }), 'a claimed controller is no workload').toBeUndefined();
    expect([...state.nodesAsking(), state.refusedPrefixes]).toEqual(['n1', 2]);
  });
  test('plan - a pod has its confirmed owners, or an explicit none', () => {
    const owner = { kind: 'ReplicaSet', name: 'rs', uid: 'rs' };
    const above = { kind: 'Deployment', name: 'web', uid: 'web' };
    const state = stateOf(record('a', { owner }));
    expect(planNode('n1', input(state, { ownersOf: () => [] }))?.pods[0]).toMatchObject({ owners: [], unowned: true });
    const [owned] = planNode('n1', input(state, { ownersOf: () => [owner, above] }))?.pods ?? [];
    expect(owned?.owners).toEqual([owner, above]);
    expect(owned).not.toHaveProperty('unowned');
    expect([...state.nodesOwnedBy('rs')]).toEqual(['n1']);
  });
  test('plan - the cluster: nodes in order, with addresses and CIDRs', () => {
    const state = new ClusterState();
    expect([...state.putNode({ name: 'b', addresses: ['192.0.2.2'], podCidrs: [] })]).toEqual(['_cluster', 'b']);
    state.putNode({ name: 'a', addresses: ['192.0.2.1'], podCidrs: ['10.1.0.0/24'] });
    expect(clusterSnapshot.parse({ ...planCluster(state), revision: 1 }).nodes.map(({ name }) => name)).toEqual([
      'a',
      'b',
    ]);
    expect([...state.putNode({ name: 'b', addresses: ['192.0.2.2'], podCidrs: [] })]).toEqual([]);
    expect([...state.putNode({ name: 'b', addresses: ['192.0.2.3'], podCidrs: [] })]).toEqual(['_cluster']);
  });
});

describe('plan - one address, several pods', () => {
  const old = record('old', { addresses: ['10.1.0.5', 'fd00::5'] });
  test.each(['n1', 'n2'])(
    'plan - both have it while they live, on %s as well; a terminating one loses it to a younger one',
    (nodeName) => {
      const state = stateWithNodes();
      const all = () => ({ ...addressesOn(state, 'n1'), ...addressesOn(state, 'n2') });
      state.putPod(old);
      const young = record('young', { nodeName, addresses: ['10.1.0.5'], createdAt: later, revision: 7 });
      state.putPod(young);
      const both = { old: ['10.1.0.5', 'fd00::5'], young: ['10.1.0.5'] };
      expect([all(), state.contestedAddresses]).toEqual([both, 1]);
      state.putPod({ ...young, revision: 9, terminating: true });
      expect(all(), 'the younger one is terminating').toEqual(both);
      state.putPod({ ...young, revision: 10 });
      state.putPod({ ...old, revision: 98, terminating: true });
      expect(all()).toEqual({ old: ['fd00::5'], young: ['10.1.0.5'] });
      state.putPod({ ...old, revision: 99, terminating: true, labels: { late: 'yes' } });
      expect(all(), 'a late event of the older one').toEqual({ old: ['fd00::5'], young: ['10.1.0.5'] });
      expect([...state.removePod('young')].sort()).toEqual([...new Set(['n1', nodeName])]);
      expect([all(), state.contestedAddresses]).toEqual([{ old: ['10.1.0.5', 'fd00::5'] }, 0]);
    },
  );
  test('plan - within one second the first observed pod is the older', () => {
    const state = stateWithNodes();
    const terminating = true;
    state.putPod(record('z-first', { addresses: ['10.1.0.5'], revision: 3, terminating }));
    state.putPod(record('a-second', { addresses: ['10.1.0.5'], revision: 5, terminating }));
    state.putPod(record('z-first', { addresses: ['10.1.0.5'], revision: 9, terminating, labels: { late: 'yes' } }));
    expect(addressesOn(state, 'n1')).toEqual({ 'z-first': [], 'a-second': ['10.1.0.5'] });
  });
});

test('plan - any order of changes gives the plan of the final pods, and every change reports the affected snapshots', () => {
  const uid = fc.constantFrom('a', 'b', 'c', 'd', 'e');
  const change = fc.record({
    uid,
    gone: fc.boolean(),
    nodeName: fc.constantFrom(...NODES),
    addresses: fc.uniqueArray(fc.constantFrom('10.0.0.1', '10.0.0.2', '10.0.0.3'), { maxLength: 2 }),
    terminating: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 30 }), (changes) => {
      const state = stateWithNodes();
      const final = new Map<string, PodRecord>();
      const digests = (s: ClusterState) =>
        Object.fromEntries(
          NODES.map((n) => {
            const snapshot = planNode(n, input(s));
            return [n, snapshot ? digestOf(snapshot) : ''];
          }),
        );
      let written = digests(state);
      changes.forEach(({ uid: id, gone, ...rest }, index) => {
        // Node and creation time of a pod are constant.
        const born = `2026-11-24T10:00:0${id.charCodeAt(0) - 97}Z`;
        const nodeName = final.get(id)?.nodeName ?? rest.nodeName;
        const next = record(id, { ...rest, nodeName, createdAt: born, revision: index + 1 });
        const touched = gone ? state.removePod(id) : state.putPod(next);
        if (gone) final.delete(id);
        else final.set(id, next);
        const now = digests(state);
        for (const node of NODES) if (!touched.has(node)) expect(now[node]).toBe(written[node] ?? '');
        written = now;
      });
      const fresh = stateWithNodes();
      for (const pod of [...final.values()].sort((a, b) => (a.uid < b.uid ? 1 : -1))) fresh.putPod(pod);
      expect(digests(state)).toEqual(digests(fresh));
    }),
    { numRuns: 300 },
  );
});

describe('plan - what is written', () => {
  test('plan - a digest ignores only revisions', () => {
    const state = stateWithNodes();
    const digest = () => digestOf(planNode('n1', input(state))!);
    state.putPod(record('a', { labels: { revision: '1' } }));
    const first = digest();
    state.putPod(record('a', { labels: { revision: '1' }, revision: 9 }));
    expect(digest()).toBe(first);
    state.putPod(record('a', { labels: { revision: '2' }, revision: 9 }));
    expect(digest()).not.toBe(first);
  });
  test('plan - revisions grow, also after a lost bucket and a clock step backwards', () => {
    expect(nextRevision(5, 1_000)).toBe(1_000);
    expect(nextRevision(1_000, 1_000)).toBe(1_001);
    expect(nextRevision(2_000, 1_000)).toBe(2_001);
    // A foreign client stored it: the control, one more, is no integer that readers accept.
    expect(nextRevision(Number.MAX_SAFE_INTEGER, 1_000)).toBe(1_000);
    expect(Number.isSafeInteger(Number.MAX_SAFE_INTEGER + 1)).toBe(false);
  });
  test('plan - accepts a snapshot at the limit and refuses one byte more', () => {
    const around = (padding: number) => encodeSnapshot({ nodeName: 'n', pods: [], padding: 'x'.repeat(padding) }, 1);
    const overhead = around(0).value.length;
    expect(around(MAX_SNAPSHOT_JSON_BYTES - overhead).refused).toBe(false);
    expect(around(MAX_SNAPSHOT_JSON_BYTES - overhead + 1).refused).toBe(true);
    const random = (bytes: number) => encodeSnapshot({ pods: [], padding: noise(1, bytes) }, 1);
    expect(random(MAX_SNAPSHOT_BYTES / 2).refused).toBe(false);
    expect(random(MAX_SNAPSHOT_BYTES * 2).refused).toBe(true);
  });
});

/** Hexadecimal digits that hardly compress. */
function noise(seed: number, digits: number): string {
  let text = '';
  for (let i = 0; text.length < digits; i++) text += createHash('sha512').update(`${seed}/${i}`).digest('hex');
  return text.slice(0, digits);
}
const uidOf = (seed: number) =>
  noise(seed, 32).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, (_, ...parts) => parts.slice(0, 5).join('-'));

/** A pod of a large service: a sidecar, 15 labels, two families. */
function ordinary(i: number): PodRecord {
  const label = (n: number): [string, string] => [`app.kubernetes.io/label-${n}`, `value-${n}-${noise(i % 40, 12)}`];
  return record(uidOf(i), {
    name: `service-${i % 40}-${noise(i % 40, 9)}-${noise(i, 5)}`,
    labels: Object.fromEntries(Array.from({ length: 15 }, (_, n) => label(n))),
    owner: { kind: 'ReplicaSet', name: `service-${i % 40}-${noise(i % 40, 9)}`, uid: uidOf(i % 40) },
    addresses: [`10.1.${i >> 8}.${i & 255}`, `fd00:10:1::${i.toString(16)}`],
    containers: ['init', 'main', 'proxy'].map((name, n) => ({ name, id: noise(i * 3 + n, 64) })),
    probePorts: [8080, 15021].map((port) => ({ port, protocol: 'TCP' as const })),
  });
}

describe('plan - large clusters', () => {
  test('plan - 10,000 dual-stack nodes with cloud names are stored and read back', () => {
    const state = new ClusterState();
    for (let i = 0; i < 10_000; i++) {
      const [high, low] = [i >> 8, i & 255];
      state.putNode({
        name: `ip-10-${high}-${low}-${i % 250}.eu-central-1.compute.internal`,
        addresses: [`10.${high}.${low}.${i % 250}`, `2001:db8:${high.toString(16)}:${low.toString(16)}::1`],
        podCidrs: [`100.${64 + (high >> 2)}.${low}.0/24`, `fd00:${high.toString(16)}:${low.toString(16)}::/64`],
      });
    }
    const { refused, value } = encodeSnapshot(planCluster(state), 1);
    expect(refused).toBe(false);
    expect(value.length).toBeLessThan(MAX_SNAPSHOT_BYTES / 2);
    const { nodes } = clusterSnapshot.parse(JSON.parse(decodeSnapshotValue(value)));
    expect(nodes).toHaveLength(10_000);
  });

  test('plan - 500 pods with sidecars and 15 labels are stored completely', () => {
    const snapshot = planNode('n1', input(stateOf(...Array.from({ length: 500 }, (_, i) => ordinary(i)))));
    const { refused, value } = encodeSnapshot(snapshot as object, 1);
    expect(refused).toBe(false);
    expect(snapshot?.pods.some(({ cut }) => cut)).toBe(false);
    expect(value.length).toBeLessThan(MAX_SNAPSHOT_BYTES / 2);
  });

  test('plan - incompressible labels are cut only from the pods that have them', () => {
    const honest = Array.from({ length: 300 }, (_, i) => ordinary(i));
    const labels = (i: number) =>
      Object.fromEntries(Array.from({ length: 60 }, (_, n) => [noise(i * 100 + n, 63), noise(i * 100 + n + 7, 63)]));
    const hostile = Array.from({ length: 200 }, (_, i) => record(`hostile-${i}`, { labels: labels(i) }));
    const snapshot = planNode('n1', input(stateOf(...honest, ...hostile)));
    expect(encodeSnapshot(snapshot as object, 1).refused).toBe(false);
    expect(snapshot?.pods).toHaveLength(500);
    expect(snapshot?.pods.filter(({ cut }) => cut).every(({ uid }) => uid.startsWith('hostile'))).toBe(true);
  });
});

describe('plan - more pods than a list holds', () => {
  test('plan - lists the oldest pods of each namespace and counts the others', () => {
    const honest = Array.from({ length: 30 }, (_, i) => record(`honest-${i}`, { createdAt: later }));
    const hostile = Array.from({ length: 3_000 }, (_, i) => record(`hostile-${i}`, { namespace: 'tenant' }));
    const snapshot = planNode('n1', input(stateOf(...hostile, ...honest)));
    expect(snapshot).toMatchObject({ omitted: 3_030 - 2_048, pods: { length: 2_048 } });
    expect(snapshot?.pods.filter(({ namespace }) => namespace === 'shop')).toHaveLength(30);
    expect(encodeSnapshot(snapshot as object, 1).refused).toBe(false);
    expect(planNode('n1', input(stateOf(...honest)))).not.toHaveProperty('omitted');
  });
});

describe('plan - many small pods that do not compress', () => {
  const hostileName = (i: number) => noise(i, 253);
  const hostile = (i: number, change: Partial<PodRecord> = {}) =>
    record(uidOf(i), {
      namespace: 'tenant',
      name: hostileName(i),
      serviceAccount: noise(i + 9_000, 253),
      createdAt: later,
      ...change,
    });
  const honest = Array.from({ length: 60 }, (_, i) => ({ ...ordinary(i + 20_000), createdAt: `${later}.1` }));

  test('plan - the list fits, all pods of others are whole, and the omitted ones are counted', () => {
    for (const count of [541, 1_849, 5_000]) {
      const many = Array.from({ length: count }, (_, i) => hostile(i));
      const snapshot = planNode('n1', input(stateOf(...many, ...honest)));
      expect(encodeSnapshot(snapshot as object, 1).refused).toBe(false);
      const { pods, omitted, omittedFrom } = nodeSnapshot.parse({ ...snapshot, revision: 1 });
      const ofHonest = pods.filter(({ namespace }) => namespace === 'shop');
      expect([ofHonest.length, ofHonest.filter(({ cut }) => cut).length]).toEqual([60, 0]);
      const left = count + 60 - pods.length;
      expect([omitted ?? 0, omittedFrom]).toEqual([
        left,
        left === 0 ? undefined : [{ namespace: 'tenant', pods: left }],
      ]);
      // Stored lists are at least half full: nothing is omitted without need.
      if (left > 0) expect(encodeSnapshot(snapshot as object, 1).value.length).toBeGreaterThan(MAX_SNAPSHOT_BYTES / 2);
      // Control: the pods of a full list, all of them cut, do not fit.
      const all = many
        .slice(0, 2_048 - 60)
        .map(({ uid, namespace, name, serviceAccount }) => [uid, namespace, name, serviceAccount]);
      if (count > 1_800) expect(encodeSnapshot({ pods: all }, 1).value.length).toBeGreaterThan(MAX_SNAPSHOT_BYTES);
    }
  });

  test('plan - pods that the kubelet has not started hide no pod of their namespace that runs, nor an ended one', () => {
    const many = Array.from({ length: 3_000 }, (_, i) => hostile(i));
    const newest = hostile(8_000, { addresses: ['10.1.9.9'], createdAt: `${later}.9` });
    const onHost = hostile(8_001, { containers: [{ name: 'main', id: 'c1' }], createdAt: `${later}.9` });
    const ended = new EndedPods();
    const gone = planNode('n1', input(stateOf(hostile(8_002))))?.pods[0];
    ended.removed('n1', gone!, 0);
    ended.reported('n1', new Set([gone!.uid]), 0);
    const uids = planNode('n1', input(stateOf(...many, newest, onHost), { ended }))?.pods.map(({ uid }) => uid);
    expect(uids).toEqual(expect.arrayContaining([newest.uid, onHost.uid, gone!.uid]));
    // Control: without an address it is one of those that are omitted.
    const waiting = planNode('n1', input(stateOf(...many, { ...newest, addresses: [] })))?.pods;
    expect(waiting?.some(({ uid }) => uid === newest.uid)).toBe(false);
  });

  test('plan - a namespace below its part stays whole when another one is cut and omitted', () => {
    const pods =
      planNode('n1', input(stateOf(...Array.from({ length: 400 }, (_, i) => hostile(i)), ...honest)))?.pods ?? [];
    const fitted = fitPods(pods, 256 * 1024, new Set());
    expect(fitted.filter(({ namespace }) => namespace === 'tenant').length).toBeLessThan(400);
    expect(fitted.filter(({ namespace, cut }) => namespace === 'shop' && !cut)).toHaveLength(60);
  });
});

describe('plan - pods above the size limit', () => {
  test('plan - the largest pods lose labels first and their neighbours keep their addresses', () => {
    const state = stateWithNodes();
    const labels = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`label-${i}`, 'v'.repeat(63)]));
    const fat = { labels, containers: Array.from({ length: 64 }, (_, i) => ({ name: `c${i}`, id: 'd'.repeat(64) })) };
    for (let i = 0; i < 700; i++)
      state.putPod(record(`fat-${i}`, { ...fat, addresses: [`10.2.${i >> 8}.${i & 255}`] }));
    state.putPod(record('web', { addresses: ['10.1.0.5'], labels: { app: 'web' } }));
    const snapshot = planNode('n1', input(state));
    expect(encodeSnapshot(snapshot as object, 1).refused).toBe(false);
    const pods = nodeSnapshot.parse({ ...snapshot, revision: 1 }).pods;
    expect(pods).toHaveLength(701);
    expect(pods.every(({ interfaces }) => interfaces[0]?.addresses.length === 1)).toBe(true);
    expect(pods.find(({ uid }) => uid === 'web')).toMatchObject({ labels: { app: 'web' } });
    expect(pods.find(({ uid }) => uid === 'web')).not.toHaveProperty('cut');
    const bare = pods.filter(({ cut }) => cut === true);
    expect(bare.length).toBeGreaterThan(0);
    expect(bare.every((pod) => Object.keys(pod.labels).length === 0)).toBe(true);
    // Planning is deterministic; otherwise every pass would write.
    expect(planNode('n1', input(state))).toEqual(snapshot);
  });

  test('plan - pods that fit are unchanged', () => {
    const pods = planNode('n1', input(stateOf(record('a'))))?.pods ?? [];
    expect(fitPods(pods, 4_096, new Set())).toEqual(pods);
  });

  test('plan - many pods of one namespace cut no pod of another, also a larger one', () => {
    const labels = (bytes: number) => ({ note: 'x'.repeat(bytes) });
    const honest = record('honest', { labels: labels(3_000), containers: [{ name: 'main', id: 'c1' }] });
    const cutWith = (namespace: string): string[] => {
      const hostile = Array.from({ length: 20 }, (_, i) => record(`h-${i + 10}`, { namespace, labels: labels(2_900) }));
      const pods = planNode('n1', input(stateOf(honest, ...hostile)))?.pods ?? [];
      return fitPods(pods, 64 * 1024, new Set()).flatMap(({ uid, cut }) => (cut ? [uid] : []));
    };
    expect(cutWith('hostile')).toEqual(['h-29']);
    // Control: within one namespace, the largest is first.
    expect(cutWith('shop')).toEqual(['honest']);
  });
});

function stateOf(...records: PodRecord[]): ClusterState {
  const state = stateWithNodes();
  for (const one of records) state.putPod(one);
  return state;
}
