// The backlog is shared: a tenant whose verdicts wait for approvals or delays keeps a part of it, and
// the verdicts of others are planned at once.
import { BusError } from '@bailiff/bus';
import { responsePolicy } from '@bailiff/policy';
import { Ledger, planVerdict, taskIdOf, withSubstitutes } from '@bailiff/response';
import { sampleResponse, sampleVerdict } from '@bailiff/schemas/testing';
import { systemClock } from '@bailiff/service';
import { waitFor } from '@bailiff/service/testing';
import type { Logger } from 'pino';
import { Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { makeMetrics, NO_READINGS } from '../metrics.ts';
import type { StoredVerdict } from '../ports.ts';
import type { QueuedJob } from './backlog.ts';
import { OrderGate } from './order-gate.ts';
import { Scheduler } from './scheduler.ts';

const PLACES = 8;
/** Places of one tenant. */
const OF_ONE = 6;
const SILENT = { debug: () => {}, warn: () => {} } as unknown as Logger;
const policies = new Map([['ask', responsePolicy.parse({ steps: [{ action: 'delete' }] })]]);

function rig() {
  const ledger = new Ledger();
  const order = new OrderGate();
  const stored: StoredVerdict[] = [];
  const added: QueuedJob[] = [];
  const ends = new Map<string, { atMicros: number; reasonCode: string }>();
  const plan = (one: StoredVerdict) => {
    const planned = planVerdict(one.verdict, one.atMicros, policies);
    return { stored: one, tasks: withSubstitutes(planned, one.verdict, policies, (id) => ends.get(id) ?? null) };
  };
  /** Reads of a verdict that fail. */
  let failing = 0;
  const scheduler = new Scheduler(
    {
      planner: {
        whenReady: async () => {},
        plan,
        planSequence: async (sequence) => {
          if (failing-- > 0) throw new BusError('BUS_TIMEOUT', 'no leader');
          const one = stored[sequence - 1];
          return one ? plan(one) : null;
        },
      },
      ledger,
      order,
      isCleared: () => true,
      approvalTimeoutMs: 1e9,
      maxGraceSeconds: 30,
      scanIntervalMs: 1_000,
      clock: systemClock,
      metrics: makeMetrics(new Registry(), () => NO_READINGS),
      log: SILENT,
      step: () => {},
      signal: new AbortController().signal,
    },
    PLACES,
  );
  /** Additions in progress: each ends when it is resolved. */
  const slow: { jobs: readonly QueuedJob[]; end: () => void }[] = [];
  let isSlow = false;
  scheduler.start({
    add: async (jobs) => {
      added.push(...jobs);
      if (isSlow) await new Promise<void>((end) => slow.push({ jobs, end }));
    },
  });
  const slowDown = () => {
    isSlow = true;
    return slow;
  };
  const take = async (namespace: string) => {
    const sequence = stored.length + 1;
    const pod = { ...sampleVerdict().pod, namespace, name: `pod-${sequence}`, uid: `uid-${sequence}` };
    const verdict = sampleVerdict({ verdictId: `v${sequence}`, pod: pod as never });
    stored.push({ verdict, sequence, atMicros: systemClock.nowMicros() });
    await scheduler.take(stored[sequence - 1] as StoredVerdict);
    return sequence;
  };
  const end = (sequence: number, reasonCode = '', reads = 0) => {
    failing = reads;
    const of = { verdictId: `v${sequence}`, policy: 'ask', action: 'delete' } as const;
    ends.set(taskIdOf(of), { atMicros: systemClock.nowMicros(), reasonCode });
    const done = sampleResponse({ ...of, phase: 'refused', reasonCode });
    const taskId = ledger.applyInOrder(done, { sequence, timestampMicros: systemClock.nowMicros() });
    scheduler.applied(taskId, done);
  };
  const has = (sequence: number) => added.some(({ job }) => job.sequence === sequence);
  const isReplaced = (sequence: number) =>
    added.some(({ job }) => job.sequence === sequence && job.action === 'quarantine');
  return { scheduler, order, stored, take, end, has, isReplaced, slowDown };
}

it('shared places - one tenant keeps half of them; verdicts of others are planned at once, its own when one ends', async () => {
  const { scheduler, take, end, has } = rig();
  const own = [];
  for (let n = 0; n < 3 * PLACES; n += 1) own.push(await take('noisy'));
  // Half of the places, and half of those for verdicts that may not wait.
  expect([scheduler.outstanding, scheduler.deferred]).toEqual([OF_ONE, 3 * PLACES - OF_ONE]);
  expect([own[3], own[4]].map((sequence) => scheduler.mayWait(`v${sequence}`))).toEqual([true, false]);
  // The control: without a share these would wait, and the reader with them.
  const others = [await take('shop'), await take('bank')];
  expect(others.map(has)).toEqual([true, true]);
  const [first = 0] = own;
  const next = own[OF_ONE] as number;
  expect([has(first), has(next)]).toEqual([true, false]);
  for (const sequence of [own[4] as number, ...others]) end(sequence);
  scheduler.scan();
  await waitFor(() => has(next), { what: 'the oldest deferred verdict to be planned' });
});

it('shared places - every deferred verdict is planned once, in its order; one that VERDICTS deleted is dropped', async () => {
  const { scheduler, stored, take, end, has } = rig();
  const own: number[] = [];
  for (let n = 0; n < 3 * PLACES; n += 1) own.push(await take('noisy'));
  stored[(own.at(-1) as number) - 1] = undefined as never;
  for (const sequence of own.slice(0, -1)) {
    await waitFor(
      () => {
        scheduler.scan();
        return has(sequence);
      },
      { what: `verdict ${sequence} to be planned`, intervalMs: 1 },
    );
    end(sequence);
  }
  scheduler.scan();
  await waitFor(() => scheduler.deferred === 0, { what: 'no verdict to wait' });
  expect(scheduler.outstanding).toBe(0);
});

it('the quarantine that replaces a refused removal - is planned by a later scan if the bus does not return the verdict', async () => {
  const { scheduler, take, end, isReplaced } = rig();
  const [read, unread] = [await take('shop'), await take('shop')];
  end(read, 'budget-exhausted');
  await waitFor(() => isReplaced(read), { what: 'control: its job' });
  end(unread, 'budget-exhausted', 2);
  await waitFor(
    () => {
      scheduler.scan();
      return isReplaced(unread);
    },
    { what: 'its job, after two reads that failed', intervalMs: 1, timeoutMs: 5_000 },
  );
});

it('a slow Redis - all due jobs are added once at a time and once again, not by each scan; a new verdict is added at once', async () => {
  const { scheduler, order, take, has, slowDown } = rig();
  await take('noisy');
  // A step that waits for the one before it.
  const tasks = (['label', 'delete'] as const).map((action) => {
    return { taskId: action, policy: 'p', action, dueAtMicros: 0, substitute: false };
  });
  order.isHeld(tasks[1] as never, tasks as never, { isClosed: () => false, isPending: () => false }, 0);
  const slow = slowDown();
  for (let n = 0; n < 5; n += 1) {
    scheduler.scan();
    scheduler.release();
  }
  expect(slow.map(({ jobs }) => jobs.length)).toEqual([1]);
  void take('shop');
  await waitFor(() => has(2), { what: 'the verdict of a neighbour' });
  expect(slow).toHaveLength(2);
  for (const { end } of slow) end();
  await waitFor(() => slow.length === 3, { what: 'the scan that was asked for meanwhile' });
  expect(slow[2]?.jobs).toHaveLength(2);
  slow[2]?.end();
  scheduler.release();
  expect(slow).toHaveLength(3);
});
