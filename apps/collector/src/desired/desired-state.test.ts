import { MAX_REVISION, TUNABLE_VECTORS } from '@bailiff/policy';
import { type PodIdentity, workloadOf } from '@bailiff/schemas';
import { sampleInterfaces, samplePodIdentity } from '@bailiff/schemas/testing';
import { describe, expect, it } from 'vitest';
import type { Binding } from '../identity/identity.ts';
import { fitDisarms } from '../status/status-limits.ts';
import { DesiredState, podRefOf } from './desired-state.ts';

const pod = (uid: string, extra: object = {}) =>
  samplePodIdentity({
    uid,
    name: `web-${uid}`,
    labels: {},
    owners: [
      { kind: 'ReplicaSet', name: 'web-5c', uid: 'rs' },
      { kind: 'Deployment', name: 'web', uid: 'd' },
    ],
    interfaces: sampleInterfaces('10.0.0.2'),
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

describe('desired state - shrinking snapshot', () => {
  const uids = Array.from({ length: 100 }, (_, n) => `u${n}`);
  const podsOf = (of: readonly string[]) => of.map((uid) => pod(uid));
  const here = (of: readonly string[]) => of.map((uid) => binding(uid, '10.0.0.2'));
  const full = () => {
    const state = new DesiredState('n1');
    expect(state.receivePods(snapshot(1, podsOf(uids)), here(uids))).toMatchObject({ changed: true });
    return state;
  };
  it.each([0, 3, 49])('to %i of 100 pods whose interfaces exist - rejected; the last good one stays', (left) => {
    const state = full();
    const result = state.receivePods(snapshot(2, podsOf(uids.slice(0, left))), here(uids));
    expect(result).toEqual({
      changed: true,
      refused: `snapshot 2 lacks ${100 - left} of 100 pods whose interfaces and CNI records are still here`,
    });
    expect([state.pods.size, state.snapshotRevision, state.snapshotRefused]).toEqual([
      100,
      1,
      expect.stringContaining('lacks'),
    ]);
    expect(state.receivePods(snapshot(3, podsOf(uids)), here(uids))).toMatchObject({ changed: true });
    expect(state.snapshotRefused).toBe('');
  });
  it('without the pods of one namespace, whose containers run on - accepted, unless most namespaces lack theirs', () => {
    const tenant = uids.slice(0, 60);
    const shop = uids.slice(60);
    const bindings = [
      ...here(tenant).map((one) => ({ ...one, podNamespace: 'tenant' })),
      ...here(shop),
      ...here(['new']).map((one) => ({ ...one, podNamespace: 'billing' })),
    ];
    const before = () => {
      const state = new DesiredState('n1');
      state.receivePods(snapshot(1, podsOf(uids)), bindings);
      return state;
    };
    const deleted = before();
    expect(deleted.receivePods(snapshot(2, podsOf([...shop, 'new'])), bindings)).toMatchObject({ changed: true });
    expect(deleted.pods.has('new')).toBe(true);
    expect(before().receivePods(snapshot(2, podsOf(uids.slice(90))), bindings), 'control').toHaveProperty('refused');
  });
  it('without the pods of the only namespace - removes none of them, and its other pods are in force', () => {
    const state = full();
    const dropped = podsOf(['a', 'b']);
    const [known = ''] = uids;
    const named = () => ['a', 'b', known].map((uid) => [state.pods.has(uid), state.isInNewestList(uid)]);
    const bindings = here([...uids, 'a', 'b']);
    expect(state.receivePods(snapshot(2, podsOf(['a'])), bindings)).toMatchObject({
      changed: true,
      refused: expect.stringContaining('lacks 100 of 100'),
    });
    expect(named()).toEqual([
      [true, true],
      [false, false],
      [true, false],
    ]);
    state.receivePods(snapshot(3, [dropped[1] as object]), bindings);
    expect(named(), 'the next one').toEqual([
      [false, false],
      [true, true],
      [true, false],
    ]);
    expect([state.pods.size, state.snapshotRevision, state.listSays('b')]).toEqual([101, 1, 'unknown']);
    const ended = podsOf(uids).map((one) => ({ ...one, ended: true }));
    expect(state.receivePods(snapshot(4, [...ended, ...dropped]), bindings)).toMatchObject({ changed: true });
    expect([state.pods.size, state.snapshotRefused, state.isInNewestList(known)]).toEqual([102, '', false]);
  });
  it('what the list says of a pod - only a complete one of this process, that is in force, says anything', () => {
    const state = new DesiredState('n1');
    const says = () => [state.listSays('u0'), state.listSays('u1')];
    expect(says(), 'none').toEqual(['unknown', 'unknown']);
    state.receivePods(snapshot(1, podsOf(['u0'])), []);
    expect(says()).toEqual(['present', 'absent']);
    state.markRestored();
    expect(says(), 'from disk').toEqual(['unknown', 'unknown']);
    state.receivePods(JSON.stringify({ nodeName: 'n1', revision: 2, pods: podsOf(['u0']), omitted: 1 }), []);
    expect(says(), 'not complete').toEqual(['unknown', 'unknown']);
    state.receivePods(snapshot(3, podsOf(['u1'])), []);
    expect(says()).toEqual(['absent', 'present']);
    const ended = podsOf(['u1']).map((pod) => ({ ...pod, ended: true }));
    state.receivePods(snapshot(4, ended), []);
    expect(says(), 'the API server no longer has it').toEqual(['absent', 'absent']);
    state.receivePods(snapshot(5, podsOf(['u1']), 'n2'), []);
    expect(says(), 'the newest was rejected').toEqual(['unknown', 'unknown']);
  });
  it('step by step - rejected too', () => {
    const state = full();
    expect(state.receivePods(snapshot(2, podsOf(uids.slice(0, 60))), here(uids))).toMatchObject({ changed: true });
    expect(state.receivePods(snapshot(3, podsOf(uids.slice(0, 40))), here(uids))).toHaveProperty('refused');
  });
  it('drain - accepted with the interfaces, or as soon as they disappear', () => {
    expect(full().receivePods(snapshot(2, []), [])).toMatchObject({ changed: true });
    const state = full();
    expect(state.receivePods(snapshot(2, podsOf(['u0'])), here(uids))).toHaveProperty('refused');
    expect(state.recheck(here(uids.slice(0, 50)))).toBeNull();
    expect(state.recheck(here(uids.slice(0, 2)))).toMatchObject({ refused: '' });
    expect([state.pods.size, state.snapshotRefused]).toEqual([1, '']);
  });
  it('unlisted pods and bindings by namespace - no reason to reject', () => {
    expect(new DesiredState('n1').receivePods(snapshot(1, []), here(uids))).toMatchObject({ changed: true });
    const read = here(uids).map((b) => ({ ...b, source: 'netns' as const }));
    expect(full().receivePods(snapshot(2, []), read)).toMatchObject({ changed: true });
  });
});

describe('desired state - pods', () => {
  it.each([
    ['of another node', snapshot(9, [], 'n2'), /of node n2/],
    ['not JSON', '{', /not JSON/],
    ['a pod without uid', snapshot(9, [pod('')]), /^pods\.0\.uid/],
  ])('rejected, the last good one stays - %s', (_name, json, reason) => {
    const state = new DesiredState('n1');
    state.receivePods(snapshot(5, [pod('a')]), []);
    expect(state.receivePods(json, [binding('a', '10.0.0.2'), binding('b', '10.0.0.3')])).toEqual({
      refused: expect.stringMatching(reason),
    });
    expect([...state.pods.keys()]).toEqual(['a']);
    expect(state.snapshotRefused).toMatch(reason);
    state.receivePods(snapshot(10, [pod('a')]), []);
    expect(state.snapshotRefused).toBe('');
  });
});

describe('desired state - restored documents and bad values', () => {
  it('restored snapshot - in force until the first one from the bus', () => {
    const state = new DesiredState('n1');
    state.receivePods(snapshot(9, [pod('a')]), []);
    state.markRestored();
    expect([...state.pods.keys()]).toEqual(['a']);
    expect(state.receivePods(snapshot(1, [pod('b')]), [])).toMatchObject({ changed: true });
    expect([...state.pods.keys()]).toEqual(['b']);
  });
  it('known parts - only received ones', () => {
    const state = new DesiredState('n1');
    expect([...state.known]).toEqual([]);
    state.receiveConfig('spoof.namespace.shop.default', '{}');
    state.markRestored();
    expect([...state.known]).toEqual(['spoof']);
    state.markSynced('disarm');
    state.receiveCluster(JSON.stringify({ revision: 1, nodes: [] }));
    expect([...state.known].sort()).toEqual(['cluster', 'disarm', 'spoof']);
  });
  it('bad value - dropped; the snapshot stays', () => {
    const state = new DesiredState('n1');
    const bad = pod('a', {
      allowedPrefixes: ['garbage', '10.9.1.0/16'],
      interfaces: sampleInterfaces('10.0.0.2', 'x'),
      probePorts: [
        { port: 70_000, protocol: 'TCP' },
        { port: 80, protocol: 'TCP' },
      ],
    });
    const result = state.receivePods(snapshot(1, [bad, pod('b')]), []);
    expect(result).toEqual({ changed: true, dropped: expect.arrayContaining([expect.stringContaining('"garbage"')]) });
    expect(state.pods.get('a')).toMatchObject({
      allowedPrefixes: ['10.9.0.0/16'],
      interfaces: [{ addresses: ['10.0.0.2'] }],
      probePorts: [{ port: 80 }],
    });
    expect(state.pods.has('b')).toBe(true);
    const nodes = [{ name: 'n1', addresses: ['192.168.0.1', '?'], podCidrs: [] }];
    expect(state.receiveCluster(JSON.stringify({ revision: 1, nodes }))).toMatchObject({
      dropped: [expect.any(String)],
    });
    expect(state.cluster.nodes[0]?.addresses).toEqual(['192.168.0.1']);
  });
  it('a snapshot with wrong addresses - has those of the last good one, and all else in it is in force', () => {
    const at = (uid: string, address: string, more: object = {}) =>
      pod(uid, { interfaces: sampleInterfaces(address), ...more });
    const all = ['a', 'b'].map((uid, n) => binding(uid, `10.0.0.${n + 2}`));
    const state = new DesiredState('n1');
    const wrong = [at('a', '9.9.9.9', { labels: { app: 'db' } }), at('b', '9.9.9.8'), at('c', '9.9.9.7')];
    expect(state.receivePods(snapshot(4, wrong), all)).toMatchObject({ refused: expect.any(String), changed: true });
    expect(
      [...state.pods.keys()].map((uid) => [uid, ...state.addressesOf(uid)]),
      'none before',
    ).toEqual([['a'], ['b'], ['c']]);
    expect(state.pods.get('a')?.labels).toEqual({ app: 'db' });
    state.receivePods(snapshot(5, [at('a', '10.0.0.2'), at('b', '10.0.0.3'), at('d', '10.0.0.5')]), all);
    const refused = { refused: expect.stringContaining('disagrees'), changed: true };
    expect(state.receivePods(snapshot(6, wrong), all)).toEqual(refused);
    expect([state.snapshotRefused, state.snapshotRevision]).toEqual([refused.refused, 5]);
    const addresses = ['a', 'b', 'c', 'd'].map((uid) => [state.addressesOf(uid), state.newestAddressesOf(uid)].join());
    expect(addresses).toEqual(['10.0.0.2,9.9.9.9', '10.0.0.3,9.9.9.8', ',9.9.9.7', '10.0.0.5,']);
    expect(state.pods.get('a')?.labels).toEqual({ app: 'db' });
    expect(state.listSays('a')).toBe('unknown');
  });
  it('wrong snapshot before the pods - its addresses are withdrawn as they are bound, and in force when enough bindings confirm them', () => {
    const state = new DesiredState('n1');
    const wrong = [1, 2].map((n) => pod(`w${n}`, { interfaces: sampleInterfaces(`9.9.9.${n}`) }));
    const right = ['a', 'b', 'c'].map((uid, n) => pod(uid, { interfaces: sampleInterfaces(`10.0.1.${n}`) }));
    const json = snapshot(7, [...wrong, ...right]);
    expect(state.receivePods(json, [])).toMatchObject({ changed: true });
    expect(state.recheck([binding('w1', '10.0.0.1')])).toBeNull();
    const two = [binding('w1', '10.0.0.1'), binding('w2', '10.0.0.2')];
    expect(state.recheck(two)).toEqual({ inForce: null, refused: expect.stringContaining('2 of 2') });
    const addresses = () => [...state.pods.keys()].map((uid) => state.addressesOf(uid).join());
    expect([addresses(), state.snapshotRefused]).toEqual([['', '', '', '', ''], expect.stringContaining('2 of 2')]);
    expect(state.recheck(two)).toBeNull();
    const five = [...two, ...['a', 'b', 'c'].map((uid, n) => binding(uid, `10.0.1.${n}`))];
    expect(state.recheck(five)).toEqual({ inForce: json, refused: '' });
    expect([addresses(), state.snapshotRefused]).toEqual([
      ['9.9.9.1', '9.9.9.2', '10.0.1.0', '10.0.1.1', '10.0.1.2'],
      '',
    ]);
  });
  it('modes - follow the namespace of the binding while the bus does not list the pod', () => {
    const state = new DesiredState('n1');
    state.receiveConfig('spoof.namespace.shop.default', JSON.stringify({ modes: { tunnel: 'audit' } }));
    expect([state.modesOf(null, 'shop').tunnel, state.modesOf(null, 'bank').tunnel]).toEqual(['audit', 'enforce']);
  });
});

describe('desired state - configuration', () => {
  it('scopes - workload over namespace over cluster; a deleted one restores the wider', () => {
    const state = new DesiredState('n1');
    state.receivePods(snapshot(1, [pod('a')]), []);
    state.receiveConfig('spoof.cluster._.default', JSON.stringify({ modes: { tunnel: 'off' } }));
    state.receiveConfig('spoof.namespace.shop.default', JSON.stringify({ modes: { tunnel: 'audit' } }));
    state.receiveConfig('spoof.workload.shop.web', JSON.stringify({ modes: { tunnel: 'enforce' } }));
    const shop = state.pods.get('a') ?? null;
    expect(state.modesOf(shop).tunnel).toBe('enforce');
    state.receiveConfig('spoof.workload.shop.web', null);
    expect(state.modesOf(shop).tunnel).toBe('audit');
    expect(state.modesOf(null).tunnel).toBe('off');
  });
  it('bad value - rejected with its field; the last good one stays; a good one clears the report', () => {
    const state = new DesiredState('n1');
    state.receiveConfig('spoof.cluster._.default', JSON.stringify({ modes: { tunnel: 'off' } }));
    expect(state.receiveConfig('spoof.cluster._.default', JSON.stringify({ modes: { tunel: 'off' } }))).toEqual({
      refused: expect.stringContaining('modes'),
    });
    expect(state.modesOf(null).tunnel).toBe('off');
    expect([...state.configRefused.keys()]).toEqual(['spoof.cluster._.default']);
    state.receiveConfig('spoof.cluster._.default', '{}');
    expect([...state.configRefused.keys()]).toEqual([]);
  });
  it('initial mode audit - every tunable vector is audited until the cluster has a policy', () => {
    const state = new DesiredState('n1', 'audit');
    const modes = () => TUNABLE_VECTORS.map((vector) => state.modesOf(null)[vector]);
    expect(new Set(modes())).toEqual(new Set(['audit']));
    expect(state.auditsInitially).toBe(true);
    expect(state.modesOf(null)['quarantine-egress']).toBe('enforce');
    state.receiveConfig('spoof.cluster._.default', '{"modes":{"tunnel":"off"}}');
    expect([state.modesOf(null).tunnel, state.modesOf(null)['ipv4-source']]).toEqual(['off', 'enforce']);
    expect(state.auditsInitially).toBe(false);
    state.receiveConfig('spoof.cluster._.default', null);
    expect(new Set(modes())).toEqual(new Set(['audit']));
    expect([state.auditsInitially, new DesiredState('n1').auditsInitially]).toEqual([true, false]);
  });
  it('disarm - covers its namespace and no other', () => {
    const state = new DesiredState('n1');
    state.receiveConfig('disarm.namespace.shop.all', JSON.stringify({ until: '2026-01-01T00:01:00Z', duration: '1m' }));
    expect(state.auditUntilNs('shop', moment)).toBe(61_000_000_000n);
    expect(state.auditUntilNs('bank', moment)).toBe(0n);
    expect(state.disarmedUntil(moment)).toBeNull();
    state.receiveConfig('disarm.node._.n1', JSON.stringify({ until: '2026-01-01T00:01:00Z', duration: '1m' }));
    expect(state.disarmedUntil(moment)).toBe('2026-01-01T00:01:00.000Z');
  });
  it('disarms of namespaces - are listed until they end or are deleted, the latest first', () => {
    const state = new DesiredState('n1');
    const receive = (namespace: string, until: string | null) =>
      state.receiveConfig(`disarm.namespace.${namespace}.all`, until && JSON.stringify({ until, duration: '1m' }));
    const listed = () => state.disarmedNamespaces(moment);
    receive('past', '2025-01-01T00:00:00Z');
    receive('shop', '2026-01-01T00:01:00Z');
    receive('bank', '2026-01-01T00:02:00Z');
    state.receiveConfig('disarm.node._.n1', JSON.stringify({ until: '2026-01-01T00:03:00Z', duration: '1m' }));
    const shop = { namespace: 'shop', disarmedUntil: '2026-01-01T00:01:00.000Z' };
    expect(listed()).toEqual([{ namespace: 'bank', disarmedUntil: '2026-01-01T00:02:00.000Z' }, shop]);
    receive('bank', null);
    expect(listed()).toEqual([shop]);
    expect(fitDisarms(listed())).toEqual({ disarmedNamespaces: [shop] });
    const many = Array.from({ length: 67 }, (_, index) => ({ ...shop, namespace: `n${index}` }));
    expect(fitDisarms(many)).toEqual({ disarmedNamespaces: many.slice(0, 64), disarmedNamespacesOmitted: 3 });
  });
});

describe('desired state - order of documents', () => {
  it('the bus decides, not the revision in a document: none freezes a list', () => {
    const entry = { podUid: 'a', podNamespace: 's', podName: 'a', verdictId: 'v', until: '', reason: '' };
    for (const highest of [7, MAX_REVISION, Number.MAX_SAFE_INTEGER]) {
      const state = new DesiredState('n1');
      const receive = (revision: number, entries: object[]) => [
        state.receiveQuarantine(JSON.stringify({ nodeName: 'n1', revision, entries })),
        state.receivePods(JSON.stringify({ nodeName: 'n1', revision, pods: [] }), []),
        state.receiveCluster(JSON.stringify({ revision, nodes: [] })),
      ];
      for (const result of receive(highest, [entry])) expect(result).toMatchObject({ changed: true });
      for (const result of receive(1, [])) expect(result).toMatchObject({ changed: true });
      expect([state.quarantined.size, state.snapshotRevision, state.cluster.revision]).toEqual([0, 1, 1]);
    }
  });
});

describe('desired state - quarantine and attribution', () => {
  it('quarantine - for the listed pods until their end', () => {
    const state = new DesiredState('n1');
    const entry = {
      podUid: 'a',
      podNamespace: 'shop',
      podName: 'web',
      verdictId: 'v',
      until: '2026-01-01T00:00:10Z',
      reason: '',
    };
    state.receiveQuarantine(JSON.stringify({ nodeName: 'n1', revision: 1, entries: [entry] }));
    expect(state.quarantineUntilNs('a', moment)).toBe(11_000_000_000n);
    expect(state.quarantineUntilNs('b', moment)).toBe(0n);
    state.receiveQuarantine(JSON.stringify({ nodeName: 'n1', revision: 2, entries: [] }));
    expect(state.quarantineUntilNs('a', moment)).toBe(0n);
  });
  it('quarantine list of another node - rejected', () => {
    expect(
      new DesiredState('n1').receiveQuarantine(JSON.stringify({ nodeName: 'n2', revision: 1, entries: [] })),
    ).toEqual({ refused: expect.stringContaining('n2') });
  });
  it('attribution - the top of the owner chain; without the bus, the CNI record', () => {
    const state = new DesiredState('n1');
    state.receivePods(snapshot(1, [pod('a')]), []);
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

  it('pod without confirmed controller - modes of its namespace, whatever its name', () => {
    const state = new DesiredState('n1');
    const receive = (scope: string, value: object) => state.receiveConfig(`spoof.${scope}`, JSON.stringify(value));
    receive('namespace.shop.default', { modes: { 'ipv4-source': 'audit' } });
    receive('workload.shop.vpn', { modes: { 'ipv4-source': 'off' } });
    const owners = [{ kind: 'Deployment', name: 'vpn', uid: 'd' }];
    const mode = (change: Partial<PodIdentity>) =>
      state.modesOf(pod('u', { namespace: 'shop', ...change }))['ipv4-source'];
    expect(mode({ owners })).toBe('off');
    expect(mode({ owners, unowned: true })).toBe('audit');
    expect(mode({ name: 'vpn', owners: [], unowned: true })).toBe('audit');
  });

  it('sampling - of the narrowest scope that sets it, field by field; else of the node', () => {
    const state = new DesiredState('n1');
    const receive = (key: string, value: object) => state.receiveConfig(key, JSON.stringify(value));
    receive('spoof.cluster._.default', { sampling: { burst: 3, perSecond: 4 } });
    const of = (workload: string, namespace = 'shop') =>
      state.samplingOf(pod('u', { namespace, owners: [{ kind: 'Deployment', name: workload, uid: 'd' }] }));
    expect(of('web')).toBeNull();
    receive('spoof.namespace.shop.default', { sampling: { perSecond: 50 } });
    receive('spoof.workload.shop.web', { sampling: { burst: 100 } });
    expect(of('cart')).toEqual({ burst: 3, perSecond: 50 });
    expect(of('web')).toEqual({ burst: 100, perSecond: 50 });
    expect(state.samplingOf(null, 'shop')).toEqual({ burst: 3, perSecond: 50 });
    expect(of('web', 'bank')).toBeNull();
  });

  it.each([
    ['spoof.cluster._.other', '{}'],
    ['spoof.namespace.shop.other', '{}'],
    ['disarm.cluster._.other', JSON.stringify({ until: '2026-01-01T00:00:00Z', reason: 'r', by: 'b' })],
  ])('%s - a name without reader at its scope is rejected', (key, json) => {
    const state = new DesiredState('n1');
    const before = state.clusterConfig;
    expect(state.receiveConfig(key, json)).toMatchObject({ refused: expect.stringContaining('is never read') });
    expect(state.configRefused.get(key)).toContain('is never read');
    expect([state.configKeys('spoof'), state.clusterConfig === before]).toEqual([[], true]);
    expect(state.receiveConfig('spoof.cluster._.default', '{"unknown":"enforce"}')).toEqual({ changed: true });
  });
});
