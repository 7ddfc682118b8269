import { responsePolicy } from '@bailiff/policy';
import { Ledger, planVerdict } from '@bailiff/response';
import { sampleResponse, sampleVerdict } from '@bailiff/schemas/testing';
import { describe, expect, it } from 'vitest';
import { Backlog } from './backlog.ts';
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
    expect(backlog.unanswered(ledger, 30 * SECOND, 30_000)).toBe(0);
    expect(backlog.unanswered(ledger, 31 * SECOND, 30_000)).toBe(1);
    const started = sampleResponse({ verdictId: 'v1', policy: 'mine', action: 'label', phase: 'started' });
    ledger.applyInOrder(started, { sequence: 1, timestampMicros: 40 * SECOND });
    expect(backlog.unanswered(ledger, 60 * SECOND, 30_000)).toBe(0);
    expect(backlog.unanswered(ledger, 71 * SECOND, 30_000)).toBe(1);
    const ended = sampleResponse({ verdictId: 'v1', policy: 'mine', action: 'label', phase: 'succeeded' });
    ledger.applyInOrder(ended, { sequence: 2, timestampMicros: 71 * SECOND });
    expect(backlog.unanswered(ledger, 200 * SECOND, 30_000)).toBe(0);
    // The delete is due as well.
    expect(backlog.unanswered(ledger, 400 * SECOND, 30_000)).toBe(1);
    backlog.clear();
    expect(backlog.unanswered(ledger, 400 * SECOND, 30_000)).toBe(0);
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
});
