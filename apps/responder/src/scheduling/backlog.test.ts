import { responsePolicy } from '@bailiff/policy';
import { Ledger, planVerdict } from '@bailiff/response';
import { sampleResponse, sampleVerdict } from '@bailiff/schemas/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Backlog, undoJobs } from './backlog.ts';
import { LAST_NEW_TURN } from './fair-turns.ts';
import { OrderGate } from './order-gate.ts';

const policies = new Map([
  ['mine', responsePolicy.parse({ steps: [{ action: 'label' }, { action: 'delete', after: '5m' }] })],
]);
const SECOND = 1_000_000;

describe('backlog', () => {
  it('overdue - a task that was due long ago and has not ended; a started one has the same grace period', () => {
    const backlog = new Backlog(new OrderGate());
    const ledger = new Ledger();
    const verdict = sampleVerdict({ verdictId: 'v1' });
    backlog.put({ verdict, sequence: 1, atMicros: 0 }, planVerdict(verdict, 0, policies), ledger);
    expect(backlog.unanswered(ledger, 30 * SECOND, { graceMs: 30_000 })).toBe(0);
    expect(backlog.unanswered(ledger, 31 * SECOND, { graceMs: 30_000 })).toBe(1);
    const started = sampleResponse({ verdictId: 'v1', policy: 'mine', action: 'label', phase: 'started' });
    ledger.applyInOrder(started, { sequence: 1, timestampMicros: 40 * SECOND });
    expect(backlog.unanswered(ledger, 60 * SECOND, { graceMs: 30_000 })).toBe(0);
    expect(backlog.unanswered(ledger, 71 * SECOND, { graceMs: 30_000 })).toBe(1);
    const ended = sampleResponse({ verdictId: 'v1', policy: 'mine', action: 'label', phase: 'succeeded' });
    ledger.applyInOrder(ended, { sequence: 2, timestampMicros: 71 * SECOND });
    expect(backlog.unanswered(ledger, 200 * SECOND, { graceMs: 30_000 })).toBe(0);
    // The delete is due as well.
    expect(backlog.unanswered(ledger, 400 * SECOND, { graceMs: 30_000 })).toBe(1);
    backlog.clear();
    expect(backlog.unanswered(ledger, 400 * SECOND, { graceMs: 30_000 })).toBe(0);
  });

  it('stuck - a task or an undo that is overdue for an hour gets another job, one an hour', () => {
    const backlog = new Backlog(new OrderGate());
    const ledger = new Ledger();
    const verdict = sampleVerdict({ verdictId: 'v1' });
    const label = new Map([['mine', responsePolicy.parse({ steps: [{ action: 'label' }] })]]);
    const [task] = planVerdict(verdict, 0, label);
    backlog.put({ verdict, sequence: 1, atMicros: 0 }, task ? [task] : [], ledger);
    const ofEnded = { verdictId: 'v0', policy: 'mine', action: 'cordon', phase: 'succeeded' } as const;
    const cordoned = sampleResponse({ ...ofEnded, expiresAt: 600 * SECOND });
    const undone = ledger.applyInOrder(cordoned, { sequence: 1, timestampMicros: 0 });
    const idsAt = (minutes: number) => {
      const micros = minutes * 60 * SECOND;
      const jobs = backlog.jobs(ledger, { micros, monotonicMs: micros / 1000 }, 0, 0);
      return [...jobs, ...undoJobs(ledger, micros, 0, () => true)].map(({ id }) => id);
    };
    const ids = [task?.taskId, `${undone}-undo`];
    for (const minutes of [10, 59]) expect(idsAt(minutes)).toEqual(ids);
    expect(idsAt(65)).toEqual([`${ids[0]}-1`, ids[1]]);
    for (const minutes of [75, 119]) expect(idsAt(minutes)).toEqual(ids.map((id) => `${id}-1`));
    expect(idsAt(121)).toEqual(ids.map((id) => `${id}-2`));
    // A job that runs again and again, such as in an outage of the API server, is not lost.
    backlog.ran('v1', task?.taskId ?? '', 150 * 60_000);
    expect([160, 209, 211].map((minutes) => idsAt(minutes)[0])).toEqual([ids[0], ids[0], `${ids[0]}-3`]);
  });

  it('many tasks that wait for a cooldown - the actions of the ledger are read once, not for each', () => {
    const backlog = new Backlog(new OrderGate());
    const ledger = new Ledger();
    const waiting = new Map([
      ['mine', responsePolicy.parse({ steps: [{ action: 'label' }], guards: { cooldown: '1h' } })],
    ]);
    const labelled = sampleResponse({ verdictId: 'v0', policy: 'mine', action: 'label', phase: 'succeeded' });
    ledger.applyInOrder(labelled, { sequence: 1, timestampMicros: 0 });
    const { podNamespace: namespace } = labelled;
    for (let n = 1; n <= 50; n += 1) {
      const verdict = sampleVerdict({ verdictId: `v${n}` });
      const pod = verdict.pod && { ...verdict.pod, uid: `pod-${n}`, namespace };
      const tasks = planVerdict({ ...verdict, pod }, 0, waiting);
      backlog.put({ verdict: { ...verdict, pod }, sequence: n, atMicros: 0 }, tasks, ledger);
    }
    let reads = 0;
    const actionsFor = ledger.actionsFor.bind(ledger);
    ledger.actionsFor = (...of) => {
      reads += 1;
      return actionsFor(...of);
    };
    expect(backlog.unanswered(ledger, 1800 * SECOND, { graceMs: 30_000 }), 'within the cooldown').toBe(0);
    expect(reads).toBe(1);
    expect(backlog.unanswered(ledger, 3700 * SECOND, { graceMs: 30_000 }), 'after it').toBe(50);
    expect(reads).toBe(2);
    expect(backlog.jobs(ledger, { micros: 7300 * SECOND, monotonicMs: 0 }, 0, 0)).toHaveLength(50);
    expect(reads).toBe(3);
  });

  it('deleted verdicts - their tasks go, except one that has a record', () => {
    const backlog = new Backlog(new OrderGate());
    const ledger = new Ledger();
    for (const [index, verdictId] of ['v1', 'v2', 'v3'].entries()) {
      const verdict = sampleVerdict({ verdictId });
      backlog.put({ verdict, sequence: index + 1, atMicros: 0 }, planVerdict(verdict, 0, policies), ledger);
    }
    const started = sampleResponse({ verdictId: 'v2', policy: 'mine', action: 'label', phase: 'started' });
    ledger.applyInOrder(started, { sequence: 1, timestampMicros: 0 });
    expect(backlog.removeBefore(1, ledger)).toBe(0);
    expect([backlog.removeBefore(3, ledger), backlog.size]).toEqual([3, 2]);
    const now = { micros: 600 * SECOND, monotonicMs: 0 };
    const jobs = ['v1', 'v2', 'v3'].map((verdictId) => backlog.jobsOf(verdictId, ledger, now).length);
    expect(jobs).toEqual([0, 1, 1]);
  });

  it('a bus whose clock is ahead - a step is queued when the step before it has ended, not to poll for its turn', () => {
    const backlog = new Backlog(new OrderGate());
    const ledger = new Ledger();
    const verdict = sampleVerdict({ verdictId: 'v1' });
    const steps = [{ action: 'observe' }, { action: 'label' }, { action: 'delete' }];
    const tasks = planVerdict(verdict, 10 * SECOND, new Map([['mine', responsePolicy.parse({ steps })]]));
    backlog.put({ verdict, sequence: 1, atMicros: 10 * SECOND }, tasks, ledger);
    // The control is the same verdict by a time that is behind it: every step is still to come.
    backlog.put({ verdict: { ...verdict, verdictId: 'control' }, sequence: 2, atMicros: 0 }, tasks, ledger);
    const jobs = (verdictId: string, micros: number) =>
      backlog.jobsOf(verdictId, ledger, { micros, monotonicMs: 0 }).map(({ job, delayMs }) => [job.action, delayMs]);
    for (const behind of [0, 1, 300, SECOND]) expect(jobs('v1', 10 * SECOND - behind)).toEqual([['observe', 0]]);
    expect(jobs('control', 10 * SECOND - 300).map(([action]) => action)).toEqual(['observe', 'label', 'delete']);
    const ended = sampleResponse({ verdictId: 'v1', policy: 'mine', action: 'observe', phase: 'succeeded' });
    backlog.ended('v1', ledger.applyInOrder(ended, { sequence: 1, timestampMicros: 0 }));
    expect(jobs('v1', 10 * SECOND - 300)).toEqual([['label', 0]]);
  });

  it('turns - a namespace with many due tasks has one in front of the next one of another; started or ended ones are over', () => {
    const backlog = new Backlog(new OrderGate());
    const ledger = new Ledger();
    const now = { micros: 0, monotonicMs: 0 };
    const label = new Map([['mine', responsePolicy.parse({ steps: [{ action: 'label' }] })]]);
    let sequence = 0;
    const turnOf = (namespace: string) => {
      sequence += 1;
      const verdict = sampleVerdict({ verdictId: `v${sequence}` });
      const pod = { ...(verdict.pod as NonNullable<typeof verdict.pod>), namespace };
      const stored = { verdict: { ...verdict, pod }, sequence, atMicros: 0 };
      backlog.put(stored, planVerdict(stored.verdict, 0, label), ledger);
      const [job] = backlog.jobsOf(verdict.verdictId, ledger, now);
      return { turn: job?.turn, verdictId: verdict.verdictId, taskId: job?.job.taskId as string };
    };
    const tenant = Array.from({ length: 5 }, () => turnOf('tenant'));
    expect(tenant.map(({ turn }) => turn)).toEqual([1, 2, 3, 4, 5]);
    expect(turnOf('shop').turn).toBe(1);
    // A later scan does not change it.
    expect(backlog.jobs(ledger, now, 0, 0).map(({ turn }) => turn)).toEqual([1, 2, 3, 4, 5, 1]);
    const [first, second] = tenant as [(typeof tenant)[0], (typeof tenant)[0]];
    backlog.started(first.verdictId, first.taskId);
    expect(turnOf('third').turn).toBe(2);
    backlog.ended(second.verdictId, second.taskId);
    expect([turnOf('fourth').turn, turnOf('tenant').turn]).toEqual([3, 6]);
  });

  it('turns - an undo is behind tasks that have not run, and namespaces take turns among undos', () => {
    const ledger = new Ledger();
    const ended = (namespace: string, number: number) => {
      const of = { verdictId: `${namespace}-${number}`, policy: 'mine', action: 'label', phase: 'succeeded' } as const;
      const response = sampleResponse({ ...of, podNamespace: namespace, expiresAt: 1 });
      ledger.applyInOrder(response, { sequence: number, timestampMicros: 0 });
    };
    for (let number = 1; number <= 60; number += 1) ended('tenant', number);
    ended('shop', 61);
    const turns = undoJobs(ledger, SECOND, 0, () => true).map(({ turn }) => turn);
    expect(Math.min(...turns)).toBeGreaterThan(LAST_NEW_TURN);
    expect(turns.at(-1)).toBe(turns[0]);
    expect(turns[59]).toBeGreaterThan(turns[58] as number);
  });

  describe('places of verdicts that wait', () => {
    const MOST = 100;
    const FAR = { micros: 0, monotonicMs: 0 };
    const approval = new Map([['mine', responsePolicy.parse({ steps: [{ action: 'delete', after: '1h' }] })]]);
    const placedIn = (namespace: string, sequence: number) => {
      const verdict = sampleVerdict({ verdictId: `${namespace}-${sequence}` });
      const pod = { ...(verdict.pod as NonNullable<typeof verdict.pod>), namespace };
      return { verdict: { ...verdict, pod }, sequence, atMicros: 0 };
    };
    type Placed = ReturnType<typeof placedIn>;
    const put = (backlog: Backlog, ledger: Ledger, placed: Placed) =>
      backlog.put(placed, planVerdict(placed.verdict, 0, approval), ledger);
    /** As the runner: a verdict that may not wait ends at once. */
    function offer(backlog: Backlog, ledger: Ledger, placed: Placed): boolean {
      put(backlog, ledger, placed);
      const { verdictId } = placed.verdict;
      const waits = backlog.mayWait(verdictId);
      const [job] = backlog.jobsOf(verdictId, ledger, FAR);
      expect((job?.delayMs ?? 0) > 0).toBe(waits);
      if (!waits) end(backlog, ledger, placed, 'refused');
      return waits;
    }
    function end(backlog: Backlog, ledger: Ledger, { verdict, sequence }: Placed, phase: 'refused' | 'succeeded') {
      const { verdictId } = verdict;
      const response = sampleResponse({ verdictId, policy: 'mine', action: 'delete', phase });
      backlog.ended(verdictId, ledger.applyInOrder(response, { sequence, timestampMicros: 0 }));
    }

    it('a namespace gets half of them, its neighbours theirs', () => {
      const [backlog, ledger] = [new Backlog(new OrderGate(), MOST), new Ledger()];
      const waits = (namespace: string, from: number, count: number) =>
        Array.from({ length: count }, (_, i) => offer(backlog, ledger, placedIn(namespace, from + i))).filter(Boolean);
      expect(waits('noisy', 1, 1_000)).toHaveLength(MOST / 2);
      expect(waits('shop', 2_000, 10)).toHaveLength(10);
      // Tasks that act at once, and do not end: half of their places, then verdicts are deferred.
      for (let at = 3_000; at < 3_100; at++) put(backlog, ledger, placedIn('noisy', at));
      expect([backlog.size, backlog.deferred]).toEqual([MOST / 2 + 10 + MOST / 4, 100 - MOST / 4]);
      expect(waits('shop', 4_000, 1)).toHaveLength(1);
    });

    it('a start decides as before, also after some have ended', () => {
      fc.assert(
        fc.property(fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.boolean()), { maxLength: 300 }), (offers) => {
          const [backlog, ledger] = [new Backlog(new OrderGate(), 20), new Ledger()];
          const waiting: Placed[] = [];
          offers.forEach(([namespace, endsOne], index) => {
            const placed = placedIn(namespace, index + 1);
            if (offer(backlog, ledger, placed)) waiting.push(placed);
            const ended = endsOne ? waiting.splice(Math.floor(waiting.length / 2), 1)[0] : undefined;
            if (ended) end(backlog, ledger, ended, 'succeeded');
          });
          const again = new Backlog(new OrderGate(), 20);
          offers.forEach(([namespace], index) => {
            put(again, ledger, placedIn(namespace, index + 1));
          });
          expect(again.size).toBe(waiting.length);
          expect(waiting.every(({ verdict }) => again.mayWait(verdict.verdictId))).toBe(true);
        }),
      );
    });
  });
});
