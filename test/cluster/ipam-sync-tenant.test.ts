// A tenant who may create and patch pods in one namespace, against ipam-sync with the rights from
// its manifests.
import { encodeToken, openBucket, streamInfo } from '@bailiff/bus';
import { workloadOf } from '@bailiff/schemas';
import { waitFor } from '@bailiff/service/testing';
import { describe, expect, test } from 'vitest';
import { podObject } from '../support/kube.ts';
import { launch, spawnApp, startWorld, type World } from './ipam-sync/harness.ts';

const MERGE = 'application/strategic-merge-patch+json';
const controller = (kind: string, name: string, uid: string) => [
  { apiVersion: 'apps/v1', kind, name, uid, controller: true },
];
const patch = (world: World, name: string, body: object) =>
  void world.kube.server.api.patch('pods', { namespace: 'default', name }, MERGE, body);
const podsOf = async (world: World, node: string) => (await world.snapshot(node))?.pods ?? [];
const named = async (world: World, node: string, name: string) =>
  (await podsOf(world, node)).find((pod) => pod.name === name);

/** Deployment `vpn` with its ReplicaSet; returns the references of its pods. */
function vpn(world: World): { ownerReferences: object[] } {
  const { api } = world.kube.server;
  const template = { metadata: { labels: { app: 'vpn' } }, spec: { containers: [{ name: 'main', image: 'vpn:1' }] } };
  const spec = { selector: { matchLabels: { app: 'vpn' } }, template };
  const deployment = api.create('deployments.apps', { metadata: { name: 'vpn', namespace: 'default' }, spec });
  const ownerReferences = controller('Deployment', 'vpn', deployment.metadata.uid);
  const set = api.create('replicasets.apps', {
    metadata: { name: 'vpn-1', namespace: 'default', ownerReferences },
    spec,
  });
  return { ownerReferences: controller('ReplicaSet', 'vpn-1', set.metadata.uid) };
}

describe('ipam-sync - a tenant that names the controller of another workload', () => {
  const workload = async (world: World, name: string) => {
    const pod = await named(world, 'node-1', name);
    return pod && workloadOf(pod);
  };
  const is = (world: World, name: string, expected: string | null) =>
    waitFor(async () => (await workload(world, name)) === expected, {
      what: `${name} to belong to ${expected}`,
      state: () => podsOf(world, 'node-1'),
    });

  test('ipam-sync - only a pod that runs the template’s program belongs to the workload', async () => {
    await using world = await startWorld();
    const metadata = vpn(world);
    const honest = { metadata, labels: { app: 'vpn' }, spec: { containers: [{ name: 'main', image: 'vpn:1' }] } };
    world.running('vpn-1-a', 'node-1', ['10.1.0.5'], honest);
    await using _sync = await launch(world);
    await is(world, 'vpn-1-a', 'vpn');
    // With the reference and the labels of the workload, and a program of its own.
    world.running('forged', 'node-1', ['10.1.0.6'], { ...honest, spec: {} });
    // With its name.
    world.running('vpn', 'node-1', ['10.1.0.7']);
    // With a controller whose read the API server refuses, and with an absent one.
    const refused = { ownerReferences: controller('ReplicaSet', '%', 'uid') };
    world.running('refused', 'node-1', ['10.1.0.8'], { metadata: refused });
    world.running('invented', 'node-1', ['10.1.0.9'], {
      metadata: { ownerReferences: controller('ReplicaSet', 'invented', 'uid') },
    });
    for (const name of ['forged', 'vpn', 'refused', 'invented']) await is(world, name, null);
    expect(await workload(world, 'vpn-1-a')).toBe('vpn');
    // A patch makes a pod of the controller run another image. When its spec has the image of the
    // template again, the other one may still run.
    patch(world, 'vpn-1-a', { spec: { containers: [{ name: 'main', image: 'attacker/tool' }] } });
    await is(world, 'vpn-1-a', null);
    patch(world, 'vpn-1-a', {
      spec: { containers: [{ name: 'main', image: 'vpn:1' }] },
      metadata: { labels: { n: '1' } },
    });
    await waitFor(async () => (await named(world, 'node-1', 'vpn-1-a'))?.labels['n'] === '1', {
      what: 'the second patch on the bus',
      state: () => podsOf(world, 'node-1'),
    });
    expect(await workload(world, 'vpn-1-a')).toBeNull();
    world.running('vpn-1-b', 'node-1', ['10.1.0.10'], honest);
    await is(world, 'vpn-1-b', 'vpn');
  });
});

test('ipam-sync - an owner above a ReplicaSet whose UID is too long for a frame is left out; another one is listed', async () => {
  await using world = await startWorld();
  const { api } = world.kube.server;
  const spec = { containers: [{ name: 'main', image: 'own:1' }] };
  const uids = { long: '€'.repeat(128), short: 'u'.repeat(128) };
  for (const [name, uid] of Object.entries(uids)) {
    const labels = { app: name };
    const above = [{ apiVersion: 'example.com/v1', kind: 'Thing', name: 'x', uid, controller: true }];
    const set = api.create('replicasets.apps', {
      metadata: { name, namespace: 'default', ownerReferences: above },
      spec: { selector: { matchLabels: labels }, template: { metadata: { labels }, spec } },
    });
    const metadata = { ownerReferences: controller('ReplicaSet', name, set.metadata.uid) };
    world.running(name, 'node-1', [`10.1.0.${name.length}`], { labels, metadata, spec });
  }
  await using sync = await launch(world);
  const ownersOf = async (name: string) => (await named(world, 'node-1', name))?.owners.map(({ kind }) => kind);
  await waitFor(async () => (await ownersOf('short'))?.length === 2, { what: 'the owners', state: sync.metrics });
  await waitFor(async () => ((await ownersOf('long')) ?? []).length > 0, { what: 'its owner', state: sync.metrics });
  expect([await ownersOf('short'), await ownersOf('long')]).toEqual([['ReplicaSet', 'Thing'], ['ReplicaSet']]);
});

describe('ipam-sync - a tenant that exhausts shared resources', () => {
  test('ipam-sync - pods on absent nodes leave no key behind; the pods of a new node are listed', async () => {
    await using world = await startWorld();
    world.node('node-1', ['192.0.2.1']);
    world.running('honest', 'node-1', ['10.1.0.5']);
    await using sync = await launch(world);
    // Each key has one message, a deleted one too.
    const keys = async () => (await streamInfo(world.admin, 'KV_bailiff_pods')).state.messages;
    await waitFor(async () => (await keys()) === 2, { what: 'the snapshots of node and cluster', state: keys });
    const { api } = world.kube.server;
    const invent = (name: string, nodeName: string) =>
      api.create('pods', podObject(name, { metadata: { namespace: 'default' }, spec: { nodeName } }));
    const invented = Array.from({ length: 100 }, (_, i) => `hostile-${i}`);
    for (const name of invented) invent(name, `of-${name}`);
    // Each follows them in the watch.
    world.running('second', 'node-1', ['10.1.0.6']);
    await waitFor(() => named(world, 'node-1', 'second'), { state: sync.metrics });
    for (const name of invented) world.remove(name);
    world.running('third', 'node-1', ['10.1.0.7']);
    await waitFor(() => named(world, 'node-1', 'third'), { state: sync.metrics });
    expect(await keys()).toBe(2);
    invent('early', 'node-2');
    world.node('node-2', ['192.0.2.2']);
    await waitFor(() => named(world, 'node-2', 'early'), { state: sync.metrics });
  });

  test('ipam-sync - 1,464 labels on one pod: new pods of its node are listed, and so are all others', async () => {
    await using world = await startWorld();
    world.running('hostile', 'node-1', ['10.1.0.5'], { labels: { app: 'hostile', zone: 'restricted' } });
    await using sync = await launch(world);
    await waitFor(() => named(world, 'node-1', 'hostile'));
    // 540 kB, as the API server accepts them: keys with a prefix of 253 characters.
    const prefix = `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(61)}`;
    const labels = Object.fromEntries(
      Array.from({ length: 1_464 }, (_, i) => [`${prefix}/${String(i).padStart(63, 'x')}`, 'v'.repeat(52)]),
    );
    patch(world, 'hostile', { metadata: { labels } });
    await waitFor(async () => (await named(world, 'node-1', 'hostile'))?.cut === true, { state: sync.metrics });
    world.running('innocent', 'node-1', ['10.1.0.6'], { labels: { app: 'innocent' } });
    await waitFor(() => named(world, 'node-1', 'innocent'), { state: sync.metrics });
    expect(await named(world, 'node-1', 'innocent')).toMatchObject({ labels: { app: 'innocent' } });
    expect((await named(world, 'node-1', 'hostile'))?.interfaces[0]?.addresses).toEqual(['10.1.0.5']);
    expect(await sync.metric('bailiff_ipam_sync_snapshots_oversized')).toBe(0);
    expect(await sync.metric('bailiff_ipam_sync_cut_pods')).toBe(1);
    // A policy that selects by a removed label matches it again.
    expect((await named(world, 'node-1', 'hostile'))?.labels).not.toHaveProperty('zone');
    const selector = { podLabels: { matchLabels: { zone: 'restricted' } } };
    await world.config.put('runtime.cluster._.restricted', JSON.stringify({ selector }));
    await waitFor(async () => (await named(world, 'node-1', 'hostile'))?.labels['zone'] === 'restricted', {
      state: () => named(world, 'node-1', 'hostile'),
    });
    // Also while its containers run on without its object.
    const uid = (await named(world, 'node-1', 'hostile'))?.uid;
    world.remove('hostile');
    await waitFor(async () => (await named(world, 'node-1', 'hostile')) === undefined, { state: sync.metrics });
    const status = JSON.stringify({ unlistedPods: [uid] });
    await openBucket(world.admin, 'bailiff_nodes').put(encodeToken('node-1'), status);
    await waitFor(() => named(world, 'node-1', 'hostile'), { state: sync.metrics });
    expect(await named(world, 'node-1', 'hostile')).toMatchObject({ ended: true, labels: { zone: 'restricted' } });
  });

  test('ipam-sync - an annotation of 255 kB, 17 times a second: changes of other pods are written meanwhile', async () => {
    await using world = await startWorld();
    world.running('hostile', 'node-1', ['10.1.0.5']);
    await using sync = await launch(world);
    await waitFor(() => named(world, 'node-1', 'hostile'));
    const prefixes = Array.from({ length: 17_000 }, (_, i) => `10.${i >> 8}.${i & 255}.0/24`).join(',');
    let patches = 0;
    const attack = setInterval(() => {
      patches += 1;
      patch(world, 'hostile', {
        metadata: { annotations: { 'bailiff.dev/allowed-source-prefixes': `${prefixes},${patches}` } },
      });
    }, 1_000 / 17);
    try {
      await waitFor(() => patches >= 34);
      for (let i = 0; i < 5; i++) {
        world.running(`innocent-${i}`, 'node-2', [`10.1.1.${i}`]);
        await waitFor(() => named(world, 'node-2', `innocent-${i}`), { what: `innocent-${i} to be listed` });
      }
    } finally {
      clearInterval(attack);
    }
    expect(prefixes.length).toBeGreaterThan(200_000);
    await waitFor(async () => (await sync.metric('bailiff_ipam_sync_refused_prefixes')) === 1, { state: sync.metrics });
  });

  test('ipam-sync - 30 pods of 1.4 MB: it starts within the memory limit of its manifest', async () => {
    await using world = await startWorld();
    const ownerReferences = controller('ReplicaSet', 'x'.repeat(1_400_000), 'uid');
    for (let i = 0; i < 30; i++) world.running(`hostile-${i}`, 'node-1', [], { metadata: { ownerReferences } });
    world.running('innocent', 'node-1', ['10.1.0.6']);
    await using _sync = await spawnApp(
      world,
      ['--page-limit', '32'],
      ['--max-semi-space-size=1', '--max-old-space-size=64'],
    );
    await waitFor(() => named(world, 'node-1', 'innocent'), { timeoutMs: 60_000 });
  }, 120_000);

  test('ipam-sync - a pod as large as an event can be: the watch continues', async () => {
    await using world = await startWorld();
    world.running('hostile', 'node-1', ['10.1.0.5']);
    await using sync = await launch(world);
    await waitFor(() => named(world, 'node-1', 'hostile'));
    // Each character takes six bytes of JSON; etcd counts 1.5 MiB.
    const name = '\u0001'.repeat(1_550_000);
    patch(world, 'hostile', { metadata: { ownerReferences: controller('ReplicaSet', name, 'uid') } });
    world.running('innocent', 'node-1', ['10.1.0.6']);
    await waitFor(() => named(world, 'node-1', 'innocent'), { state: sync.metrics });
    await waitFor(async () => (await named(world, 'node-1', 'hostile'))?.cut === true, { state: sync.metrics });
    expect((await sync.metrics()).filter((line) => line.includes('KUBE_PROTOCOL'))).toEqual([]);
  });

  test('ipam-sync - a pod of 1.2 MB that changes all the time: it is read now and then, in its last version', async () => {
    await using world = await startWorld();
    const { server } = world.kube;
    world.running('hostile', 'node-1', ['10.1.0.5']);
    await using sync = await launch(world);
    await waitFor(() => named(world, 'node-1', 'hostile'));
    const lists = () => server.requests.count({ verb: 'list', resource: 'pods' });
    const [before, changes] = [lists(), 30];
    const name = '\u0001'.repeat(200_000);
    for (let n = 1; n <= changes; n++) {
      const ownerReferences = controller('ReplicaSet', name, 'uid');
      patch(world, 'hostile', { metadata: { labels: { n: String(n) }, ...(n === 1 ? { ownerReferences } : {}) } });
      await new Promise((resolve) => setImmediate(resolve));
    }
    world.running('innocent', 'node-1', ['10.1.0.6']);
    await waitFor(() => named(world, 'node-1', 'innocent'), { state: sync.metrics });
    await waitFor(async () => (await named(world, 'node-1', 'hostile'))?.labels['n'] === String(changes), {
      state: sync.metrics,
    });
    expect(lists() - before).toBeLessThan(changes / 2);
    expect(lists() - before).toBeGreaterThan(0);
    // A small version is parsed at once, and a deletion needs no read.
    patch(world, 'hostile', { metadata: { ownerReferences: null, labels: { n: 'small' } } });
    await waitFor(async () => (await named(world, 'node-1', 'hostile'))?.labels['n'] === 'small');
    patch(world, 'hostile', { metadata: { ownerReferences: controller('ReplicaSet', name, 'uid') } });
    world.remove('hostile');
    await waitFor(async () => (await named(world, 'node-1', 'hostile')) === undefined, { state: sync.metrics });
    await waitFor(async () => (await sync.metric('bailiff_ipam_sync_informer_large_objects{resource="pods"}')) === 0);
    expect(await named(world, 'node-1', 'hostile')).toBeUndefined();
  });

  /** Pods of the largest record, bound to a node by their author. */
  const hostile = (world: World, count: number) => {
    const text = (n: number) => String(n).padStart(63, 'x');
    const labels = Object.fromEntries(Array.from({ length: 60 }, (_, n) => [text(n), text(n)]));
    const containers = Array.from({ length: 64 }, (_, n) => ({ name: text(n), image: 'x' }));
    for (let i = 0; i < count; i++) world.running(`hostile-${i}`, 'node-1', [], { labels, spec: { containers } });
  };
  const innocent = (world: World, name: string) =>
    world.running(name, 'node-1', [], { metadata: { namespace: 'innocent' } });

  test('ipam-sync - more pods than fit into its memory: those of others are listed; control: no bound', async () => {
    await using world = await startWorld();
    world.kube.server.api.create('namespaces', { metadata: { name: 'innocent' } });
    innocent(world, 'early');
    hostile(world, 300);
    const most = 2 * 1024 ** 2;
    await using sync = await launch(world, ['--max-pod-bytes', String(most)]);
    await waitFor(() => named(world, 'node-1', 'early'), { state: sync.metrics });
    innocent(world, 'late');
    await waitFor(() => named(world, 'node-1', 'late'), { state: sync.metrics });
    const { pods = [], omitted = 0 } = (await world.snapshot('node-1')) ?? {};
    expect([pods.length + omitted, omitted > 100]).toEqual([302, true]);
    expect(await sync.metric('bailiff_ipam_sync_omitted_pods')).toBe(omitted);
    expect(await sync.metric('bailiff_ipam_sync_pod_bytes')).toBeLessThan(most + 300 * 800);
    await using unbounded = await launch(world);
    await waitFor(async () => (await unbounded.metric('bailiff_ipam_sync_pods')) === 302);
    expect(await unbounded.metric('bailiff_ipam_sync_pod_bytes'), 'control').toBeGreaterThan(4 * most);
  });

  test('ipam-sync - room for more pods is free: those that were omitted are listed', async () => {
    await using world = await startWorld();
    hostile(world, 60);
    await using sync = await launch(world, ['--max-pod-bytes', String(1024 ** 2)]);
    const omitted = async () => (await world.snapshot('node-1'))?.omitted ?? 0;
    await waitFor(async () => (await omitted()) > 20, { state: sync.metrics });
    const names = (await podsOf(world, 'node-1')).map(({ name }) => name);
    const others = Array.from({ length: 60 }, (_, i) => `hostile-${i}`).filter((name) => !names.includes(name));
    for (const name of [...others.slice(5), ...names.slice(0, 10)]) world.remove(name);
    const left = [...names.slice(10), ...others.slice(0, 5)].sort();
    await waitFor(
      async () =>
        JSON.stringify((await podsOf(world, 'node-1')).map(({ name }) => name).sort()) === JSON.stringify(left),
      { what: 'all that are left', state: sync.metrics },
    );
    expect(await omitted()).toBe(0);
  });
});
