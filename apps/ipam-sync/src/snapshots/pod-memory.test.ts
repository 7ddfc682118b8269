import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Pod } from '@bailiff/kube';
import { describe, expect, test } from 'vitest';
import { NO_PERMITS } from '../pods/grants.ts';
import { podRecord } from '../pods/records.ts';
import { ClusterState } from './cluster-state.ts';
import { EndedPods } from './ended-pods.ts';
import { planNode } from './plan.ts';
import { bytesOf, MAX_OMITTED } from './pod-memory.ts';

const MiB = 1024 * 1024;
const NODE = 'n1';

interface Shape {
  labels?: number;
  containers?: number;
  length?: number;
}
/** A pod as an API server sends it: each string is its own. */
function pod(namespace: string, index: number, { labels = 1, containers = 1, length = 8 }: Shape = {}): Pod {
  const text = (n: number) => `${n}-${index}`.padEnd(length, 'x').slice(0, Math.max(length, 8));
  const names = Array.from({ length: containers }, (_, n) => text(n));
  return JSON.parse(
    JSON.stringify({
      metadata: {
        uid: `${namespace}-${index}`,
        namespace,
        name: `pod-${index}`,
        resourceVersion: `${index + 1}`,
        labels: Object.fromEntries(Array.from({ length: labels }, (_, n) => [text(n), text(n)])),
      },
      spec: {
        nodeName: NODE,
        containers: names.map((name, n) => ({ name, readinessProbe: { tcpSocket: { port: n + 1 } } })),
      },
      status: { containerStatuses: names.map((name) => ({ name, containerID: `x://${text(0).padEnd(64, '0')}` })) },
    }),
  ) as Pod;
}
const LARGEST: Shape = { labels: 60, containers: 64, length: 63 };
const MANY_ENTRIES: Shape = { labels: 128, containers: 64, length: 0 };

function put(state: ClusterState, namespace: string, index: number, shape?: Shape): void {
  const record = podRecord(pod(namespace, index, shape));
  if (record && state.canKnow(record)) state.putPod(record);
}
function fill(state: ClusterState, namespace: string, count: number, shape?: Shape): void {
  for (let index = 0; index < count; index += 1) put(state, namespace, index, shape);
}
const listed = (state: ClusterState, namespace: string) =>
  state.records().filter((record) => record.namespace === namespace).length;
function stateOf(maxBytes?: number): ClusterState {
  const state = new ClusterState(maxBytes);
  state.putNode({ name: NODE, addresses: [], podCidrs: [] });
  return state;
}
function planned(state: ClusterState, node = NODE) {
  const ended = new EndedPods();
  return planNode(node, { state, ended, permits: NO_PERMITS, ownersOf: () => [], selectedBy: new Set<string>() });
}

describe('memory of pods', () => {
  test.each([
    ['small', undefined, 4_000],
    ['largest', LARGEST, 200],
    ['many short entries', MANY_ENTRIES, 200],
  ] as const)('estimate - no less than the heap of %s pods, and no more than twice as much', (_name, shape, count) => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const heap = () => {
      collect();
      return process.memoryUsage().heapUsed;
    };
    const state = stateOf();
    const before = heap();
    fill(state, 'tenant', count, shape);
    const measured = heap() - before;
    expect(state.podCount).toBe(count);
    expect(state.podBytes).toBeGreaterThan(measured);
    expect(state.podBytes).toBeLessThan(2 * measured);
  });

  test('a tenant that creates pods without end - its neighbours keep all theirs, and get more; control: no bound', () => {
    const state = stateOf(2 * MiB);
    const unbounded = stateOf(Number.POSITIVE_INFINITY);
    fill(state, 'neighbour', 200);
    for (const one of [state, unbounded]) fill(one, 'tenant', 300, LARGEST);
    expect(unbounded.podBytes, 'control').toBeGreaterThan(7 * 2 * MiB);
    expect(state.podBytes).toBeLessThan(2 * MiB + 300 * 800);
    fill(state, 'neighbour', 500);
    fill(state, 'other', 100);
    expect([listed(state, 'neighbour'), listed(state, 'other')]).toEqual([500, 100]);
    expect(listed(state, 'tenant') + state.withoutRecord).toBe(300);
  });

  test('a pod that grows - only its own namespace loses records', () => {
    const state = stateOf(MiB);
    fill(state, 'neighbour', 100);
    fill(state, 'tenant', 500);
    expect(state.withoutRecord).toBe(0);
    fill(state, 'tenant', 500, LARGEST);
    expect([listed(state, 'neighbour'), state.withoutRecord > 0]).toEqual([100, true]);
  });

  test('a namespace that was alone loses records for others, up to its part', () => {
    const state = stateOf(2 * MiB);
    fill(state, 'first', 1_500);
    const alone = listed(state, 'first');
    fill(state, 'second', 200);
    expect(listed(state, 'second')).toBe(200);
    expect(listed(state, 'first')).toBeLessThan(alone);
    expect(listed(state, 'first')).toBeGreaterThan(200);
  });

  test('the snapshot of a node counts them as omitted, until they have a record', () => {
    const state = stateOf(MiB);
    fill(state, 'tenant', 100, LARGEST);
    const omitted = () => planned(state)?.omitted ?? 0;
    const { withoutRecord } = state;
    expect([withoutRecord > 50, omitted()]).toEqual([true, withoutRecord]);
    expect(planned(state)?.omittedFrom).toEqual([{ namespace: 'tenant', pods: withoutRecord }]);
    expect(state.canListMore).toBe(false);
    const kept = state.records().map(({ uid }) => uid);
    for (const uid of kept) expect([...state.removePod(uid)]).toEqual([NODE]);
    expect(state.canListMore).toBe(true);
    fill(state, 'tenant', 1);
    for (let index = 0; index < 100; index += 1) state.removePod(`tenant-${index}`);
    expect([state.withoutRecord, omitted(), state.podBytes, state.podCount]).toEqual([0, 0, 0, 0]);
  });

  test('more pods than can be counted - ignored if they have no share; a neighbour is listed', () => {
    const state = stateOf(MiB);
    const record = (namespace: string, index: number) =>
      podRecord(pod(namespace, index)) as NonNullable<ReturnType<typeof podRecord>>;
    const first = record('tenant', 0);
    for (let index = 0; index < MAX_OMITTED + 2_000; index += 1) {
      const one = { ...first, uid: `t-${index}` };
      if (state.canKnow(one)) state.putPod(one);
    }
    expect(state.withoutRecord).toBe(MAX_OMITTED);
    expect([state.canKnow({ ...first, uid: 'more' }), state.canKnow(record('neighbour', 0))]).toEqual([false, true]);
    state.hasUnknownPods = true;
    state.putNode({ name: 'another node', addresses: [], podCidrs: [] });
    expect(planned(state, 'another node')).toMatchObject({ pods: [], omitted: 1, omittedFrom: [] });
  });

  test('an ordinary pod takes some kilobytes', () => {
    const record = podRecord(pod('shop', 1, { labels: 3, containers: 2 }));
    expect(record && bytesOf(record)).toBeLessThan(3_000);
  });
});
