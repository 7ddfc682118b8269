// ipam-sync as it is installed: its manifests with the taint component applied by kubectl, and it at work with the token of its account, so that
// RBAC and the admission policy are between it and the server. At the stand-in, which has no RBAC, and at a real API server where one is named.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Bus, ensureTopology, openBucket } from '@bailiff/bus';
import { startNats, type TestNats } from '@bailiff/bus/testing';
import { SPOOF_CLUSTER_KEY } from '@bailiff/policy';
import type { RuntimeStatus } from '@bailiff/schemas';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { objectsWith } from '../k8s/rendered.ts';
import { healthyStatus } from './cli/world.ts';
import { expectStatus } from './contract/fixtures.ts';
import {
  applyObjects,
  type KubectlTarget,
  kubectlTargets,
  NO_REAL,
  START_TIMEOUT_MS,
} from './contract/kubectl-target.ts';
import { fastClock, launch, syncFlags } from './ipam-sync/harness.ts';

const ACCOUNT = { namespace: 'bailiff-system', name: 'bailiff-ipam-sync' };
const KEY = 'runtime.cluster._.no-shell';
const GPU = { key: 'example.org/gpu', value: 'yes', effect: 'NoSchedule' };
const OURS = 'bailiff.dev/unguarded:NoSchedule';
const NODES = ['a', 'b', 'c', 'd'];

/** A minute of silence takes seconds. */
const FAST = fastClock(20);
const targets = kubectlTargets(process.env);

describe.each(targets)('ipam-sync installed: $name', ({ start }) => {
  const dir = mkdtempSync(path.join(tmpdir(), 'bailiff-installed-'));
  let target: KubectlTarget;
  let nats: TestNats;
  let admin: Bus;
  let flags: ReturnType<typeof syncFlags>;
  let sync: Awaited<ReturnType<typeof launch>>;

  beforeAll(async () => {
    [target, nats] = await Promise.all([start([ACCOUNT]), startNats()]);
    const { code, stderr } = await applyObjects(target, objectsWith('included', ['taint-unguarded']));
    expect([code, stderr]).toEqual([0, expect.any(String)]);
    admin = await nats.connect('admin');
    await ensureTopology(admin);
    for (const name of NODES) {
      expectStatus(await target.client.post('/api/v1/nodes', node(name)), 201);
      // A real server adds taints of its own to a node that is made, and takes no status with it.
      expectStatus(await target.client.patch(`/api/v1/nodes/${name}`, 'merge', node(name)), 200);
      const status = { addresses: [{ type: 'InternalIP', address: '192.0.2.1' }] };
      expectStatus(await target.client.patch(`/api/v1/nodes/${name}/status`, 'merge', { status }), 200);
    }
    flags = syncFlags(nats, (await target.as(ACCOUNT)).kubeconfig, dir);
    sync = await launch({ flags });
  }, START_TIMEOUT_MS);
  afterAll(async () => {
    await sync?.stop();
    await nats?.stop();
    await target?.[Symbol.asyncDispose]();
    rmSync(dir, { recursive: true, force: true });
  });

  const node = (name: string) => ({
    metadata: { name, labels: { 'kubernetes.io/os': 'linux' }, annotations: { note: 'mine' } },
    spec: { taints: name === 'a' ? [GPU] : null },
  });
  const get = async (resource: string) => JSON.parse(await target.kubectl.ok('get', resource, '-o', 'json'));
  const tell = (name: string, policies: RuntimeStatus['policies'] = []) => {
    const runtime: RuntimeStatus = {
      ...{ state: 'available', reason: '', remedy: '', missingHooks: [], policiesOmitted: 0, subjects: 1, sets: 1 },
      ...{ losses: {}, maps: [], policies },
    };
    return openBucket(admin, 'bailiff_nodes').put(name, JSON.stringify(healthyStatus(name, { runtime })));
  };

  test('a pod that runs is on the bus, with its Deployment as owner', async () => {
    const apps = '/apis/apps/v1/namespaces/default';
    const template = { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'main', image: 'x' }] } };
    const spec = { selector: { matchLabels: { app: 'web' } }, template };
    const made = expectStatus(
      await target.client.post(`${apps}/deployments`, { metadata: { name: 'web' }, spec }),
      201,
    );
    const owner = (kind: string, { name, uid }: { name: string; uid: string }) => ({
      ownerReferences: [{ apiVersion: 'apps/v1', kind, name, uid, controller: true }],
    });
    const set = expectStatus(
      await target.client.post(`${apps}/replicasets`, {
        metadata: { name: 'web-1', ...owner('Deployment', made.body['metadata']) },
        spec,
      }),
      201,
    );
    const pods = '/api/v1/namespaces/default/pods';
    const pod = {
      metadata: { name: 'web-1-x', labels: { app: 'web' }, ...owner('ReplicaSet', set.body['metadata']) },
      spec: { ...template.spec, nodeName: 'b' },
    };
    expectStatus(await target.client.post(pods, pod), 201);
    const status = { phase: 'Running', podIP: '10.1.0.5', podIPs: [{ ip: '10.1.0.5' }] };
    expectStatus(await target.client.patch(`${pods}/web-1-x/status`, 'merge', { status }), 200);
    const snapshot = async () => (await openBucket(admin, 'bailiff_pods').get('b'))?.value.toString() ?? '{}';
    const found = await waitFor(
      async () => {
        const text = await snapshot();
        const [pod] = JSON.parse(text).pods ?? [];
        return pod?.interfaces[0] && pod.owners.length === 2 && text;
      },
      {
        what: 'the pod on the bus',
        state: snapshot,
        timeoutMs: 20_000,
      },
    );
    const [told] = JSON.parse(found).pods;
    expect(told.interfaces[0].addresses).toEqual(['10.1.0.5']);
    expect(told.owners.map(({ kind, name }: { kind: string; name: string }) => `${kind}/${name}`)).toEqual([
      'ReplicaSet/web-1',
      'Deployment/web',
    ]);
  });

  test('a policy of kubectl is on the bus, and where it is in force is in its status', async () => {
    const policy = {
      apiVersion: 'bailiff.dev/v1alpha1',
      kind: 'RuntimePolicy',
      metadata: { name: 'no-shell' },
      spec: { mode: 'enforce', rules: [{ name: 'shell', action: 'block', execute: { paths: ['/bin/sh'] } }] },
    };
    for (const name of NODES) await tell(name);
    const { code, stderr } = await target.kubectl.run(['create', '-f', '-'], JSON.stringify(policy));
    expect([code, stderr]).toEqual([0, '']);
    const inForce = async () => (await get('rtp/no-shell')).status?.inForce;
    const comesTo = (wanted: string) =>
      waitFor(async () => (await inForce()) === wanted, { what: wanted, state: inForce, timeoutMs: 20_000 });
    await comesTo('0/4');
    const held = { key: KEY, revision: 1, state: 'in-force', reason: '', subjects: 1 } as const;
    for (const name of ['a', 'b', 'c']) await tell(name, [held]);
    await comesTo('3/4');
    await tell('d', [{ ...held, state: 'refused', reason: 'no room' }]);
    const conditions = async () => (await get('rtp/no-shell')).status.conditions as Record<string, string>[];
    const refused = await waitFor(
      async () => (await conditions()).find(({ type, message }) => type === 'InForce' && message === 'd: no room'),
      { what: 'the refusal', state: conditions, timeoutMs: 20_000 },
    );
    expect(refused).toMatchObject({ status: 'False', reason: 'NotEverywhere' });
    await tell('d', [held]);
    await comesTo('4/4');
    expect(await target.kubectl.ok('get', 'rtp', 'no-shell')).toMatch(
      /no-shell +enforce +medium +true +True +Written +4\/4 +1 /,
    );
    // What the status says is no change of the policy.
    expect((await get('rtp/no-shell')).metadata.generation).toBe(1);
  });

  test('a silent node is tainted and nothing else of it is changed; guarded again, it is as it was', async () => {
    expect(await sync.stop()).toBe(0);
    const speaking = new Set(NODES);
    const timer = setInterval(() => {
      for (const name of speaking) tell(name).catch(() => {});
    }, 150);
    try {
      const setting = { taint: 'NoSchedule', after: '60s', maxPercent: 25 };
      await openBucket(admin, 'bailiff_config').put(SPOOF_CLUSTER_KEY, JSON.stringify({ unguardedNodes: setting }));
      const before = await get('node/a');
      sync = await launch({ flags }, [], { clock: FAST });
      speaking.delete('a');
      const taints = async () =>
        (await get('node/a')).spec.taints.map(({ key, effect }: typeof GPU) => `${key}:${effect}`).join();
      const become = (wanted: string) =>
        waitFor(async () => (await taints()) === wanted, {
          what: wanted,
          state: async () => ({ taints: await taints(), log: sync.logLines().slice(-5) }),
          timeoutMs: 60_000,
        });
      await become(`example.org/gpu:NoSchedule,${OURS}`);
      const { spec, metadata } = await get('node/a');
      expect({ ...spec, taints: [GPU] }).toEqual(before.spec);
      expect([metadata.labels, metadata.annotations]).toEqual([before.metadata.labels, before.metadata.annotations]);
      speaking.add('a');
      await become('example.org/gpu:NoSchedule');
      expect((await get('node/a')).spec).toEqual(before.spec);
      expect(await sync.metric('bailiff_ipam_sync_taint_problem')).toBe(0);
    } finally {
      clearInterval(timer);
    }
  }, 120_000);
});

if (targets.length === 1) test('ipam-sync installed: a real API server', ({ skip }) => skip(NO_REAL));
