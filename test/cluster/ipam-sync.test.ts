// ipam-sync in this process, between a real nats-server and the API stand-in, with the rights from
// its manifests.
import { isDeepStrictEqual } from 'node:util';
import { encodeToken, ensureTopology, openBucket } from '@bailiff/bus';
import { clusterSnapshot } from '@bailiff/schemas';
import { waitFor } from '@bailiff/service/testing';
import { describe, expect, test } from 'vitest';
import { MAIN_CONTAINER } from '../support/kube.ts';
import { IPAM_SYNC_USER, launch, startWorld, WATCHFUL, type World } from './ipam-sync/harness.ts';

const DEFAULTS = 'spoof.cluster._.default';

/** Waits until a node's pods have exactly these addresses. */
function shows(world: World, node: string, expected: Record<string, string[]> | null) {
  const wanted = JSON.stringify(expected);
  return waitFor(async () => JSON.stringify(await world.addresses(node)) === wanted, {
    what: `${node} to show ${wanted}`,
    state: () => world.addresses(node),
  });
}

describe('ipam-sync - snapshots', () => {
  test('ipam-sync - pods of both families by node, from binding to end, with the rights from its manifests', async () => {
    await using world = await startWorld();
    world.node('node-1', ['192.0.2.1', '2001:db8::1'], ['10.1.0.0/24', 'fd00:1::/64']);
    world.node('node-2.example.org', ['192.0.2.2']);
    world.running('before', 'node-1', ['10.1.0.5', 'fd00:1::5'], { labels: { app: 'web' } });
    await using sync = await launch(world);
    await shows(world, 'node-1', { before: ['10.1.0.5', 'fd00:1::5'] });
    await shows(world, 'node-2.example.org', {});
    const cluster = clusterSnapshot.parse(JSON.parse((await world.pods.get('_cluster'))?.value.toString() ?? ''));
    expect(cluster.nodes).toEqual([
      { name: 'node-1', addresses: ['192.0.2.1', '2001:db8::1'], podCidrs: ['10.1.0.0/24', 'fd00:1::/64'] },
      { name: 'node-2.example.org', addresses: ['192.0.2.2'], podCidrs: [] },
    ]);

    // Bound, without an address yet: the node may have it already.
    const uid = world.running('young', 'node-2.example.org', []);
    await shows(world, 'node-2.example.org', { young: [] });
    expect((await world.snapshot('node-2.example.org'))?.pods).toMatchObject([{ uid, interfaces: [] }]);
    world.status('young', { phase: 'Running', podIP: '10.2.0.9', podIPs: [{ ip: '10.2.0.9' }, { ip: 'FD00:2::9' }] });
    await shows(world, 'node-2.example.org', { young: ['10.2.0.9', 'fd00:2::9'] });

    world.running('host', 'node-1', ['192.0.2.1'], { spec: { hostNetwork: true } });
    await shows(world, 'node-1', { before: ['10.1.0.5', 'fd00:1::5'], host: [] });
    const host = (await world.snapshot('node-1'))?.pods.find(({ name }) => name === 'host');
    expect(host).toMatchObject({ hostNetwork: true, interfaces: [] });

    world.status('young', { phase: 'Succeeded' });
    await shows(world, 'node-2.example.org', {});
    world.remove('before');
    await shows(world, 'node-1', { host: [] });
    const revisions = (await world.snapshot('node-1'))?.revision;
    world.kube.server.api.delete('nodes', { name: 'node-2.example.org' });
    await shows(world, 'node-2.example.org', null);
    expect(revisions).toBeGreaterThan(1_700_000_000_000);
    const errors = sync.logLines().filter((line) => Number(line.level) > 30);
    expect(errors).toEqual([]);
    expect(world.nats.log).not.toMatch(/violation/i);
    expect(await sync.stop()).toBe(0);
  });

  test('ipam-sync - a recreated bucket is written again, and a recreated configuration is followed', async () => {
    await using world = await startWorld();
    world.node('node-1', ['192.0.2.1']);
    world.running('before', 'node-1', ['10.1.0.5']);
    await using sync = await launch(world);
    await shows(world, 'node-1', { before: ['10.1.0.5'] });
    await world.config.put(DEFAULTS, JSON.stringify({ revision: 7, allowedPrefixes: [] }));
    for (const stream of ['KV_bailiff_pods', 'KV_bailiff_config']) await world.admin.jsm.streams.delete(stream);
    await ensureTopology(world.admin);
    await shows(world, 'node-1', { before: ['10.1.0.5'] });
    world.running('after', 'node-1', ['10.1.0.6']);
    await shows(world, 'node-1', { after: ['10.1.0.6'], before: ['10.1.0.5'] });
    // Revisions restart; a wrong value shows that the new bucket is read.
    await world.config.put(DEFAULTS, JSON.stringify({ revision: 1, allowedPrefixes: 'none' }));
    await waitFor(async () => (await sync.metric('bailiff_ipam_sync_config_refused_total')) === 1, {
      state: sync.metrics,
    });
    await world.config.put(DEFAULTS, JSON.stringify({ revision: 1, allowedPrefixes: [] }));
    await waitFor(async () => (await sync.metric('bailiff_ipam_sync_config_refused_total')) === 1);
    expect(sync.line('stream recreated; reading it from its beginning')).toBeDefined();
  });

  test('ipam-sync - the owner’s owner is looked up once and published', async () => {
    await using world = await startWorld();
    const { api } = world.kube.server;
    const controller = (kind: string, name: string, uid: string) => [
      { apiVersion: 'apps/v1', kind, name, uid, controller: true },
    ];
    const set = api.create('replicasets.apps', {
      metadata: { name: 'web-1', namespace: 'default', ownerReferences: controller('Deployment', 'web', 'uid-web') },
      spec: {
        selector: { matchLabels: { app: 'web' } },
        template: { metadata: { labels: { app: 'web' } }, spec: { containers: [MAIN_CONTAINER] } },
      },
    });
    const ownerReferences = controller('ReplicaSet', 'web-1', set.metadata.uid);
    for (const name of ['web-1-a', 'web-1-b']) world.running(name, 'node-1', [], { metadata: { ownerReferences } });
    await using _sync = await launch(world);
    const owners = async () => (await world.snapshot('node-1'))?.pods.map((pod) => pod.owners.map(({ name }) => name));
    const wanted = JSON.stringify([
      ['web-1', 'web'],
      ['web-1', 'web'],
    ]);
    await waitFor(async () => JSON.stringify(await owners()) === wanted, { state: owners });
    expect(world.kube.server.requests.count({ verb: 'get', resource: 'replicasets' })).toBe(1);
  });

  test('ipam-sync - a reused address belongs to the younger pod once the older one terminates, despite its late updates', async () => {
    await using world = await startWorld();
    world.running('old', 'node-1', ['10.1.0.5']);
    await using _sync = await launch(world);
    await shows(world, 'node-1', { old: ['10.1.0.5'] });
    world.running('young', 'node-1', ['10.1.0.5']);
    await shows(world, 'node-1', { old: ['10.1.0.5'], young: ['10.1.0.5'] });
    world.kube.server.api.delete('pods', { namespace: 'default', name: 'old' }, { gracePeriodSeconds: 600 });
    await shows(world, 'node-1', { old: [], young: ['10.1.0.5'] });
    // The kubelet's late status of the deleted pod has a newer resourceVersion than the young
    // pod's.
    world.status('old', {
      conditions: [{ type: 'Ready', status: 'False' }],
      podIPs: [{ ip: '10.1.0.5' }, { ip: 'fd00::5' }],
    });
    await shows(world, 'node-1', { old: ['fd00::5'], young: ['10.1.0.5'] });
    world.remove('young');
    await shows(world, 'node-1', { old: ['10.1.0.5', 'fd00::5'] });
  });

  test('ipam-sync - a pod recreated under the same name is another one', async () => {
    await using world = await startWorld();
    const first = world.running('web', 'node-1', ['10.1.0.5']);
    await using _sync = await launch(world);
    await shows(world, 'node-1', { web: ['10.1.0.5'] });
    world.remove('web');
    const second = world.running('web', 'node-1', ['10.1.0.6']);
    await shows(world, 'node-1', { web: ['10.1.0.6'] });
    expect((await world.snapshot('node-1'))?.pods.map(({ uid }) => uid)).toEqual([second]);
    expect(second).not.toBe(first);
  });

  test('ipam-sync - a pod without an object stays listed while its node reports it, also over a restart', async () => {
    await using world = await startWorld();
    const PREFIX = '10.2.0.0/16';
    await world.config.put(
      DEFAULTS,
      JSON.stringify({ allowedPrefixes: [{ namespace: 'default', prefixes: [PREFIX] }] }),
    );
    const annotations = { 'bailiff.dev/allowed-source-prefixes': PREFIX };
    const uid = world.running('ghost', 'node-1', ['10.1.0.5'], { labels: { app: 'web' }, annotations });
    world.running('honest', 'node-1', ['10.1.0.7']);
    const listed = async () =>
      (await world.snapshot('node-1'))?.pods.map((pod) => [pod.name, pod.ended === true, pod.interfaces.length]);
    const showsPods = (wanted: unknown[][]) =>
      waitFor(async () => isDeepStrictEqual(await listed(), wanted), { what: JSON.stringify(wanted), state: listed });
    const report = (unlistedPods: string[]) =>
      openBucket(world.admin, 'bailiff_nodes').put(encodeToken('node-1'), JSON.stringify({ unlistedPods }));
    {
      await using _sync = await launch(world);
      await shows(world, 'node-1', { ghost: ['10.1.0.5'], honest: ['10.1.0.7'] });
      // Control: a node cannot list a pod that was not on it.
      await report(['never-was']);
      world.remove('ghost');
      world.remove('honest');
      await showsPods([]);
      await report([uid]);
      await showsPods([['ghost', true, 1]]);
      expect((await world.snapshot('node-1'))?.pods[0]).toMatchObject({ uid, labels: { app: 'web' } });
      // Its grant ends with the permit.
      const prefixes = async () => (await world.snapshot('node-1'))?.pods[0]?.allowedPrefixes;
      expect(await prefixes()).toEqual([PREFIX]);
      await world.config.put(DEFAULTS, '{}');
      await waitFor(async () => isDeepStrictEqual(await prefixes(), []), { what: 'the end of the grant' });
    }
    // Its address is free for the next pod.
    world.running('next', 'node-1', ['10.1.0.5']);
    await using _again = await launch(world);
    const bySort = async () => (await listed())?.toSorted();
    const wanted = [
      ['ghost', true, 0],
      ['next', false, 1],
    ];
    await waitFor(async () => isDeepStrictEqual(await bySort(), wanted), { what: 'both pods', state: listed });
  });

  test('ipam-sync - pods with labels for 512 KiB are stored whole, compressed; a pod with too many labels loses some', async () => {
    await using world = await startWorld();
    world.running('small', 'node-1', ['10.1.0.5'], { labels: { app: 'small' } });
    await using sync = await launch(world);
    const labels = Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`label-${i}`, 'x'.repeat(60)]));
    for (let i = 0; i < 130; i++) world.running(`big-${i}`, 'node-1', [`10.1.1.${i}`], { labels });
    await waitFor(async () => (await world.snapshot('node-1'))?.pods.length === 131, { state: () => sync.metrics() });
    const pods = (await world.snapshot('node-1'))?.pods ?? [];
    expect(pods.every(({ interfaces }) => interfaces[0]?.addresses.length === 1)).toBe(true);
    expect(pods.find(({ name }) => name === 'small')).toMatchObject({ labels: { app: 'small' } });
    expect(pods.some(({ cut }) => cut)).toBe(false);
    expect((await world.pods.get('node-1'))?.value.length).toBeLessThan(128 * 1024);
    expect(await sync.metric('bailiff_ipam_sync_snapshots_oversized')).toBe(0);
    // The labels of this pod alone exceed the limit of a pod.
    const many = Object.fromEntries(Array.from({ length: 400 }, (_, i) => [`label-${i}`, 'x'.repeat(60)]));
    world.running('labelled', 'node-2', ['10.1.2.1'], { labels: many });
    await waitFor(async () => (await sync.metric('bailiff_ipam_sync_cut_pods')) === 1, { state: () => sync.metrics() });
    await shows(world, 'node-2', { labelled: ['10.1.2.1'] });
  });

  test('ipam-sync - of more pods than a list holds, those that fit are listed and the others counted', async () => {
    await using world = await startWorld();
    const COUNT = 2_060;
    for (let i = 0; i < COUNT; i++) world.running(`pod-${i}`, 'node-1', []);
    await using sync = await launch(world);
    await waitFor(async () => (await world.snapshot('node-1'))?.omitted === COUNT - 2_048, {
      state: () => sync.metrics(),
    });
    expect((await world.snapshot('node-1'))?.pods).toHaveLength(2_048);
    expect(await sync.metric('bailiff_ipam_sync_omitted_pods')).toBe(COUNT - 2_048);
    expect(await sync.metric('bailiff_ipam_sync_snapshots_oversized')).toBe(0);
    for (let i = 21; i < COUNT; i++) world.remove(`pod-${i}`);
    await waitFor(async () => (await world.snapshot('node-1'))?.pods.length === 21);
    expect(await world.snapshot('node-1')).not.toHaveProperty('omitted');
  });
});

describe('ipam-sync - prefixes need both keys', () => {
  const annotations = { 'bailiff.dev/allowed-source-prefixes': '10.50.0.0/16, 10.60.1.0/24, nonsense' };
  const permits = (revision: number, ...prefixes: string[]) =>
    JSON.stringify({ revision, allowedPrefixes: prefixes.length ? [{ namespace: 'default', prefixes }] : [] });
  const granted = (world: World, expected: string[]) =>
    waitFor(
      async () =>
        JSON.stringify((await world.snapshot('node-1'))?.pods[0]?.allowedPrefixes) === JSON.stringify(expected),
      {
        what: `grant of ${expected}`,
        state: () => world.snapshot('node-1'),
      },
    );

  test('ipam-sync - the annotation alone grants nothing; with the configuration it does, live; a bad one changes nothing', async () => {
    await using world = await startWorld();
    world.running('vpn', 'node-1', ['10.1.0.5'], { annotations });
    const sync = await launch(world);
    await granted(world, []);
    await world.config.put(DEFAULTS, permits(1, '10.50.0.0/15'));
    await granted(world, ['10.50.0.0/16']);
    await world.config.put(DEFAULTS, permits(2, '10.0.0.0/8'));
    await granted(world, ['10.50.0.0/16', '10.60.1.0/24']);

    // A wrong one is refused, and the last good one stays in force.
    await world.config.put(DEFAULTS, '{"allowedPrefixes": "all"}');
    await waitFor(async () => (await sync.metric('bailiff_ipam_sync_config_refused_total')) === 1, {
      state: () => sync.metrics(),
    });
    world.status('vpn', { podIPs: [{ ip: '10.1.0.6' }] });
    await shows(world, 'node-1', { vpn: ['10.1.0.6'] });
    await granted(world, ['10.50.0.0/16', '10.60.1.0/24']);
    // The order of the bus decides, not the revision in a value.
    await world.config.put(DEFAULTS, permits(1, '10.50.0.0/15'));
    await granted(world, ['10.50.0.0/16']);

    // A start with a bad value uses the newest good one.
    expect(await sync.stop()).toBe(0);
    await world.config.put(DEFAULTS, 'not json');
    await using second = await launch(world);
    await waitFor(async () => (await second.metric('bailiff_ipam_sync_leader')) === 1);
    await shows(world, 'node-1', { vpn: ['10.1.0.6'] });
    world.status('vpn', { podIPs: [{ ip: '10.1.0.7' }] });
    await shows(world, 'node-1', { vpn: ['10.1.0.7'] });
    await granted(world, ['10.50.0.0/16']);
    await world.config.put(DEFAULTS, permits(3));
    await granted(world, []);
  });

  test('ipam-sync - a MAC is granted to the permitted service account that asks for it, live', async () => {
    await using world = await startWorld();
    const mac = '52:54:00:12:34:56';
    const asking = { 'bailiff.dev/allowed-macs': `${mac}, 0a:58:0a:00:00:01` };
    const running = (name: string, last: number, annotations: Record<string, string>, serviceAccountName: string) =>
      world.running(name, 'node-1', [`10.1.0.${last}`], { annotations, spec: { serviceAccountName } });
    running('vm', 5, asking, 'vm');
    running('silent', 6, {}, 'vm');
    running('other', 7, asking, 'default');
    await using _sync = await launch(world);
    const macs = (expected: object) =>
      waitFor(
        async () => {
          const pods = (await world.snapshot('node-1'))?.pods ?? [];
          return isDeepStrictEqual(Object.fromEntries(pods.map((pod) => [pod.name, pod.allowedMacs])), expected);
        },
        { what: `grants ${JSON.stringify(expected)}`, state: () => world.snapshot('node-1') },
      );
    await macs({ vm: undefined, silent: undefined, other: undefined });
    const allowedMacs = [{ namespace: 'default', serviceAccount: 'vm', macs: ['52:54:00'] }];
    await world.config.put(DEFAULTS, JSON.stringify({ revision: 1, allowedMacs }));
    await macs({ vm: [mac], silent: undefined, other: undefined });
    await world.config.put(DEFAULTS, JSON.stringify({ revision: 2 }));
    await macs({ vm: undefined, silent: undefined, other: undefined });
  });
});

/** A Service that claims an address and leads it to a tunnel port. */
function claim(world: World, name: string, externalIP: string, address: string, target = {}): void {
  const { api } = world.kube.server;
  const metadata = { name, namespace: 'default' };
  const ports = [{ protocol: 'UDP', port: 53 }];
  api.create('services', { metadata, spec: { clusterIPs: ['None'], externalIPs: [externalIP], ports } });
  api.create('endpointslices', {
    metadata: { ...metadata, labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    endpoints: [{ addresses: [address], ...target }],
    ports: [{ protocol: 'UDP', port: 4789 }],
  });
}

async function clusterOf(world: World) {
  const entry = await world.pods.get('_cluster');
  return entry && clusterSnapshot.parse(JSON.parse(entry.value.toString()));
}

describe('ipam-sync - Services', () => {
  test('ipam-sync - Services that lead to a tunnel port are in the list of the cluster, by the configured ports', async () => {
    await using world = await startWorld();
    const { api } = world.kube.server;
    const namespace = 'default';
    const serve = (name: string, address: string, protocol: string, port: number) => {
      const ports = [{ name: 'x', protocol, port: 53 }];
      api.create('services', { metadata: { name, namespace }, spec: { clusterIPs: [address], ports } });
      const labels = { 'kubernetes.io/service-name': name };
      const metadata = { name: `${name}-1`, namespace, labels };
      api.create('endpointslices', {
        metadata,
        addressType: 'IPv4',
        endpoints: [],
        ports: [{ name: 'x', protocol, port }],
      });
    };
    serve('dns', '10.96.0.10', 'UDP', 5353);
    serve('tunnel', '10.96.0.11', 'UDP', 4789);
    serve('tcp', '10.96.0.12', 'TCP', 4789);
    await using sync = await launch(world);
    const services = async () => (await clusterOf(world))?.tunnelServices;
    const listed = (expected: object[]) =>
      waitFor(async () => isDeepStrictEqual(await services(), expected), { what: 'the Services', state: services });
    await listed([{ address: '10.96.0.11', port: 53 }]);
    await world.config.put(DEFAULTS, JSON.stringify({ revision: 1, tunnelPorts: { vxlan: [4789, 5353] } }));
    await listed([
      { address: '10.96.0.10', port: 53 },
      { address: '10.96.0.11', port: 53 },
    ]);
    expect(sync.logLines().filter((line) => Number(line.level) > 30)).toEqual([]);
  });

  test('ipam-sync - an address that a Service claims is listed while it leads to a node, also one that comes later', async () => {
    await using world = await startWorld();
    world.node('node-1', ['20.0.0.1']);
    claim(world, 'to-pod', '8.8.8.8', '10.1.0.5');
    claim(world, 'to-node', '9.9.9.9', '20.0.0.1');
    claim(world, 'to-later', '1.1.1.1', '20.0.0.2');
    await using sync = await launch(world);
    const listed = async () => (await clusterOf(world))?.tunnelServices?.map(({ address }) => address);
    const shows = (expected: string[]) =>
      waitFor(async () => isDeepStrictEqual(await listed(), expected), { what: 'the claims', state: listed });
    await shows(['9.9.9.9']);
    world.node('node-2', ['20.0.0.2']);
    await shows(['1.1.1.1', '9.9.9.9']);
    expect(await sync.metric('bailiff_ipam_sync_claiming_tunnel_services')).toBe(2);
    expect(sync.logLines().some(({ service }) => service === 'default/to-node')).toBe(true);
  });

  test('ipam-sync - pods have the first addresses of the pod network of a node (Calico): a Service that keeps its slice after such a pod leads to no node', async () => {
    await using world = await startWorld();
    world.node('node-1', ['20.0.0.1'], ['10.244.1.0/24']);
    world.running('first', 'node-1', ['10.244.1.1']);
    claim(world, 'first', '8.8.8.8', '10.244.1.1', { targetRef: { kind: 'Pod', namespace: 'default', name: 'first' } });
    claim(world, 'bridge', '9.9.9.9', '10.244.1.0');
    await using sync = await launch(world);
    const listed = async () => (await clusterOf(world))?.tunnelServices?.map(({ address }) => address);
    const lists = (expected: string[]) =>
      waitFor(async () => isDeepStrictEqual(await listed(), expected), { what: 'the claims', state: listed });
    await shows(world, 'node-1', { first: ['10.244.1.1'] });
    await lists(['9.9.9.9']);
    // The controller of EndpointSlices leaves those of a Service whose selector is removed.
    world.remove('first');
    await shows(world, 'node-1', {});
    claim(world, 'later', '1.1.1.1', '10.244.1.0');
    await lists(['1.1.1.1', '9.9.9.9']);
    expect(await sync.metric('bailiff_ipam_sync_claiming_tunnel_services')).toBe(2);
  });
});

describe('ipam-sync - starts, faults and interruptions', () => {
  test('ipam-sync - a start removes absent pods and corrects wrong ones', async () => {
    await using world = await startWorld();
    world.node('node-1', ['192.0.2.1']);
    world.running('stays', 'node-1', ['10.1.0.5']);
    world.running('goes', 'node-1', ['10.1.0.6']);
    const first = await launch(world);
    await shows(world, 'node-1', { goes: ['10.1.0.6'], stays: ['10.1.0.5'] });
    expect(await first.stop()).toBe(0);
    world.remove('goes');
    await world.pods.put('node-gone', JSON.stringify({ nodeName: 'node-gone', revision: 5, pods: [] }));
    await world.pods.put('broken', '{');
    const revision = (await world.snapshot('node-1'))?.revision ?? 0;
    await using _second = await launch(world);
    await shows(world, 'node-1', { stays: ['10.1.0.5'] });
    await waitFor(async () => (await world.pods.keys()).join() === '_cluster,node-1', {
      state: () => world.pods.keys(),
    });
    expect((await world.snapshot('node-1'))?.revision).toBeGreaterThan(revision);
  });

  test('ipam-sync - nothing is written before everything is read', async () => {
    await using world = await startWorld();
    await world.pods.put('node-1', JSON.stringify({ nodeName: 'node-1', revision: 5, pods: [] }));
    world.running('web', 'node-1', ['10.1.0.5']);
    const held = world.kube.server.faults.inject({ hold: true, verb: 'list', resource: 'nodes', times: 1 });
    await using sync = await launch(world, [], { ready: false });
    await waitFor(() => held.hits === 1);
    await waitFor(() => world.kube.server.requests.count({ verb: 'watch', resource: 'pods' }) > 0);
    expect((await world.snapshot('node-1'))?.revision).toBe(5);
    expect(sync.line('ready')).toBeUndefined();
    held.release();
    await shows(world, 'node-1', { web: ['10.1.0.5'] });
  });

  test('ipam-sync - the API server fails in every way while pods change', async () => {
    await using world = await startWorld();
    const { faults } = world.kube.server;
    await using sync = await launch(world, WATCHFUL);
    for (let i = 0; i < 24; i++) {
      world.running(`pod-${i}`, `node-${i % 3}`, [`10.1.0.${i + 1}`]);
      if (i >= 10 && i % 2 === 0) world.remove(`pod-${i - 10}`);
      if (i % 8 === 0) faults.inject({ status: 500, verb: 'list' });
      if (i % 8 === 1) faults.cutWatches();
      if (i % 8 === 2) faults.inject({ status: 429, retryAfterSeconds: 0, verb: 'watch' });
      if (i % 8 === 3) faults.compact();
      if (i % 8 === 4) faults.inject({ status: 410, verb: 'watch' });
      if (i % 8 === 5) faults.inject({ drop: true, resource: 'leases' });
      if (i % 8 === 6) faults.expireTokens(IPAM_SYNC_USER);
      if (i % 8 === 7) faults.restoreTokens(IPAM_SYNC_USER);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    faults.stallWatches(true);
    world.running('unseen', 'node-0', ['10.9.9.9']);
    const inactive = () => sync.metric('bailiff_ipam_sync_informer_inactive_total{resource="pods"}');
    await waitFor(async () => (await inactive()) > 0, { state: () => sync.metrics() });
    faults.cutWatches();
    faults.clear();
    const truth = (node: string) =>
      Object.fromEntries(
        world.kube.server.api
          .list('pods')
          .items.filter((pod) => (pod as unknown as { spec: { nodeName: string } }).spec.nodeName === node)
          .map((pod) => [pod.metadata.name, [(pod as unknown as { status: { podIP: string } }).status.podIP]])
          .sort(),
      );
    for (const node of ['node-0', 'node-1', 'node-2']) await shows(world, node, truth(node));
    expect(truth('node-0')).toHaveProperty('unseen');
    expect(await sync.stop()).toBe(0);
  });

  test('ipam-sync - the bus fails and recovers: changes of that time are written', async () => {
    await using world = await startWorld();
    world.running('web', 'node-1', ['10.1.0.5']);
    await using sync = await launch(world);
    await shows(world, 'node-1', { web: ['10.1.0.5'] });
    await world.nats.kill();
    world.running('meanwhile', 'node-1', ['10.1.0.6']);
    world.status('web', { phase: 'Failed' });
    await waitFor(async () => {
      const response = await fetch(`http://${sync.line('ready')?.probeAddress}/readyz`);
      return response.status === 503 && (await response.text()).includes('not connected');
    });
    await world.nats.restart();
    await shows(world, 'node-1', { meanwhile: ['10.1.0.6'] });
    expect(await sync.stop()).toBe(0);
  });

  test('ipam-sync - waits for a bus that is not up yet, and stops on SIGTERM', async () => {
    await using world = await startWorld();
    await world.nats.kill();
    const early = await launch(world, [], { ready: false });
    await waitFor(() => early.line('waiting for the bus'), { state: early.logLines });
    expect(await early.stop()).toBe(0);
    const patient = await launch(world, [], { ready: false });
    await waitFor(() => patient.line('waiting for the bus'));
    await world.nats.restart();
    await waitFor(() => patient.line('ready'), { state: patient.logLines });
    expect(await patient.stop()).toBe(0);
  });

  test.each([
    ['no kubeconfig', ['--kubeconfig', '/proc/nonexistent'], 6],
    ['an impossible timing', ['--renew-deadline-ms', '20000'], 2],
  ])('ipam-sync - %s ends it with its exit code', async (_, flags, code) => {
    await using world = await startWorld();
    const run = await launch(world, flags, { ready: false });
    expect(await run.exit).toBe(code);
  });
});
