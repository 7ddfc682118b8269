/**
 * What each part of the control plane uses by number of nodes, at rest and under attack: the real bus,
 * correlator, responder, ipam-sync and Redis, an API stand-in, and the halves of collectors that talk to
 * the bus. The basis of docs/sizing.md.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureTopology, openBucket } from '@bailiff/bus';
import { freePort, startNats, type TestNats, testUsers } from '@bailiff/bus/testing';
import { pause } from '@bailiff/service/retry';
import { waitFor } from '@bailiff/service/testing';
import { podObject, reportPod, startKube } from '../support/kube.ts';
import { launch } from '../support/process.ts';
import { startRedis } from '../support/redis.ts';
import { cpuSeconds, residentMb, startApp } from './app-process.ts';
import { fixed, type Section, thousands } from './report.ts';
import type { NodesPlan } from './sizing-nodes.ts';

const NODES = (process.env['BAILIFF_SIZING_NODES'] ?? '10,50,200,1000')
  .split(',')
  .map(Number)
  .filter((nodes) => nodes > 0);
const PODS = 50;
const LARGEST_NODES = Number(process.env['BAILIFF_SIZING_LARGEST'] ?? 5_000);
/** Four times the default: 2.4 kB for each of 250,000 pods fit. */
const LARGEST_BYTES = 1024 ** 3;
/** Part of the nodes with one flooding pod. */
const ATTACKED = [0, 0.01, 0.1] as const;
/** Until verdicts and responses of the attack's first seconds are over. */
const WARM_MS = 15_000;
const MEASURE_MS = 40_000;
const PARTS = ['nats', 'correlator', 'responder', 'ipam-sync', 'redis'] as const;

interface Reading {
  cpu: Record<(typeof PARTS)[number], number>;
  inMessages: number;
  inBytes: number;
  outMessages: number;
  outBytes: number;
  storedBytes: number;
  atMs: number;
}

function fileIn(directory: string, name: string, text: string): string {
  writeFileSync(path.join(directory, name), text, { mode: 0o600 });
  return path.join(directory, name);
}

/** Starts an app with its own login on the bus. */
const appOf = (nats: TestNats, directory: string) => (name: 'correlator' | 'responder' | 'ipam-sync', more: string[]) =>
  startApp(name, [
    ...['--nats-url', nats.url, '--nats-user', name],
    ...['--nats-password-file', fileIn(directory, name, `password-of-${name}`), ...more],
  ]);

async function measure(nodes: number, attacked: number): Promise<string[]> {
  const names = Array.from({ length: nodes }, (_, n) => `node-${n}`);
  const monitorPort = await freePort();
  const directory = mkdtempSync(path.join(tmpdir(), 'bailiff-sizing-'));
  await using nats = await startNats({ users: testUsers(names), monitorPort });
  await using redis = await startRedis();
  await using kube = await startKube();
  const { api } = kube.server;
  api.create('namespaces', { metadata: { name: 'bailiff-system' } });
  const bus = await nats.connect('admin');
  await ensureTopology(bus);
  const plan: NodesPlan = {
    url: nats.url,
    nodes: names.map((name, at) => nodeWithPods(api, name, at, attacked * nodes)),
  };
  const app = appOf(nats, directory);
  const kubeconfig = ['--kubeconfig', kube.server.kubeconfigPath()];
  await using sync = app('ipam-sync', kubeconfig);
  await using correlator = app('correlator', []);
  await using responder = app('responder', [...kubeconfig, '--redis-url', redis.url]);
  const bucket = openBucket(bus, 'bailiff_pods');
  for (const name of names) await waitFor(async () => (await bucket.get(name)) !== null, { timeoutMs: 120_000 });
  const script = fileURLToPath(new URL('./sizing-nodes.ts', import.meta.url));
  const args = [
    '--max-old-space-size=8192',
    '--import',
    'tsx',
    script,
    fileIn(directory, 'plan.json', JSON.stringify(plan)),
  ];
  const began = performance.now();
  await using collectors = launch(process.execPath, args);
  await waitFor(() => collectors.out().includes('connected'), { timeoutMs: 300_000, state: collectors.out });
  const connectedS = (performance.now() - began) / 1000;
  const pids = {
    nats: nats.pid,
    correlator: correlator.pid,
    responder: responder.pid,
    'ipam-sync': sync.pid,
    redis: redis.pid,
  };
  const read = async (): Promise<Reading> => {
    const get = async (page: string) =>
      (await fetch(`http://127.0.0.1:${monitorPort}/${page}`)).json() as Promise<Record<string, number>>;
    const [varz, jsz] = await Promise.all([get('varz'), get('jsz')]);
    return {
      cpu: Object.fromEntries(PARTS.map((part) => [part, cpuSeconds(pids[part])])),
      inMessages: varz['in_msgs'],
      inBytes: varz['in_bytes'],
      outMessages: varz['out_msgs'],
      outBytes: varz['out_bytes'],
      storedBytes: jsz['storage'],
      atMs: performance.now(),
    } as Reading;
  };
  await pause(WARM_MS);
  const first = await read();
  await pause(MEASURE_MS);
  const last = await read();
  const seconds = (last.atMs - first.atMs) / 1000;
  const rate = (key: 'inMessages' | 'inBytes' | 'outMessages' | 'outBytes' | 'storedBytes') =>
    (last[key] - first[key]) / seconds;
  const load = PARTS.map((part) => {
    const cores = (last.cpu[part] - first.cpu[part]) / seconds;
    return `${fixed(100 * cores)} % · ${fixed(residentMb(pids[part]), 0)} MB`;
  });
  await bus.close();
  rmSync(directory, { recursive: true, force: true });
  console.error(`${nodes} nodes, ${attacked}: connected in ${fixed(connectedS)} s`);
  return [
    thousands(nodes),
    attacked === 0 ? 'none' : `${100 * attacked} %`,
    ...load,
    `${fixed(rate('inMessages'))} in, ${fixed(rate('outMessages'))} out`,
    `${fixed(rate('inBytes') / 1000)} kB in, ${fixed(rate('outBytes') / 1000)} kB out`,
    `${fixed(rate('storedBytes') / 1000)} kB`,
  ];
}

type Api = Awaited<ReturnType<typeof startKube>>['server']['api'];

function nodeWithPods(api: Api, name: string, at: number, attacked: number): NodesPlan['nodes'][number] {
  const address = (n: number) => `10.${(at >> 8) & 255}.${at & 255}.${n}`;
  api.create('nodes', { metadata: { name } });
  const pods = Array.from({ length: PODS }, (_, n) => {
    const pod = `${name}-pod-${n}`;
    const made = api.create(
      'pods',
      podObject(pod, { metadata: { namespace: 'default', labels: { app: 'web' } }, spec: { nodeName: name } }),
    );
    const podIP = address(n + 2);
    reportPod(api, { namespace: 'default', name: pod }, { phase: 'Running', podIP, podIPs: [{ ip: podIP }] });
    return { uid: made.metadata.uid, name: pod };
  });
  return { name, pods, isAttacked: at < attacked };
}

/** ipam-sync alone, in a cluster larger than its default allows. */
async function largest(): Promise<string[]> {
  const nodes = LARGEST_NODES;
  await using nats = await startNats();
  await using kube = await startKube();
  const { api } = kube.server;
  api.create('namespaces', { metadata: { name: 'bailiff-system' } });
  const bus = await nats.connect('admin');
  await ensureTopology(bus);
  for (let at = 0; at < nodes; at += 1) nodeWithPods(api, `node-${at}`, at, 0);
  const directory = mkdtempSync(path.join(tmpdir(), 'bailiff-sizing-'));
  const began = performance.now();
  await using sync = appOf(nats, directory)('ipam-sync', [
    ...['--kubeconfig', kube.server.kubeconfigPath(), '--max-pod-bytes', String(LARGEST_BYTES)],
    // The stand-in's pages of a list cost as much as the list.
    ...['--page-limit', '5000'],
  ]);
  const keys = async () => (await openBucket(bus, 'bailiff_pods').keys('>')).length;
  await waitFor(async () => (await keys()) > nodes, { timeoutMs: 1_800_000, intervalMs: 5_000, state: sync.log });
  const listedS = (performance.now() - began) / 1000;
  const cpuS = cpuSeconds(sync.pid);
  const peakMb = residentMb(sync.pid);
  await pause(WARM_MS);
  const text = `ipam-sync: ${thousands(nodes * PODS)} pods on ${thousands(nodes)} nodes listed after ${fixed(listedS)} s, ${fixed(cpuS)} s of CPU; ${fixed(peakMb, 0)} MB then, ${fixed(residentMb(sync.pid), 0)} MB ${WARM_MS / 1000} s later, NATS ${fixed(residentMb(nats.pid), 0)} MB`;
  await bus.close();
  rmSync(directory, { recursive: true, force: true });
  console.error(text);
  return [thousands(nodes), 'ipam-sync alone', '', '', '', `${fixed(peakMb, 0)} MB`, '', '', '', ''];
}

export async function bench(): Promise<Section> {
  const rows: string[][] = [];
  for (const nodes of NODES)
    for (const attacked of ATTACKED)
      if (attacked * nodes >= 1 || attacked === 0) rows.push(await measure(nodes, attacked));
  if (LARGEST_NODES > 0) rows.push(await largest());
  return {
    title: 'Control plane by number of nodes',
    method: `${PODS} pods a node. Real nats-server, correlator, responder, ipam-sync and Redis; an API stand-in; the halves of collectors that talk to the bus, without kernel. On a node under attack one pod floods. After ${WARM_MS / 1000} s, averages of ${MEASURE_MS / 1000} s. Per part: CPU as a percentage of one core, and resident memory.`,
    header: ['nodes', 'under attack', ...PARTS, 'messages/s', 'bytes/s of the bus', 'stored/s'],
    rows,
    budgets: [],
  };
}
