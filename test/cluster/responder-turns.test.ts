// Order of jobs in Valkey: a tenant with many due tasks beside one with few. The control gives all jobs
// the same turn: they run in the order of their addition.
import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import type { Job } from '../../apps/responder/src/ports.ts';
import { FairTurns, LAST_TURN, waitedTurn } from '../../apps/responder/src/scheduling/fair-turns.ts';
import { Queues } from '../../apps/responder/src/scheduling/queues.ts';
import { redisOptions } from '../../apps/responder/src/scheduling/redis-options.ts';
import { startRedis } from '../support/redis.ts';

const MANY = 300;
const jobOf = (taskId: string): Job => ({
  kind: 'do',
  taskId,
  action: 'label',
  verdictId: 'v',
  policy: 'p',
  sequence: 1,
  tries: 0,
  failingSinceMs: 0,
});

/** Tasks of a tenant, in the order in which they run, with one of another tenant that is added last. */
async function runOrder(prefix: string, turnOf: (tenant: string) => number): Promise<string[]> {
  await using redis = await startRedis();
  const ran: string[] = [];
  let mayRun = false;
  const queues = new Queues({
    redis: redisOptions(redis.url, null),
    prefix,
    concurrency: 1,
    maxPerSecond: 10_000,
    lockDurationMs: 30_000,
    run: async ({ taskId }) => {
      ran.push(taskId);
      if (!mayRun) await waitFor(() => mayRun, { what: 'all jobs to be added' });
      return { kind: 'done' };
    },
    onJobFailure: () => undefined,
    onForeignJob: () => undefined,
    onRedisError: () => undefined,
    onRedisReady: () => undefined,
    onRedisLost: () => undefined,
  });
  const state = () => ({ ran: ran.length, problem: queues.problem });
  const job = (tenant: string, id: string) => ({ id, delayMs: 0, turn: turnOf(tenant), job: jobOf(id) });
  try {
    await waitFor(() => queues.ready, { what: 'Redis to be ready', state });
    await queues.add(Array.from({ length: MANY }, (_, n) => job('tenant', `tenant-${n}`)));
    await queues.add([job('shop', 'shop')]);
    mayRun = true;
    await waitFor(() => ran.length === MANY + 1, { what: 'all jobs', timeoutMs: 30_000, state });
    return ran;
  } finally {
    mayRun = true;
    await queues.close();
  }
}

it('turns - a task of another tenant runs behind one of the tenant with many, not behind all; theirs keep their order', async () => {
  const turns = new FairTurns();
  const ran = await runOrder('turns', (tenant) => turns.next(tenant));
  // The first ones may run before the others are added.
  expect(ran.indexOf('shop')).toBeLessThan(5);
  expect(ran.filter((id) => id !== 'shop')).toEqual(Array.from({ length: MANY }, (_, n) => `tenant-${n}`));

  const control = await runOrder('control', () => 1);
  expect(control.indexOf('shop')).toBe(MANY);
});

const WAITING = 60;
/** The task of the other tenant, and how much longer it waits: it is due after all others. */
const POLL = 'wait-poll';
const POLL_WAITS_MS = 500;
type Waited = (tenant: string) => { turn?: number };

/** Tasks of a tenant that wait for the same time, such as the end of a cooldown; its newest one does not wait. */
async function runAfterWait(prefix: string, waited: Waited): Promise<string[]> {
  for (let waitMs = 2_500; ; waitMs *= 2) {
    const ran = await runAfterWaitOf(waitMs, prefix, waited);
    if (ran) return ran;
  }
}

/** @returns null: the wait ended before all tasks waited */
async function runAfterWaitOf(waitMs: number, prefix: string, waited: Waited): Promise<string[] | null> {
  await using redis = await startRedis();
  const turns = new FairTurns();
  const endMs = Date.now() + waitMs;
  const isOver = () => Date.now() > endMs;
  const waiting = new Set<string>();
  const ran: string[] = [];
  let mayRun = false;
  const later = { kind: 'later', tries: 0, failingSinceMs: 0 } as const;
  const queues = new Queues({
    redis: redisOptions(redis.url, null),
    prefix,
    concurrency: 1,
    maxPerSecond: 10_000,
    lockDurationMs: 30_000,
    run: async ({ taskId }) => {
      if (taskId.startsWith('wait') && !waiting.has(taskId)) {
        waiting.add(taskId);
        const isPoll = taskId === POLL;
        const untilMs = endMs + (isPoll ? POLL_WAITS_MS : 0);
        return { ...later, delayMs: untilMs - Date.now(), ...waited(isPoll ? 'other' : 'tenant') };
      }
      ran.push(taskId);
      if (!mayRun) await waitFor(() => mayRun, { what: 'all jobs to be due' });
      return { kind: 'done' };
    },
    onJobFailure: () => undefined,
    onForeignJob: () => undefined,
    onRedisError: () => undefined,
    onRedisReady: () => undefined,
    onRedisLost: () => undefined,
  });
  const state = () => ({ ran: ran.length, waited: waiting.size, problem: queues.problem });
  const job = (tenant: string, id: string) => {
    const turn = turns.next(tenant);
    return { turn, queued: { id, delayMs: 0, turn, job: jobOf(id) } };
  };
  try {
    await waitFor(() => queues.ready, { what: 'Redis to be ready', state });
    await queues.add(Array.from({ length: WAITING }, (_, n) => job('tenant', `wait-${n}`).queued));
    await queues.add([job('other', POLL).queued]);
    await waitFor(() => waiting.size === WAITING + 1 || isOver(), { what: 'all jobs to wait', state });
    const newest = job('tenant', 'newest');
    await queues.add([newest.queued]);
    await waitFor(() => ran.includes('newest') || isOver(), { what: 'the newest job', state });
    if (isOver()) return null;
    turns.started(newest.turn);
    await waitFor(() => Date.now() > endMs + 2 * POLL_WAITS_MS, { what: 'the end of the wait', state });
    await queues.add([job('shop', 'shop').queued]);
    mayRun = true;
    await waitFor(() => ran.length === WAITING + 3, { what: 'all jobs', timeoutMs: 30_000, state });
    return ran;
  } finally {
    mayRun = true;
    await queues.close();
  }
}

it('turns - tasks that have waited run behind a new one of another tenant, and all of them run', async () => {
  const ran = await runAfterWait('waited', (tenant) => ({ turn: waitedTurn(tenant === 'other' ? 1 : WAITING) }));
  expect(ran.indexOf('shop')).toBeLessThan(5);
  // Nor does one that has waited run behind all of a tenant with more.
  expect(ran.indexOf(POLL)).toBeLessThan(5);
  expect(new Set(ran).size).toBe(WAITING + 3);

  const control = await runAfterWait('kept', () => ({}));
  expect(control.indexOf('shop')).toBeGreaterThan(WAITING / 2);
  const last = await runAfterWait('last', () => ({ turn: LAST_TURN }));
  expect(last.indexOf(POLL)).toBeGreaterThan(WAITING / 2);
});
