// Taints of nodes without a guarding collector: ipam-sync in this process between a real
// nats-server and the API stand-in. Its clock runs faster, so that a minute of silence takes
// seconds.
import { type Bucket, openBucket } from '@bailiff/bus';
import type { Taint } from '@bailiff/kube';
import { SPOOF_CLUSTER_KEY } from '@bailiff/policy';
import { taintProblems } from '@bailiff/response';
import { type InstanceStatus, instanceStatus, type NodeStatus } from '@bailiff/schemas';
import { waitFor } from '@bailiff/service/testing';
import { describe, expect, test } from 'vitest';
import { TAINT_RULES } from '../support/kube-rules.ts';
import { fastClock, launch, startWorld, type World } from './ipam-sync/harness.ts';

const FACTOR = 20;
const AFTER_MS = 60_000;
const FAST = fastClock(FACTOR);
/** Far below a minute of that clock, on a busy machine too. */
const REPORT_MS = 150;
const OURS = { key: 'bailiff.dev/unguarded', effect: 'NoSchedule' };
const GPU = { key: 'example.org/gpu', value: 'yes', effect: 'NoSchedule' };
const GUARDING: Partial<NodeStatus> = { hook: 'tcx', interfaces: [] };

/** Collectors that publish the status of their nodes periodically. */
class Collectors implements Disposable {
  readonly reporting = new Map<string, Partial<NodeStatus>>();
  readonly #bucket: Bucket;
  readonly #timer = setInterval(() => this.#report(), REPORT_MS);

  constructor(world: World) {
    this.#bucket = openBucket(world.admin, 'bailiff_nodes');
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #report(): void {
    // An unavailable bus accepts nothing; some tests need that.
    for (const [name, status] of this.reporting) this.#bucket.put(name, JSON.stringify(status)).catch(() => {});
  }
}

function addNode(world: World, name: string, taints: readonly Taint[] = [], os = 'linux'): void {
  world.kube.server.api.create('nodes', {
    metadata: { name, labels: { 'kubernetes.io/os': os } },
    spec: taints.length > 0 ? { taints } : {},
  });
}

/** Nodes with reporting collectors, and a configuration that allows taints. */
async function scene(world: World, nodes: readonly string[], more: object = {}) {
  const collectors = new Collectors(world);
  for (const name of nodes) {
    addNode(world, name, name === 'a' ? [GPU] : []);
    collectors.reporting.set(name, GUARDING);
  }
  const configure = (unguardedNodes: object) =>
    world.config.put(
      SPOOF_CLUSTER_KEY,
      JSON.stringify({ unguardedNodes: { after: '60s', maxPercent: 25, ...unguardedNodes } }),
    );
  await configure({ taint: 'NoSchedule', ...more });
  return { collectors, configure };
}

const taintsOf = (world: World, name: string): Taint[] =>
  (world.kube.server.api.get('nodes', { name }).spec as { taints?: Taint[] }).taints ?? [];
const isTainted = (world: World, name: string): boolean => taintsOf(world, name).some(({ key }) => key === OURS.key);
type Running = Awaited<ReturnType<typeof launch>>;
/** Number of taints that it has added and removed. */
const changes = async (sync: Running) =>
  Promise.all(
    ['put', 'removed'].map((change) => sync.metric(`bailiff_ipam_sync_taint_changes_total{change="${change}"}`)),
  );

const tainted = (world: World, name: string, expected = true) =>
  waitFor(() => isTainted(world, name) === expected, {
    what: `${name} to be ${expected ? '' : 'un'}tainted`,
    state: async () => ({ taints: taintsOf(world, name), reported: await reported(world) }),
  });

/** Waits for this time of that clock, for changes that must not happen within it. */
const passed = (ms: number) => {
  const untilMs = FAST.monotonicMs() + ms;
  return waitFor(() => FAST.monotonicMs() > untilMs, { timeoutMs: 60_000 });
};

async function reported(world: World): Promise<InstanceStatus[]> {
  const entries = await openBucket(world.admin, 'bailiff_services').entries();
  return entries.map(({ value }) => instanceStatus.parse(JSON.parse(value.toString('utf8'))));
}
const problems = async (world: World) =>
  taintProblems(await reported(world), Date.now()).map(({ node, text }) => `${node}: ${text}`);

// Each case waits for seconds of its clock, so they run concurrently.
describe.concurrent('taint', () => {
  test('a silent node is tainted beside a foreign taint, until its collector guards again', async () => {
    await using world = await startWorld(TAINT_RULES);
    const { collectors } = await scene(world, ['a', 'b', 'c', 'd']);
    using _ = collectors;
    // No collector ever runs there.
    addNode(world, 'win', [], 'windows');
    await using sync = await launch(world, [], { clock: FAST });
    await passed(2 * AFTER_MS);
    expect(await changes(sync)).toEqual([0, 0]);

    const silentAtMs = FAST.monotonicMs();
    collectors.reporting.delete('a');
    await tainted(world, 'a');
    // It reported a moment before.
    expect(FAST.monotonicMs() - silentAtMs).toBeGreaterThan(AFTER_MS / 2);
    expect(taintsOf(world, 'a')).toEqual([GPU, OURS]);
    await waitFor(async () => (await problems(world)).length === 1, { state: () => reported(world) });
    expect(await problems(world)).toEqual([
      expect.stringMatching(/^a: is tainted bailiff\.dev\/unguarded: no new pod/),
    ]);
    expect(await sync.metric('bailiff_ipam_sync_tainted_nodes')).toBe(1);

    // It reports, but guards nothing, for example after an operator's detach.
    const bare = { interfaces: [{ coverage: 'not-covered' }] as NodeStatus['interfaces'], hook: 'tcx' as const };
    collectors.reporting.set('a', bare);
    await passed(AFTER_MS / 2);
    expect(taintsOf(world, 'a')).toEqual([GPU, OURS]);
    collectors.reporting.set('a', GUARDING);
    await tainted(world, 'a', false);
    expect(taintsOf(world, 'a')).toEqual([GPU]);
    await waitFor(async () => (await problems(world)).length === 0, { state: () => reported(world) });
    expect(await changes(sync)).toEqual([1, 1]);
    expect(isTainted(world, 'win')).toBe(false);
  });

  test('no node beyond the limit of silent nodes is tainted, with a report; off removes all taints', async () => {
    await using world = await startWorld(TAINT_RULES);
    const { collectors, configure } = await scene(world, ['a', 'b', 'c', 'd']);
    using _ = collectors;
    await using sync = await launch(world, [], { clock: FAST });
    collectors.reporting.delete('a');
    await tainted(world, 'a');
    for (const name of ['b', 'c', 'd']) collectors.reporting.delete(name);
    const shout =
      /^ipam-sync: 4 nodes are not guarded and at most 1 may be tainted, .*\(not tainted: b, c and 1 more\)$/;
    await waitFor(async () => (await problems(world)).some((line) => shout.test(line)), {
      state: () => reported(world),
    });
    expect(await sync.metric('bailiff_ipam_sync_taint_problem')).toBe(1);
    expect(sync.line('taints of unguarded nodes are not reconciled')).toBeDefined();
    await passed(AFTER_MS);
    expect(['a', 'b', 'c', 'd'].filter((name) => isTainted(world, name))).toEqual(['a']);

    await configure({ taint: 'off' });
    await tainted(world, 'a', false);
    expect(taintsOf(world, 'a')).toEqual([GPU]);
    await waitFor(async () => (await reported(world)).every(({ taints }) => taints === undefined), {
      state: () => reported(world),
    });
    expect(await sync.metric('bailiff_ipam_sync_taint_problem')).toBe(0);
  });

  test('without the bus no taint is added or removed; when it is back each node has the whole time again', async () => {
    await using world = await startWorld(TAINT_RULES);
    const { collectors } = await scene(world, ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']);
    using _ = collectors;
    await using sync = await launch(world, [], { clock: FAST });
    collectors.reporting.delete('a');
    await tainted(world, 'a');
    collectors.reporting.delete('b');
    await world.nats.kill();
    await passed(2 * AFTER_MS);
    expect([isTainted(world, 'a'), isTainted(world, 'b'), await changes(sync)]).toEqual([true, false, [1, 0]]);
    const backAtMs = FAST.monotonicMs();
    await world.nats.restart();
    await tainted(world, 'b');
    expect(FAST.monotonicMs() - backAtMs).toBeGreaterThan(AFTER_MS);
    // The taint is visible at the server before ipam-sync receives the response.
    await waitFor(async () => (await changes(sync))[0] === 2, { what: 'it to be counted', state: () => changes(sync) });
    expect(await changes(sync)).toEqual([2, 0]);
  });

  test('a node that never had a collector is tainted after the time, and the next leader removes a taint of the one before', async () => {
    await using world = await startWorld(TAINT_RULES);
    const { collectors } = await scene(world, ['a', 'b', 'c']);
    using _ = collectors;
    const first = await launch(world, [], { clock: FAST });
    await passed(AFTER_MS);
    const madeAtMs = FAST.monotonicMs();
    addNode(world, 'new');
    await tainted(world, 'new');
    expect(FAST.monotonicMs() - madeAtMs).toBeGreaterThan(AFTER_MS);
    // Its collector started, reported once, and is stopped when the next leader starts: the old
    // report is no sign of life.
    expect(await first.stop()).toBe(0);
    await openBucket(world.admin, 'bailiff_nodes').put('new', JSON.stringify(GUARDING));
    await using second = await launch(world, [], { clock: FAST });
    await passed(2 * AFTER_MS);
    expect([isTainted(world, 'new'), await changes(second)]).toEqual([true, [0, 0]]);
    collectors.reporting.set('new', GUARDING);
    await tainted(world, 'new', false);
  });

  test('a missing right is reported while all nodes report, and everything else continues', async () => {
    await using world = await startWorld();
    const { collectors } = await scene(world, ['a', 'b', 'c', 'd']);
    using _ = collectors;
    await using sync = await launch(world, [], { clock: FAST });
    await waitFor(async () => (await problems(world)).length > 0, { state: () => reported(world) });
    expect(await problems(world)).toEqual(['ipam-sync: may not patch nodes, so it neither adds nor removes taints']);
    expect(sync.line('taints of unguarded nodes are not reconciled')).toMatchObject({
      remedy: expect.stringContaining('k8s/components/taint-unguarded'),
    });
    expect(await sync.metric('bailiff_ipam_sync_taint_problem')).toBe(1);
    collectors.reporting.delete('a');
    await passed(3 * AFTER_MS);
    expect(isTainted(world, 'a')).toBe(false);
    expect(world.kube.server.requests.count({ verb: 'patch', resource: 'nodes' })).toBe(0);
    world.running('web', 'a', ['10.1.0.5']);
    await waitFor(async () => (await world.addresses('a'))?.['web']?.join() === '10.1.0.5');
  });

  test('a taint that an admission webhook refuses with a long message is reported, so is the rest of the status', async () => {
    await using world = await startWorld(TAINT_RULES);
    const { collectors } = await scene(world, ['a', 'b', 'c', 'd']);
    using _ = collectors;
    await using _sync = await launch(world, [], { clock: FAST });
    const refused = { verb: 'patch', resource: 'nodes', status: 400, message: `denied: ${'x'.repeat(5_000)}` };
    const fault = world.kube.server.faults.inject({ ...refused, times: Number.POSITIVE_INFINITY });
    collectors.reporting.delete('a');
    const named = async () => (await problems(world)).some((line) => /^ipam-sync: a: .*denied: x+\.\.\.$/.test(line));
    await waitFor(named, { state: () => reported(world), timeoutMs: 60_000 });
    fault.remove();
    await tainted(world, 'a');
  });
});
