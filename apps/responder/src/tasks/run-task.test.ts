// Replicas of the task runner over a bus, an API server and a queue in memory: deliveries come late
// and in any interleaving, replicas die at any step, and the properties that matter are checked for
// each seed.

import { BusError } from '@bailiff/bus';
import { type KubeApi, KubeError, type RequestOptions } from '@bailiff/kube';
import { Ledger, PolicyHistory, phaseGroupOf, taskIdOf, tasksOf } from '@bailiff/response';
import type { Response, Verdict } from '@bailiff/schemas';
import { systemClock } from '@bailiff/service';
import fc from 'fast-check';
import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { makeMetrics, NO_READINGS } from '../metrics.ts';
import { Planner } from '../planning/planner.ts';
import type { Job, JobResult, Published, Reserved, ResponseLog, Step, StoredVerdict } from '../ports.ts';
import { OrderGate } from '../scheduling/order-gate.ts';
import { FactReader } from './read-facts.ts';
import { TaskRunner } from './run-task.ts';
import type { TaskDeps } from './task-deps.ts';

/** Same sequence for the same seed (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
const turns = async (count: number) => {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
};

const WAITED_TURN = 7;

/** RESPONSES in memory: stored once by id, delivered to each replica with any delay. */
class World {
  readonly stream: { response: Response; timestampMicros: number }[] = [];
  readonly pods = new Map<string, { uid: string; deleting: boolean; labels: Record<string, string> }>();
  readonly calls: string[] = [];
  /** Turns with which tasks run again. */
  readonly turns: (number | undefined)[] = [];
  readonly random: () => number;
  /** Records that the bus rejected for lack of space. */
  refused = 0;
  /** Time of all replicas since their start; only refused removals and polls let it pass. */
  nowMs = 0;
  /** The API server refuses removals until then. */
  removesFromMs = 0;
  /** Time that the kubelet needs to terminate a pod. */
  terminationMs = 0;
  #goneAtMs = 0;
  readonly #isFull: boolean;
  constructor(seed: number, isFull: boolean) {
    this.random = randomOf(seed);
    this.#isFull = isFull;
  }
  lag = () => turns(Math.floor(this.random() * 6));

  publish(response: Response): Published {
    const known = this.stream.some((kept) => kept.response.responseId === response.responseId);
    return known ? { outcome: 'exists' } : this.#append(response);
  }

  /** Like the bus, it does not report which of the two conditions failed. */
  reserve(response: Response, lastSequence: number): Reserved {
    const published = lastSequence === this.stream.length ? this.publish(response) : null;
    return published?.outcome === 'stored' ? published : { outcome: 'moved' };
  }

  #append(response: Response): { outcome: 'stored'; sequence: number } {
    if (this.#isFull && this.random() < 0.3) {
      this.refused++;
      throw new BusError('BUS_FULL', 'no space left on device');
    }
    this.stream.push({ response, timestampMicros: Date.now() * 1000 });
    return { outcome: 'stored', sequence: this.stream.length };
  }

  kube: KubeApi = {
    request: async <T>({ verb = 'GET', path, body }: RequestOptions): Promise<T> => {
      await this.lag();
      const name = path.split('/').at(-1) ?? '';
      const pod = this.pods.get(name);
      if (!pod) throw new KubeError('KUBE_NOT_FOUND', 'no such pod', { status: 404 });
      if (verb === 'GET' && pod.deleting) {
        if (this.nowMs >= this.#goneAtMs) throw new KubeError('KUBE_NOT_FOUND', 'no such pod', { status: 404 });
        this.nowMs += 500;
      }
      if (verb === 'GET') return this.#show(name, pod) as T;
      const uid = (body as { preconditions?: { uid?: string } }).preconditions?.uid;
      if (verb === 'DELETE' && uid !== pod.uid) throw new KubeError('KUBE_CONFLICT', 'another pod', { status: 409 });
      if (verb === 'DELETE' && this.nowMs < this.removesFromMs) {
        this.nowMs += 10_000;
        throw new KubeError('KUBE_TOO_MANY_REQUESTS', 'not now', { status: 429 });
      }
      this.calls.push(`${verb} ${name} ${pod.uid}`);
      if (verb === 'DELETE') {
        pod.deleting = true;
        this.#goneAtMs = this.nowMs + this.terminationMs;
      }
      await this.lag();
      return this.#show(name, pod) as T;
    },
    watch: () => Promise.reject(new Error('not here')),
  };

  #show(name: string, pod: { uid: string; deleting: boolean }) {
    return {
      metadata: {
        uid: pod.uid,
        namespace: 'shop',
        name,
        ...(pod.deleting ? { deletionTimestamp: 'now', deletionGracePeriodSeconds: 30 } : {}),
      },
      spec: { nodeName: 'node-a' },
    };
  }
}

/** One process with its own ledger, which lags behind the stream. */
class Replica {
  readonly ledger = new Ledger();
  readonly runner: TaskRunner;
  alive = true;
  /** Calls of `onWait`. */
  waits = 0;
  /** Settles when the replica dies; never for one that survives. */
  readonly death: Promise<void>;
  #delivered = 0;

  constructor(world: World, policies: PolicyHistory, verdicts: readonly StoredVerdict[], killAt: Step | null) {
    const gone = new Promise<never>(() => {});
    let die = () => {};
    this.death = new Promise((resolve) => {
      die = resolve;
    });
    const log: ResponseLog = {
      publish: async (response) => {
        await world.lag();
        return this.alive ? world.publish(response) : gone;
      },
      reserve: async (response, lastSequence) => {
        await world.lag();
        return this.alive ? world.reserve(response, lastSequence) : gone;
      },
      caughtUp: async () => {
        await world.lag();
        this.deliver(world, world.stream.length);
      },
    };
    const deps: TaskDeps = {
      ledger: this.ledger,
      order: new OrderGate(),
      mayWait: () => true,
      waitedTurn: () => WAITED_TURN,
      policies,
      log,
      kube: { ...world.kube, request: (options) => (this.alive ? world.kube.request(options) : gone) },
      quarantine: { newest: async () => null, put: async () => 1 },
      requestCapture: () => gone,
      facts: new FactReader(() => 0),
      planner: new Planner({
        policies,
        ledger: this.ledger,
        whenPoliciesRead: async () => {},
        readVerdict: async (sequence) => verdicts[sequence - 1] ?? null,
        findVerdict: async ({ verdictId }) => verdicts.find(({ verdict }) => verdict.verdictId === verdictId) ?? null,
      }),
      clock: {
        ...systemClock,
        monotonicMs: () => world.nowMs,
        nowMs: () => systemClock.nowMs() + world.nowMs,
        nowMicros: () => systemClock.nowMicros() + world.nowMs * 1000,
      },
      metrics: makeMetrics(new Registry(), () => NO_READINGS),
      limits: {
        maxOverdueMs: 1e9,
        approvalTimeoutMs: 1e9,
        maxGraceSeconds: 30,
        apiTimeoutMs: 0,
        takeoverMs: 0,
        longestExpiryMs: 1e9,
        retry: { baseMs: 0, maxMs: 0, giveUpAfterMs: 1e9, budgetGiveUpAfterMs: 1e9, outageGiveUpAfterMs: 0 },
      },
      onWait: () => {
        this.waits++;
      },
      step: (step) => {
        if (step !== killAt) return;
        this.alive = false;
        die();
        return gone;
      },
    };
    this.runner = new TaskRunner(deps);
  }

  deliver(world: World, upTo: number): void {
    for (; this.#delivered < upTo; this.#delivered++) {
      const { response, timestampMicros } = world.stream[this.#delivered] as World['stream'][number];
      this.ledger.applyInOrder(response, { sequence: this.#delivered + 1, timestampMicros });
    }
  }
  /** Delivers part of the stream. */
  drip(world: World): void {
    this.deliver(world, this.#delivered + Math.floor(world.random() * (world.stream.length - this.#delivered + 1)));
  }
}

const verdictOf = (index: number): Verdict => ({
  verdictId: `v${index}`,
  rule: 'r',
  ruleType: 'event_count',
  level: 'medium',
  groupBy: 'pod',
  groupKey: `uid-${index}`,
  configRevision: 0,
  triggeredAt: Date.now() * 1000,
  windowStartAt: 0,
  observed: 1,
  threshold: 1,
  vectors: [],
  nodeName: 'node-a',
  pod: { uid: `uid-${index}`, namespace: 'shop', name: `pod-${index}`, ownerKind: '', ownerName: '', ownerUid: '' },
  evidence: [],
  evidenceOmitted: 0,
  reason: 'because',
  tags: [],
  audited: false,
});

interface Setting {
  seed: number;
  verdicts: number;
  replicas: number;
  maxPods: number;
  kills: (Step | null)[];
  /** Whether the bus sometimes rejects records for lack of space. */
  isFull: boolean;
}

/**
 * Every replica gets every task in its own order, as if Redis had lost all locks. A last replica
 * without a crash follows.
 */
async function simulate(
  { seed, verdicts: count, replicas, maxPods, kills, isFull }: Setting,
  times: Partial<Pick<World, 'removesFromMs' | 'terminationMs'>> = {},
): Promise<World> {
  const world = Object.assign(new World(seed, isFull), times);
  const policies = new PolicyHistory();
  const guards = { budget: { window: '10m', maxPods, maxPodsPerNamespace: maxPods, maxPercent: 100, maxNodes: 1 } };
  const policy = { dryRun: false, steps: [{ action: 'delete' }], guards };
  policies.apply({ sequence: 1, timestampMicros: 0, key: 'response.cluster._.p', json: JSON.stringify(policy) });
  const atMicros = Date.now() * 1000;
  const verdicts = Array.from({ length: count }, (_, i) => ({ verdict: verdictOf(i), sequence: i + 1, atMicros }));
  for (const { verdict } of verdicts) {
    world.pods.set(verdict.pod?.name ?? '', { uid: verdict.pod?.uid ?? '', deleting: false, labels: {} });
  }
  const jobs = verdicts.flatMap((placed) =>
    tasksOf(placed, policies, new Ledger()).map(({ taskId, action, verdictId, policy: name }): Job => {
      return {
        kind: 'do',
        taskId,
        action,
        verdictId,
        policy: name,
        sequence: placed.sequence,
        tries: 0,
        failingSinceMs: 0,
      };
    }),
  );
  const work = async (replica: Replica, job: Job) => {
    for (let again: JobResult = { ...job, kind: 'later', delayMs: 0 }; again.kind === 'later' && replica.alive; ) {
      await world.lag();
      const ended = replica.runner.run({ ...job, tries: again.tries, failingSinceMs: again.failingSinceMs });
      const dead = replica.death.then(async () => {
        await turns(20);
        return { kind: 'done' as const };
      });
      again = await Promise.race([ended, dead]);
      if (again.kind === 'later') world.turns.push(again.turn);
    }
  };
  const shuffled = <T>(items: readonly T[]) =>
    items
      .map((item) => [world.random(), item] as const)
      .sort(([a], [b]) => a - b)
      .map(([, item]) => item);
  const all = Array.from({ length: replicas }, (_, i) => new Replica(world, policies, verdicts, kills[i] ?? null));
  let running = true;
  const dripping = (async () => {
    for (; running; await turns(1)) for (const replica of all) if (world.random() < 0.3) replica.drip(world);
  })();
  await Promise.all(all.map((replica) => Promise.all(shuffled(jobs).map((job) => work(replica, job)))));
  running = false;
  await dripping;
  const last = new Replica(world, policies, verdicts, null);
  last.deliver(world, world.stream.length);
  for (const job of jobs) await work(last, job);
  // Each rejection is reported, unless the process died of it.
  const waits = [...all, last].reduce((sum, replica) => sum + replica.waits, 0);
  if (kills.length === 0) expect(waits).toBe(world.refused);
  return world;
}

const settings = fc.record({
  seed: fc.integer(),
  verdicts: fc.integer({ min: 1, max: 6 }),
  replicas: fc.integer({ min: 1, max: 3 }),
  maxPods: fc.integer({ min: 0, max: 6 }),
  kills: fc.array(fc.constantFrom<Step | null>(null, 'started', 'called', 'before-terminal'), { maxLength: 3 }),
  isFull: fc.boolean(),
});

describe('run-task', () => {
  it('any interleaving of replicas and crashes - the budget holds, each task ends once, each pod is removed at most once', async () => {
    await fc.assert(
      fc.asyncProperty(settings, async (setting) => {
        const world = await simulate(setting);
        const records = world.stream.map(({ response }) => response);
        const started = records.filter(({ phase }) => phase === 'started');
        // Reservations and calls stay within the budget and use all of it.
        expect(started.length).toBe(Math.min(setting.maxPods, setting.verdicts));
        const ends = records.filter(({ phase }) => phaseGroupOf(phase) === 'terminal');
        expect(new Set(ends.map(taskIdOf)).size).toBe(setting.verdicts);
        expect(ends).toHaveLength(setting.verdicts);
        expect(ends.filter(({ phase }) => phase === 'succeeded')).toHaveLength(started.length);
        expect([...world.pods.values()].filter(({ deleting }) => deleting)).toHaveLength(started.length);
        // A single replica that crashes calls once. The uid precondition holds in every case.
        if (setting.replicas === 1) expect(world.calls).toHaveLength(started.length);
        for (const call of world.calls) expect(call).toMatch(/pod-(\d+) uid-\1$/);
      }),
      { numRuns: 250 },
    );
  }, 60_000);

  const one: Setting = { seed: 1, verdicts: 1, replicas: 1, maxPods: 1, kills: [], isFull: false };
  const endOf = (world: World) => world.stream.at(-1)?.response;

  it.each([0, 120_000])(
    'a removal that the API server accepts after %s ms has its whole time to end',
    async (removesFromMs) => {
      expect(endOf(await simulate(one, { removesFromMs, terminationMs: 5_000 }))).toMatchObject({ phase: 'succeeded' });
      // The control: 30 s of grace and the margin.
      const late = { removesFromMs, terminationMs: 61_000 };
      expect(endOf(await simulate(one, late))).toMatchObject({ phase: 'failed', reasonCode: 'not-gone' });
    },
  );

  it('turns - a task that is refused by the API server, or waits for its pod to end, has had its turn', async () => {
    const { turns: again } = await simulate(one, { removesFromMs: 20_000, terminationMs: 5_000 });
    expect(again.length).toBeGreaterThan(10);
    expect([...new Set(again)]).toEqual([WAITED_TURN]);
  });
});
