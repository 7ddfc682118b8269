import { responsePolicy } from '@bailiff/policy';
import { sampleResponse, sampleVerdict } from '@bailiff/schemas/testing';
import { describe, expect, it } from 'vitest';
import { responseIdOf } from '../planning/ids.ts';
import { planVerdict } from '../planning/plan.ts';
import { Ledger } from './ledger.ts';
import { CooldownEnds, hasOverdueTask, OVERDUE_GRACE_MS } from './overdue.ts';

const MINUTE = 60_000_000;
const NOW = 1_000 * MINUTE;
const verdict = sampleVerdict({ nodeName: 'node-a' });
const namespace = verdict.pod?.namespace ?? '';

/** @param earlier start of the same action on another pod */
function isOverdue(cooldown: string, earlier: { agoMicros: number; namespace?: string } | null, action = 'delete') {
  const policy = responsePolicy.parse({ dryRun: false, steps: [{ action }], guards: { cooldown } });
  const tasks = planVerdict(verdict, NOW - 2 * MINUTE, new Map([['p', policy]]));
  const ledger = new Ledger();
  if (earlier) {
    const key = { verdictId: 'f'.repeat(32), policy: 'p', action: action as 'delete' };
    const started = sampleResponse({ ...key, phase: 'started', podUid: 'another', podNamespace: namespace });
    const record = {
      ...started,
      responseId: responseIdOf(key, 'started'),
      podNamespace: earlier.namespace ?? namespace,
    };
    ledger.applyInOrder(record, { sequence: 1, timestampMicros: NOW - earlier.agoMicros });
  }
  return hasOverdueTask(tasks, ledger, NOW, { graceMs: OVERDUE_GRACE_MS }, new CooldownEnds(ledger, NOW));
}

/** A removal that started so long ago and has not ended. */
function isStartedOverdue(
  action: 'delete' | 'evict',
  agoSeconds: number,
  gracePeriodSeconds?: number,
  maxGraceSeconds?: number,
) {
  const step = { action, ...(gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds }) };
  const policy = responsePolicy.parse({ dryRun: false, steps: [step] });
  const atMicros = NOW - agoSeconds * 1_000_000;
  const key = { verdictId: verdict.verdictId, policy: 'p', action };
  const ledger = new Ledger();
  const started = sampleResponse({ ...key, phase: 'started', responseId: responseIdOf(key, 'started') });
  ledger.applyInOrder(started, { sequence: 1, timestampMicros: atMicros });
  const tasks = planVerdict(verdict, atMicros, new Map([['p', policy]]));
  const limits = { graceMs: OVERDUE_GRACE_MS, ...(maxGraceSeconds === undefined ? {} : { maxGraceSeconds }) };
  return hasOverdueTask(tasks, ledger, NOW, limits, new CooldownEnds(ledger, NOW));
}

describe('overdue', () => {
  it('a removal that waits for the cooldown of its policy is not overdue, and is soon after its end', () => {
    expect(isOverdue('5m', { agoMicros: 3 * MINUTE })).toBe(false);
    expect(isOverdue('5m', { agoMicros: 5 * MINUTE - 1 })).toBe(false);
    expect(isOverdue('5m', { agoMicros: 6 * MINUTE })).toBe(true);
    expect(isOverdue('5m', { agoMicros: 3 * MINUTE }, 'label')).toBe(false);
  });

  it.each<[string, Parameters<typeof isOverdue>]>([
    ['without a cooldown', ['0s', { agoMicros: 3 * MINUTE }]],
    ['without an action before it', ['5m', null]],
    ['after an action in another namespace', ['5m', { agoMicros: 3 * MINUTE, namespace: 'other' }]],
    ['that quarantines another pod than the action before it', ['5m', { agoMicros: 3 * MINUTE }, 'quarantine']],
    ['of an event, which has no cooldown', ['5m', { agoMicros: 3 * MINUTE }, 'observe']],
  ])('control: a task %s is overdue', (_, given) => {
    expect(isOverdue(...given)).toBe(true);
  });

  it('a started removal is overdue only after the grace period that it gives the pod', () => {
    const removal = (agoSeconds: number, gracePeriodSeconds?: number, maxGraceSeconds?: number) =>
      isStartedOverdue('delete', agoSeconds, gracePeriodSeconds, maxGraceSeconds);
    expect([removal(89), removal(91)]).toEqual([false, true]);
    expect([removal(89, 5), removal(91, 5)]).toEqual([false, true]);
    expect([removal(91, 600), removal(659, 600), removal(661, 600)]).toEqual([false, false, true]);
    expect([removal(91, undefined, 120), removal(181, undefined, 120)]).toEqual([false, true]);
    expect(removal(91, 30, 120)).toBe(true);
  });

  it('a started eviction has in addition the time for which a disruption budget may refuse it', () => {
    expect([isStartedOverdue('evict', 209), isStartedOverdue('evict', 211)]).toEqual([false, true]);
    expect([isStartedOverdue('evict', 779, 600), isStartedOverdue('evict', 781, 600)]).toEqual([false, true]);
  });

  it('control: an eviction that never started is overdue like any other task', () => {
    expect(isOverdue('0s', null, 'evict')).toBe(true);
  });
});
