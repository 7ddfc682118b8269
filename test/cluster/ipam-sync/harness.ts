/**
 * ipam-sync between a real nats-server and the API stand-in, with the rights from its manifests: in
 * this process (`launch`) or as a process of its own (`spawnApp`), which can be stopped and killed.
 */
import { chmodSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type Bucket, type Bus, ensureTopology, openBucket } from '@bailiff/bus';
import { startNats, type TestNats } from '@bailiff/bus/testing';
import { decodeSnapshotValue, type NodeSnapshot, nodeSnapshot } from '@bailiff/schemas';
import { type Clock, runService, systemClock } from '@bailiff/service';
import { captureIo, waitFor } from '@bailiff/service/testing';
import { configSchema } from '../../../apps/ipam-sync/src/config.ts';
import { start } from '../../../apps/ipam-sync/src/start.ts';
import { type KubeHarness, podObject, reportPod, startKube } from '../../support/kube.ts';
import { IPAM_SYNC_RULES, type KubeRule } from '../../support/kube-rules.ts';
import { launchBundle } from '../../support/process.ts';
import { accountUser, installAdmission } from '../admission/installed.ts';

const MERGE = 'application/merge-patch+json';

const rightsOf = (rules: readonly KubeRule[]) =>
  rules.map(({ apiGroups, resources, verbs, resourceNames, scope }) => ({
    apiGroups: [...apiGroups],
    resources: [...resources],
    verbs: [...verbs],
    ...(resourceNames ? { resourceNames: [...resourceNames] } : {}),
    ...(scope === 'cluster' ? {} : { namespace: 'bailiff-system' }),
  }));
export const IPAM_SYNC_USER = accountUser('bailiff-ipam-sync');
/** The rights of ipam-sync's manifests and those that a component adds, and no more. */
const tokensFor = (more: readonly KubeRule[]) => [
  { user: 'admin', token: 'token-admin', groups: ['system:masters'] },
  { user: IPAM_SYNC_USER, token: 'token-ipam-sync', allow: rightsOf([...IPAM_SYNC_RULES, ...more]) },
];

export interface World extends AsyncDisposable {
  kube: KubeHarness;
  nats: TestNats;
  admin: Bus;
  pods: Bucket;
  config: Bucket;
  flags(more?: string[]): string[];
  node(name: string, addresses: string[], podCidrs?: string[]): void;
  /** A running pod on a node, with addresses. An absent node is created. */
  running(name: string, node: string, addresses: string[], more?: PodChange): string;
  status(name: string, status: object): void;
  remove(name: string): void;
  /** A node's snapshot as a collector reads it; null if there is none. */
  snapshot(node: string): Promise<NodeSnapshot | null>;
  /** Names to addresses of a node's pods. */
  addresses(node: string): Promise<Record<string, string[]> | null>;
}
export interface PodChange {
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  spec?: object;
  metadata?: object;
}

/** Watches without events are reopened quickly. For tests that stall watches. */
export const WATCHFUL = ['--inactivity-ms', '2000'];
/**
 * Another replica leads shortly after the leader's end. Not for tests that need a stable leader: a
 * process may be delayed for longer.
 */
export const SHORT_LEASE = ['--lease-duration-ms', '1500', '--renew-deadline-ms', '1000'];

/**
 * A command line for this bus and API server, with times for tests; `dir` is for the password. The
 * last value of a repeated flag counts.
 */
export function syncFlags(nats: TestNats, kubeconfig: string, dir: string): World['flags'] {
  const passwordFile = path.join(dir, 'nats-password');
  writeFileSync(passwordFile, nats.options('ipam-sync').password ?? '');
  chmodSync(passwordFile, 0o600);
  return (more = []) => [
    ...['--nats-url', nats.url, '--nats-user', 'ipam-sync', '--nats-password-file', passwordFile],
    ...['--kubeconfig', kubeconfig, '--inactivity-ms', '30000'],
    ...['--lease-duration-ms', '15000', '--renew-deadline-ms', '10000', '--retry-ms', '200'],
    ...['--mirror-retry-ms', '1000', '--mirror-status-ms', '500'],
    ...more,
  ];
}

/** @param rules of ipam-sync besides those of its manifests */
export async function startWorld(rules: readonly KubeRule[] = []): Promise<World> {
  const [kube, nats] = await Promise.all([startKube({ tokens: tokensFor(rules) }), startNats()]);
  kube.server.api.create('namespaces', { metadata: { name: 'bailiff-system' } });
  installAdmission(kube.server, 'taint-unguarded');
  const admin = await nats.connect('admin');
  await ensureTopology(admin);
  const pods = openBucket(admin, 'bailiff_pods');
  const { api } = kube.server;
  const key = (node: string) => node.replaceAll('.', '_');
  const snapshot = async (node: string) => {
    const entry = await pods.get(key(node));
    return entry && nodeSnapshot.parse(JSON.parse(decodeSnapshotValue(entry.value)));
  };
  const status = (name: string, value: object, namespace = 'default') =>
    void reportPod(api, { namespace, name }, value);
  return {
    kube,
    nats,
    admin,
    pods,
    config: openBucket(admin, 'bailiff_config'),
    flags: syncFlags(nats, kube.server.kubeconfigPath(IPAM_SYNC_USER), kube.dir),
    node(name, addresses, podCidrs = []) {
      const reported = { addresses: addresses.map((address) => ({ type: 'InternalIP', address })) };
      api.create('nodes', { metadata: { name }, spec: { podCIDRs: podCidrs, podCIDR: podCidrs[0] } });
      api.patch('nodes', { name }, MERGE, { status: reported }, { subresource: 'status' });
    },
    running(name, node, addresses, { labels = {}, annotations = {}, spec = {}, metadata = {} } = {}) {
      if (kube.server.store.get('nodes', node) === undefined) api.create('nodes', { metadata: { name: node } });
      const object = podObject(name, {
        metadata: { namespace: 'default', labels, annotations, ...metadata },
        spec: { nodeName: node, ...spec },
      });
      const made = api.create('pods', object);
      const podIPs = addresses.map((ip) => ({ ip }));
      const { namespace } = made.metadata;
      if (addresses.length > 0) status(name, { phase: 'Running', podIP: addresses[0], podIPs }, namespace);
      return made.metadata.uid;
    },
    status,
    remove: (name) => void api.delete('pods', { namespace: 'default', name }, { gracePeriodSeconds: 0 }),
    snapshot,
    async addresses(node) {
      const held = await snapshot(node);
      if (held === null) return null;
      return Object.fromEntries(held.pods.map((pod) => [pod.name, pod.interfaces.flatMap((i) => i.addresses)]).sort());
    },
    async [Symbol.asyncDispose]() {
      await nats.stop();
      await kube[Symbol.asyncDispose]();
    },
  };
}

/**
 * A clock that runs `factor` times faster while it is read regularly. While this process is
 * delayed, the clock and the test's timers stop almost completely. So a long silence on this clock
 * never results from a delay.
 */
export function fastClock(factor: number): Clock {
  const MOMENT_MS = 250;
  let atMs = 0;
  let seenMs = performance.now();
  const monotonicMs = () => {
    const nowMs = performance.now();
    atMs += Math.min(nowMs - seenMs, MOMENT_MS) * factor;
    seenMs = nowMs;
    return atMs;
  };
  return {
    ...systemClock,
    monotonicMs,
    sleep: (delayMs, signal) => systemClock.sleep(delayMs / factor, signal),
  };
}

/** Runs it in this process; resolves when it is ready, or at once if `ready` is false. */
export async function launch(
  world: Pick<World, 'flags'>,
  more: string[] = [],
  { ready = true, clock = systemClock }: { ready?: boolean; clock?: Clock } = {},
) {
  const captured = captureIo();
  const io = { ...captured.io, clock };
  const exit = runService({ name: 'ipam-sync', argv: world.flags(more), schema: configSchema, start, io });
  const line = (msg: string) => captured.logLines().find((entry) => entry.msg === msg);
  if (ready) await waitFor(() => line('ready'), { state: captured.logLines });
  return {
    ...captured,
    line,
    exit,
    async stop() {
      captured.signal();
      return exit;
    },
    metric: (name: string) => metricOf(String(line('ready')?.metricsAddress), name),
    /** All metrics of Bailiff, for failure messages. */
    metrics: async () =>
      (await metricsOf(String(line('ready')?.metricsAddress))).split('\n').filter((text) => /^bailiff_ipam/.test(text)),
    async [Symbol.asyncDispose]() {
      captured.signal();
      captured.signal();
      await exit;
    },
  };
}

async function metricsOf(address: string): Promise<string> {
  return (await fetch(`http://${address}/metrics`)).text();
}

/** Value of a metric, with its labels if it has some. */
export async function metricOf(address: string, name: string): Promise<number> {
  const text = await metricsOf(address);
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${name} `));
  return Number(line?.slice(name.length + 1));
}

/** Starts the bundle in a process of its own; resolves when it is ready. */
export async function spawnApp(world: World, more: string[] = [], nodeFlags: string[] = []) {
  const app = launchBundle('ipam-sync', world.flags(more), nodeFlags);
  const address = String((await app.logged('ready'))['metricsAddress']);
  const metric = (name: string) => metricOf(address, name);
  return {
    ...app,
    line: (message: string) => app.lines().find(({ msg }) => msg === message),
    metric,
    leads: async () => (await metric('bailiff_ipam_sync_leader')) === 1,
  };
}
