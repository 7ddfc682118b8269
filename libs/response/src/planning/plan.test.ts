import { BUILT_IN_RESPONSE_POLICIES, type ResponsePolicy, responsePolicy } from '@bailiff/policy';
import type { Verdict } from '@bailiff/schemas';
import { describe, expect, it } from 'vitest';
import { taskIdOf } from './ids.ts';
import { DELETE_STORM, expiryOf, mayHaveSubstitute, planVerdict, recordOf, withSubstitutes } from './plan.ts';
import { matches } from './policy-history.ts';

const AT = 5_000_000;
const verdict = (more: Partial<Verdict> = {}) =>
  ({
    verdictId: 'v1',
    rule: 'repeated-spoofing',
    level: 'high',
    nodeName: 'node-a',
    pod: { uid: 'u', namespace: 'shop', name: 'web', ownerKind: '', ownerName: '', ownerUid: '' },
    ...more,
  }) as Verdict;
const policy = (more: Record<string, unknown>) => responsePolicy.parse({ steps: [{ action: 'delete' }], ...more });
const named = (policies: Record<string, ResponsePolicy>) => new Map(Object.entries(policies));

describe('plan', () => {
  it.each([
    ['no condition', {}, true],
    ['its level', { levels: ['high', 'critical'] }, true],
    ['another level', { levels: ['critical'] }, false],
    ['its rule', { rules: ['repeated-spoofing'] }, true],
    ['another rule', { rules: ['many-identities'] }, false],
    ['its namespace', { namespaces: ['shop'] }, true],
    ['another namespace', { namespaces: ['bank'] }, false],
    ['level but not rule', { levels: ['high'], rules: ['many-identities'] }, false],
  ])('matches - %s', (_name, match, expected) => {
    expect(matches(policy({ match }), verdict())).toBe(expected);
    expect(matches(policy({ match, enabled: false }), verdict())).toBe(false);
  });

  it.each([
    ['no actions', {}, [true, false]],
    ['drop', { actions: ['drop'] }, [true, false]],
    ['audit', { actions: ['audit'] }, [false, true]],
    ['both', { actions: ['drop', 'audit'] }, [true, true]],
  ])('matches - %s: [prevented, audited]', (_name, match, expected) => {
    expect([false, true].map((audited) => matches(policy({ match }), verdict({ audited })))).toEqual(expected);
  });

  it('matches - a verdict about a node has no namespace', () => {
    expect(matches(policy({ match: { namespaces: ['shop'] } }), verdict({ pod: null }))).toBe(false);
    expect(matches(policy({}), verdict({ pod: null }))).toBe(true);
  });

  it('planVerdict - one task per step, each with its own id and due time', () => {
    const steps = [{ action: 'label' }, { action: 'delete', after: '2s' }];
    const tasks = planVerdict(verdict(), AT, named({ b: policy({ steps }), a: policy({}) }));
    expect(tasks.map(({ policy: name, action, dueAtMicros }) => [name, action, dueAtMicros])).toEqual([
      ['a', 'delete', AT],
      ['b', 'label', AT],
      ['b', 'delete', AT + 2_000_000],
    ]);
    expect(new Set(tasks.map(({ taskId }) => taskId)).size).toBe(3);
    expect(tasks[0]?.taskId).toBe(taskIdOf({ verdictId: 'v1', policy: 'a', action: 'delete' }));
    expect(tasks[0]?.taskId).toMatch(/^[0-9a-f]{32}$/);
  });

  it('planVerdict - the built-in policy is a dry run', () => {
    const tasks = planVerdict(verdict(), AT, named({ ...BUILT_IN_RESPONSE_POLICIES }));
    expect(tasks.map(({ action, dryRun }) => [action, dryRun])).toEqual([
      ['observe', true],
      ['label', true],
      ['delete', true],
    ]);
    expect(planVerdict(verdict({ level: 'medium' }), AT, named({ ...BUILT_IN_RESPONSE_POLICIES }))).toEqual([]);
  });

  const stopped = (reasonCode: string) => () => ({ atMicros: 9_000_000, reasonCode });

  it('withSubstitutes - a deletion refused as a storm becomes a quarantine with an expiry', () => {
    const policies = named({ a: policy({ dryRun: false }) });
    const planned = planVerdict(verdict(), AT, policies);
    const tasks = withSubstitutes(planned, verdict(), policies, stopped(DELETE_STORM));
    expect(tasks.map(({ action, substitute, dueAtMicros }) => [action, substitute, dueAtMicros])).toEqual([
      ['delete', false, AT],
      ['quarantine', true, 9_000_000],
    ]);
    expect(tasks[1]).toMatchObject({ dryRun: false, step: { expires: '1h' } });
    expect(withSubstitutes(planned, verdict(), policies, stopped('protected-namespace'))).toHaveLength(1);
  });

  it.each([...['budget-exhausted', 'protected-owner-kind', 'below-min-healthy', 'static-pod', 'disruption-budget']])(
    'withSubstitutes - what a tenant can write never leaves its pod without a response: %s',
    (code) => {
      const policies = named({ a: policy({ dryRun: false }) });
      const planned = planVerdict(verdict(), AT, policies);
      const tasks = withSubstitutes(planned, verdict(), policies, stopped(code));
      expect(tasks.map(({ action }) => action)).toEqual(['delete', 'quarantine']);
      expect(mayHaveSubstitute('quarantine', code)).toBe(false);
    },
  );

  it('withSubstitutes - a policy may leave pods beyond its budget alone', () => {
    const policies = named({ a: policy({ guards: { budget: { exhausted: 'refuse' } } }) });
    const planned = planVerdict(verdict(), AT, policies);
    expect(withSubstitutes(planned, verdict(), policies, stopped('budget-exhausted'))).toHaveLength(1);
    expect(withSubstitutes(planned, verdict(), policies, stopped('below-min-healthy'))).toHaveLength(2);
  });

  it("substitutesOf - the policy's own quarantine is brought forward, not doubled", () => {
    const steps = [{ action: 'delete' }, { action: 'quarantine', after: '1h', expires: '2h' }];
    const policies = named({ a: policy({ steps }) });
    const planned = planVerdict(verdict(), AT, policies);
    const tasks = withSubstitutes(planned, verdict(), policies, stopped(DELETE_STORM));
    expect(tasks).toHaveLength(2);
    expect(tasks[1]).toMatchObject({ action: 'quarantine', substitute: true, dueAtMicros: 9_000_000 });
    expect(tasks[1]?.step).toEqual({ action: 'quarantine', expires: '2h' });
    expect(tasks[1]?.taskId).toBe(planned[1]?.taskId);
  });

  it.each([
    ['its delete', [{ action: 'delete', after: '1h' }], ['delete']],
    [
      'the earlier of two',
      [
        { action: 'delete', after: '1h' },
        { action: 'evict', after: '5m' },
      ],
      ['evict'],
    ],
    ['nothing without a removal', [{ action: 'label' }], []],
  ])('withSubstitutes - after a quarantine that would block nothing comes %s', (_name, others, expected) => {
    const policies = named({ a: policy({ steps: [{ action: 'quarantine' }, ...others] }) });
    const planned = planVerdict(verdict(), AT, policies);
    const end = { atMicros: 9_000_000, reasonCode: 'host-network' };
    const tasks = withSubstitutes(planned, verdict(), policies, (id) => (id === planned[0]?.taskId ? end : null));
    expect(tasks).toHaveLength(planned.length);
    const forward = tasks.filter(({ substitute }) => substitute);
    expect(forward.map(({ action }) => action)).toEqual(expected);
    for (const { dueAtMicros, step } of forward) expect([dueAtMicros, step.after]).toEqual([9_000_000, undefined]);
  });

  it('withSubstitutes - an eviction that a disruption budget refuses, of a pod that no quarantine blocks, becomes a deletion', () => {
    const policies = named({ a: policy({ steps: [{ action: 'evict', gracePeriodSeconds: 3 }] }) });
    const planned = planVerdict(verdict(), AT, policies);
    const ends = new Map([
      [planned[0]?.taskId, 'disruption-budget'],
      [taskIdOf({ verdictId: 'v1', policy: 'a', action: 'quarantine' }), 'host-network'],
    ]);
    const withEnds = () =>
      withSubstitutes(planned, verdict(), policies, (id) => {
        const reasonCode = ends.get(id);
        return reasonCode === undefined ? null : { atMicros: 9_000_000, reasonCode };
      });
    expect(withEnds().map(({ action }) => action)).toEqual(['evict', 'quarantine', 'delete']);
    expect(withEnds()[2]).toMatchObject({ substitute: true, step: { action: 'delete', gracePeriodSeconds: 3 } });
    // Control: a pod that was quarantined is not deleted.
    ends.delete(taskIdOf({ verdictId: 'v1', policy: 'a', action: 'quarantine' }));
    expect(withEnds().map(({ action }) => action)).toEqual(['evict', 'quarantine']);
  });

  it('expiryOf - bounded by the retention of the stream', () => {
    expect(expiryOf({ action: 'label' }, AT, 1000)).toBeNull();
    expect(expiryOf({ action: 'label', expires: '2s' }, AT, 60_000)).toBe(AT + 2_000_000);
    expect(expiryOf({ action: 'label', expires: '2h' }, AT, 60_000)).toBe(AT + 60_000_000);
  });

  it('recordOf - a verdict without a pod has an empty address', () => {
    const [task] = planVerdict(verdict({ pod: null }), AT, named({ a: policy({}) }));
    const record = recordOf(task as NonNullable<typeof task>, verdict({ pod: null }), 'refused', 'terminal');
    expect(record).toMatchObject({ podNamespace: '', podName: '', podUid: '', nodeName: 'node-a', phase: 'refused' });
  });
});
