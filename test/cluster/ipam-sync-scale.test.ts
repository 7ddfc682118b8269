// An ordinary large cluster: 10,000 pods on 100 nodes.
import { readFileSync } from 'node:fs';
import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { spawnApp, startWorld, type World } from './ipam-sync/harness.ts';

const NODES = 100;
const PODS_PER_NODE = 100;
/**
 * Without limits, V8 keeps 170 MB of garbage from the list. The used heap is a third of this limit.
 */
const NODE_FLAGS = ['--max-semi-space-size=1', '--max-old-space-size=96'];
/** The idle process takes 90 MB; a client that keeps whole objects took 330 MB. */
const MAX_RSS_MB = 150;

const rssMb = (pid: number) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
const ip = (node: number, pod: number) => `10.${node}.0.${pod + 1}`;

/** Pods of an ordinary size: some 5 kB each. */
function fill(world: World): void {
  const env = Array.from({ length: 20 }, (_, i) => ({ name: `VARIABLE_${i}`, value: 'x'.repeat(80) }));
  const container = {
    name: 'main',
    image: 'registry/app:1',
    env,
    readinessProbe: { httpGet: { port: 8080, path: '/' } },
  };
  for (let node = 0; node < NODES; node++) {
    world.node(`node-${node}`, [`192.0.2.${node + 1}`]);
    for (let pod = 0; pod < PODS_PER_NODE; pod++) {
      world.running(`pod-${node}-${pod}`, `node-${node}`, [ip(node, pod), `fd00:${node.toString(16)}::${pod + 1}`], {
        labels: { app: `app-${pod % 20}`, 'pod-template-hash': `${node}` },
        annotations: { note: 'y'.repeat(1500) },
        spec: { containers: [container, { ...container, name: 'proxy' }] },
      });
    }
  }
}

test('ipam-sync - 10,000 pods: listed by pages, written, followed, in bounded memory', async () => {
  await using world = await startWorld();
  fill(world);
  const startedAtMs = performance.now();
  await using app = await spawnApp(world, [], NODE_FLAGS);
  await waitFor(async () => (await app.metric('bailiff_ipam_sync_snapshot_writes_total')) >= NODES + 1, {
    timeoutMs: 120_000,
    state: () => app.metric('bailiff_ipam_sync_snapshot_writes_total'),
  });
  const settledMs = performance.now() - startedAtMs;
  expect(await app.metric('bailiff_ipam_sync_pods')).toBe(NODES * PODS_PER_NODE);
  expect(world.kube.server.requests.count({ verb: 'list', resource: 'pods' })).toBe((NODES * PODS_PER_NODE) / 500);
  const snapshot = await world.snapshot('node-42');
  expect(snapshot?.pods).toHaveLength(PODS_PER_NODE);
  expect(snapshot?.pods.find(({ name }) => name === 'pod-42-7')).toMatchObject({
    interfaces: [{ name: 'eth0', addresses: ['10.42.0.8', 'fd00:2a::8'], mac: null }],
    probePorts: [{ port: 8080, protocol: 'TCP' }],
  });

  // A rolling change of 1,000 pods, and the latency of single changes meanwhile.
  for (let node = 0; node < NODES; node++) {
    for (let pod = 0; pod < 10; pod++) world.status(`pod-${node}-${pod}`, { podIPs: [{ ip: ip(node, pod + 200) }] });
  }
  await waitFor(async () => (await world.addresses('node-99'))?.['pod-99-9']?.[0] === ip(99, 209), {
    timeoutMs: 30_000,
  });
  const latenciesMs: number[] = [];
  for (let i = 0; i < 40; i++) {
    const name = `late-${i}`;
    const bornAtMs = performance.now();
    world.running(name, `node-${i}`, [`10.200.0.${i + 1}`]);
    await waitFor(async () => (await world.addresses(`node-${i}`))?.[name]?.length === 1, { intervalMs: 2 });
    latenciesMs.push(performance.now() - bornAtMs);
  }
  latenciesMs.sort((a, b) => a - b);
  const rss = rssMb(app.pid);
  console.log(
    `10,000 pods: written after ${Math.round(settledMs)} ms, ${Math.round(rss)} MB RSS; ` +
      `one pod: median ${Math.round(latenciesMs[20] ?? 0)} ms, worst ${Math.round(latenciesMs[39] ?? 0)} ms`,
  );
  expect(rss).toBeLessThan(MAX_RSS_MB);
  app.kill('SIGTERM');
  expect(await app.exit).toEqual([0, null]);
  // It uses two processors for half a minute, if there are two.
}, 300_000);
