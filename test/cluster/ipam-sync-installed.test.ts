// ipam-sync as installed: kubectl applies its manifests with the taint component, and it runs with
// the token of its account. RBAC and the admission policy check its requests. Targets: the
// stand-in, which has no RBAC, and a real API server if one is named.
import { type Bus, ensureTopology, openBucket } from '@bailiff/bus';
import { startNats, type TestNats } from '@bailiff/bus/testing';
import { SPOOF_CLUSTER_KEY } from '@bailiff/policy';
import type { RuntimeStatus } from '@bailiff/schemas';
import { sampleRuntimeStatus } from '@bailiff/schemas/testing';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
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

/** The containers of a pod, with fields of each kind that the API server completes. */
const programSpec = () => ({
  initContainers: [{ name: 'init', image: 'x' }],
  containers: [
    {
      name: 'main',
      image: 'x:1',
      ports: [{ name: 'http', containerPort: 8080 }],
      env: [
        { name: 'POD', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
        { name: 'CPU', valueFrom: { resourceFieldRef: { resource: 'limits.cpu' } } },
        { name: 'EMPTY', value: '' },
      ],
      envFrom: [{ configMapRef: { name: 'config' } }],
      livenessProbe: { httpGet: { port: 'http' } },
      startupProbe: { grpc: { port: 9090 } },
      lifecycle: { preStop: { exec: { command: ['/stop'] } } },
      volumeMounts: ['config', 'secret', 'own', 'host', 'more'].map((name) => ({ name, mountPath: `/${name}` })),
    },
  ],
  volumes: [
    { name: 'config', configMap: { name: 'config' } },
    { name: 'secret', secret: { secretName: 'secret' } },
    { name: 'own', downwardAPI: { items: [{ path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } }] } },
    { name: 'host', hostPath: { path: '/srv' } },
    { name: 'more', projected: { sources: [{ configMap: { name: 'config' } }] } },
  ],
});

/** A minute of silence takes seconds. */
const FAST = fastClock(20);
const targets = kubectlTargets(process.env);

describe.each(targets)('ipam-sync installed: $name', ({ start }) => {
  const dir = temporaryDirectory();
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
      // A real server adds its own taints to a new node, and ignores the status in it.
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
  });

  const node = (name: string) => ({
    metadata: { name, labels: { 'kubernetes.io/os': 'linux' }, annotations: { note: 'mine' } },
    spec: { taints: name === 'a' ? [GPU] : null },
  });
  const get = async (resource: string) => JSON.parse(await target.kubectl.ok('get', resource, '-o', 'json'));
  const report = (name: string, policies: RuntimeStatus['policies'] = []) => {
    const runtime = sampleRuntimeStatus({ subjects: 1, sets: 1, policies });
    return openBucket(admin, 'bailiff_nodes').put(name, JSON.stringify(healthyStatus(name, { runtime })));
  };

  test('a running pod is on the bus with its Deployment as owner, a forged one without', async () => {
    const apps = '/apis/apps/v1/namespaces/default';
    const template = { metadata: { labels: { app: 'web' } }, spec: programSpec() };
    const spec = { selector: { matchLabels: { app: 'web' } }, template };
    const made = async (url: string, object: object) => expectStatus(await target.client.post(url, object), 201).body;
    const owner = (kind: string, { name, uid }: { name: string; uid: string }) => ({
      ownerReferences: [{ apiVersion: 'apps/v1', kind, name, uid, controller: true }],
    });
    // Admission changes pods and not templates.
    const limit = { type: 'Container', default: { cpu: '1' }, defaultRequest: { memory: '1Mi' } };
    if (target.isReal)
      await made('/api/v1/namespaces/default/limitranges', { metadata: { name: 'limits' }, spec: { limits: [limit] } });
    const { metadata: deployment } = await made(`${apps}/deployments`, { metadata: { name: 'web' }, spec });
    const set = await made(`${apps}/replicasets`, {
      metadata: { name: 'web-1', ...owner('Deployment', deployment) },
      spec,
    });
    const pods = '/api/v1/namespaces/default/pods';
    // As a controller does: a copy of the template as the server stores it.
    const run = async (name: string, address: string, program: object) => {
      const metadata = { name, labels: { app: 'web' }, ...owner('ReplicaSet', set['metadata']) };
      await made(pods, { metadata, spec: { ...program, nodeName: 'b' } });
      const status = { phase: 'Running', podIP: address, podIPs: [{ ip: address }] };
      expectStatus(await target.client.patch(`${pods}/${name}/status`, 'merge', { status }), 200);
    };
    const stored = set['spec'].template.spec;
    await run('web-1-x', '10.1.0.5', stored);
    await run('forged', '10.1.0.6', { ...stored, initContainers: [{ name: 'init', image: 'attacker/tool' }] });
    const listed = async () => {
      const entry = await openBucket(admin, 'bailiff_pods').get('b');
      const { pods = [] } = JSON.parse(entry?.value.toString() ?? '{}');
      return Object.fromEntries(pods.map((pod: { name: string }) => [pod.name, pod]));
    };
    const found = await waitFor(
      async () => {
        const { forged, 'web-1-x': honest } = await listed();
        return forged?.interfaces[0] && honest?.interfaces[0] && honest.owners.length === 2 && { forged, honest };
      },
      { what: 'the pods on the bus', state: listed, timeoutMs: 20_000 },
    );
    expect(found.honest.interfaces[0].addresses).toEqual(['10.1.0.5']);
    expect(found.honest.owners.map(({ kind, name }: { kind: string; name: string }) => `${kind}/${name}`)).toEqual([
      'ReplicaSet/web-1',
      'Deployment/web',
    ]);
    expect(found.forged).toMatchObject({ owners: [], unowned: true });
  });

  test('a policy from kubectl is on the bus, and its status counts the nodes where it is in force', async () => {
    const policy = {
      apiVersion: 'bailiff.dev/v1alpha1',
      kind: 'RuntimePolicy',
      metadata: { name: 'no-shell' },
      spec: { mode: 'enforce', rules: [{ name: 'shell', action: 'block', execute: { paths: ['/bin/sh'] } }] },
    };
    for (const name of NODES) await report(name);
    const { code, stderr } = await target.kubectl.run(['create', '-f', '-'], JSON.stringify(policy));
    expect([code, stderr]).toEqual([0, '']);
    const inForce = async () => (await get('rtp/no-shell')).status?.inForce;
    const comesTo = (wanted: string) =>
      waitFor(async () => (await inForce()) === wanted, { what: wanted, state: inForce, timeoutMs: 20_000 });
    await comesTo('0/4');
    const held = { key: KEY, revision: 1, state: 'in-force', reason: '', subjects: 1 } as const;
    for (const name of ['a', 'b', 'c']) await report(name, [held]);
    await comesTo('3/4');
    await report('d', [{ ...held, state: 'refused', reason: 'no \u001b[8mroom' }]);
    const conditions = async () => (await get('rtp/no-shell')).status.conditions as Record<string, string>[];
    const refused = await waitFor(
      async () => (await conditions()).find(({ type, message }) => type === 'InForce' && message?.includes('room')),
      { what: 'the refusal', state: conditions, timeoutMs: 20_000 },
    );
    const message = 'd: "no \\u001b[8mroom"';
    expect(refused).toMatchObject({ status: 'False', reason: 'NotEverywhere', message });
    expect(await target.kubectl.ok('describe', 'rtp', 'no-shell')).toContain(message);
    await report('d', [held]);
    await comesTo('4/4');
    expect(await target.kubectl.ok('get', 'rtp', 'no-shell')).toMatch(
      /no-shell +enforce +medium +true +True +Written +4\/4 +1 /,
    );
    // A change of the status is no change of the policy.
    expect((await get('rtp/no-shell')).metadata.generation).toBe(1);
  });

  test('a silent node is tainted and otherwise unchanged; once guarded again, the taint is removed', async () => {
    expect(await sync.stop()).toBe(0);
    const speaking = new Set(NODES);
    const timer = setInterval(() => {
      for (const name of speaking) report(name).catch(() => {});
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
