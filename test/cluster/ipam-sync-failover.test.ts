// Two replicas as processes of their own: the leader is killed, stopped or ended while pods change.
import { waitFor } from '@bailiff/service/testing';
import { describe, expect, test } from 'vitest';
import { underWay } from '../support/bus.ts';
import { random } from '../support/random.ts';
import { SHORT_LEASE, spawnApp, startWorld, type World } from './ipam-sync/harness.ts';

const NODES = ['node-1', 'node-2', 'node-3'];
const LONG_LEASE_MS = 20_000;
/**
 * A test waits for the end of this lease, and it is longer than any delay of a process, so that a
 * leader stays one.
 */
const LEASE = ['--lease-duration-ms', '5000', '--renew-deadline-ms', '4000'];

/** Pods by node according to the API server. */
function truth(world: World): Record<string, Record<string, string[]>> {
  const pods = world.kube.server.api.list('pods').items as unknown as {
    metadata: { name: string };
    spec: { nodeName: string };
    status: { podIP: string };
  }[];
  const on = (node: string) => pods.filter(({ spec }) => spec.nodeName === node);
  return Object.fromEntries(
    NODES.map((node) => [
      node,
      Object.fromEntries(
        on(node)
          .map(({ metadata, status }) => [metadata.name, [status.podIP]])
          .sort(),
      ),
    ]),
  );
}

async function stored(world: World): Promise<Record<string, unknown>> {
  return Object.fromEntries(await Promise.all(NODES.map(async (node) => [node, await world.addresses(node)])));
}

const converges = (world: World) =>
  waitFor(async () => JSON.stringify(await stored(world)) === JSON.stringify(truth(world)), {
    what: 'the snapshots to be right',
    state: async () => ({ stored: await stored(world), truth: truth(world) }),
  });

/**
 * Changes pods until it is stopped. Each seed has its own addresses: of two pods with one address a
 * terminating one loses it. With addresses of an earlier churn, the snapshots could correctly differ from
 * `truth`.
 */
function churn(world: World, seed: number) {
  const next = random(seed);
  let running = true;
  let changes = 0;
  const done = (async () => {
    const alive: string[] = [];
    while (running) {
      if (alive.length > 20 || (alive.length > 0 && next() < 0.3)) {
        world.remove(alive.splice(Math.floor(next() * alive.length), 1)[0] as string);
      } else {
        const name = `pod-${changes}`;
        world.running(name, NODES[Math.floor(next() * NODES.length)] as string, [
          `10.${seed}.${changes >> 8}.${changes & 255}`,
        ]);
        alive.push(name);
      }
      changes += 1;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  })();
  return {
    changes: () => changes,
    async stop() {
      running = false;
      await done;
    },
  };
}

type App = Awaited<ReturnType<typeof spawnApp>>;

async function pair(world: World, more: string[]): Promise<{ leader: App; standby: App }> {
  for (const node of NODES) world.node(node, []);
  const apps = [await spawnApp(world, more), await spawnApp(world, more)] as const;
  const leads = await waitFor(async () => {
    const answers = await Promise.all(apps.map((app) => app.leads()));
    return answers.filter(Boolean).length === 1 && answers;
  });
  return leads[0] ? { leader: apps[0], standby: apps[1] } : { leader: apps[1], standby: apps[0] };
}

describe('ipam-sync - failover', () => {
  test('ipam-sync - the leader is killed during changes, and the standby continues', async () => {
    await using world = await startWorld();
    const { leader, standby } = await pair(world, LEASE);
    await using _leader = leader;
    await using _standby = standby;
    expect(await standby.metric('bailiff_ipam_sync_snapshot_writes_total')).toBe(0);
    const changing = churn(world, 1);
    await waitFor(() => changing.changes() > 60);
    leader.kill('SIGKILL');
    await waitFor(() => standby.leads());
    const at = changing.changes();
    await waitFor(() => changing.changes() > at + 60);
    await changing.stop();
    await converges(world);
    expect(await standby.metric('bailiff_ipam_sync_informer_lists_total{resource="pods"}')).toBe(1);
  });

  test('ipam-sync - SIGTERM releases the lease before it expires, exit code 0', async () => {
    await using world = await startWorld();
    const { leader, standby } = await pair(world, ['--lease-duration-ms', String(LONG_LEASE_MS)]);
    await using _leader = leader;
    await using _standby = standby;
    const changing = churn(world, 2);
    await waitFor(() => changing.changes() > 40);
    const startedAtMs = performance.now();
    leader.kill('SIGTERM');
    await waitFor(() => standby.leads());
    // Released, without waiting for the expiry.
    expect(performance.now() - startedAtMs).toBeLessThan(LONG_LEASE_MS);
    expect(await leader.exit).toEqual([0, null]);
    await changing.stop();
    await converges(world);
  });

  test('ipam-sync - a leader that was stopped continues as standby and overwrites nothing', async () => {
    await using world = await startWorld();
    const { leader, standby } = await pair(world, LEASE);
    await using _leader = leader;
    await using _standby = standby;
    const early = churn(world, 3);
    await waitFor(() => early.changes() > 60);
    await early.stop();
    await converges(world);
    const revisions = new Map<string, number>();
    const backwards: string[] = [];
    const abort = new AbortController();
    const watching = underWay(
      world.pods.watch({
        signal: abort.signal,
        onEntry: (entry) => {
          const revision = entry.deleted ? 0 : (JSON.parse(entry.value.toString()) as { revision: number }).revision;
          if (revision <= (revisions.get(entry.key) ?? 0)) backwards.push(`${entry.key} ${revision}`);
          revisions.set(entry.key, revision);
        },
      }),
    );
    const before = await leader.metric('bailiff_ipam_sync_snapshot_writes_total');
    expect(before).toBeGreaterThan(0);
    // It is stopped with a pending change: when it continues, it will try to write that and later
    // ones, based on old state.
    world.running('at-the-door', 'node-1', ['10.99.0.1']);
    leader.kill('SIGSTOP');
    const changing = churn(
      {
        ...world,
        running: (name, ...rest) => world.running(`late-${name}`, ...rest),
        remove: (name) => world.remove(`late-${name}`),
      },
      6,
    );
    await waitFor(() => standby.leads());
    await waitFor(async () => (await standby.metric('bailiff_ipam_sync_snapshot_writes_total')) > 5);
    leader.kill('SIGCONT');
    await waitFor(() => leader.line('no longer leading'), { state: leader.lines });
    const at = changing.changes();
    await waitFor(() => changing.changes() > at + 40);
    await changing.stop();
    await converges(world);
    expect(await leader.metric('bailiff_ipam_sync_snapshot_writes_total')).toBe(before);
    expect(await leader.leads()).toBe(false);
    expect(await standby.leads()).toBe(true);
    expect(backwards).toEqual([]);
    abort.abort();
    await watching;
  });

  test('ipam-sync - killed repeatedly at any moment, the final snapshots are right', async () => {
    await using world = await startWorld();
    for (const node of NODES) world.node(node, []);
    const changing = churn(world, 4);
    const next = random(5);
    let app = await spawnApp(world, SHORT_LEASE);
    for (let round = 0; round < 6; round++) {
      const at = changing.changes();
      await waitFor(() => changing.changes() > at + next() * 60);
      app.kill('SIGKILL');
      await app.exit;
      app = await spawnApp(world, SHORT_LEASE);
    }
    await using _last = app;
    await changing.stop();
    await converges(world);
  });
});
