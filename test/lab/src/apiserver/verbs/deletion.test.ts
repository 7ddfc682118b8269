import { describe, expect, test } from 'vitest';
import { budgetStatus, resolveAmount } from '../controllers/budgets.ts';
import { builtinResources } from '../kinds/resources.ts';
import { timeText } from '../times.ts';
import type { KubeObject } from '../types.ts';
import { isReleased, planDelete } from './deletion.ts';
import { decideEviction } from './eviction.ts';

const def = (plural: string) => builtinResources.find((entry) => entry.plural === plural)!;
const nowMs = Date.parse('2026-01-01T00:00:00Z');

function object(metadata: Partial<KubeObject['metadata']> = {}, rest: object = {}): KubeObject {
  const base = { name: 'o', namespace: 'n', uid: 'u', resourceVersion: '1', creationTimestamp: '' };
  return { apiVersion: 'v1', kind: 'Pod', metadata: { ...base, ...metadata }, ...rest };
}

const bound = (metadata: Partial<KubeObject['metadata']> = {}, phase = 'Running') =>
  object(metadata, { spec: { nodeName: 'n1', terminationGracePeriodSeconds: 20 }, status: { phase } });

describe('delete plan', () => {
  const marks = { deletionTimestamp: '2026-01-01T00:00:20Z', deletionGracePeriodSeconds: 20 };
  test.each([
    ['a bound pod is marked with its own grace period', bound(), undefined, 'mark', 20],
    ['or with the requested one', bound(), 3, 'mark', 3],
    ['a negative one means one second', bound(), -1, 'mark', 1],
    ['no grace period removes', bound(), 0, 'remove', 0],
    ['an unbound pod is removed at once', object({}, { spec: {}, status: {} }), 30, 'remove', 0],
    ['an ended pod is removed at once', bound({}, 'Failed'), undefined, 'remove', 0],
    ['a marked pod waits', bound(marks), undefined, 'pending', undefined],
    ['a longer grace changes nothing', bound(marks), 60, 'pending', undefined],
    ['a shorter one applies', bound(marks), 5, 'mark', 5],
    ['and none removes', bound(marks), 0, 'remove', 0],
    ['finalizers keep it nevertheless', bound({ ...marks, finalizers: ['f'] }), 0, 'mark', 0],
  ])('pods - %s', (_, pod, gracePeriodSeconds, step, seconds) => {
    const plan = planDelete(def('pods'), pod, { gracePeriodSeconds }, nowMs);
    expect(plan.step).toBe(step);
    const marked = plan.step === 'pending' ? undefined : plan.marked;
    expect(marked?.metadata.deletionGracePeriodSeconds).toBe(seconds);
  });

  test('pods - the deadline moves forward with a shorter grace, never into the past', () => {
    const deadline = (grace: number, atMs: number) => {
      const plan = planDelete(def('pods'), bound(marks), { gracePeriodSeconds: grace }, atMs);
      return plan.step === 'mark' ? plan.marked.metadata.deletionTimestamp : plan.step;
    };
    expect(deadline(5, nowMs)).toBe('2026-01-01T00:00:05Z');
    expect(deadline(5, nowMs + 9000)).toBe('2026-01-01T00:00:09Z');
  });

  test('others - removed at once without finalizers', () => {
    expect(planDelete(def('configmaps'), object(), {}, nowMs).step).toBe('remove');
    const held = planDelete(def('configmaps'), object({ finalizers: ['f'] }), {}, nowMs);
    expect(held).toMatchObject({
      step: 'mark',
      marked: { metadata: { deletionGracePeriodSeconds: 0, deletionTimestamp: timeText(nowMs) } },
    });
    const again = object({ finalizers: ['f'], deletionTimestamp: timeText(nowMs) });
    expect(planDelete(def('configmaps'), again, {}, nowMs).step).toBe('pending');
  });

  test('released - marked, grace period over, no finalizers', () => {
    const marked = { deletionTimestamp: timeText(nowMs), deletionGracePeriodSeconds: 0 };
    expect(isReleased(def('pods'), object(marked))).toBe(true);
    expect(isReleased(def('pods'), object({ ...marked, finalizers: ['f'] }))).toBe(false);
    expect(isReleased(def('pods'), object({ ...marked, deletionGracePeriodSeconds: 9 }))).toBe(false);
    expect(isReleased(def('pods'), object())).toBe(false);
  });
});

describe('budget', () => {
  const pod = (name: string, ready: boolean, more: object = {}) =>
    object(
      { name, labels: { app: 'x' }, ...more },
      { status: { phase: 'Running', conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }] } },
    );
  const budget = (spec: object, status: object = {}) =>
    object(
      { name: 'b', generation: 1 },
      { spec: { selector: { matchLabels: { app: 'x' } }, ...spec }, status: { observedGeneration: 1, ...status } },
    );

  test.each([
    [3, 10, 3],
    ['50%', 3, 2],
    ['0%', 3, 0],
    [undefined, 3, 0],
    ['x', 3, 0],
  ])('amount - %j of %i is %i', (value, of, expected) => {
    expect(resolveAmount(value, of)).toBe(expected);
  });

  test.each([
    [
      { minAvailable: 1 },
      [true, true, false],
      { expectedPods: 3, currentHealthy: 2, desiredHealthy: 1, disruptionsAllowed: 1 },
    ],
    [{ minAvailable: '100%' }, [true, true], { desiredHealthy: 2, disruptionsAllowed: 0 }],
    [{ maxUnavailable: 1 }, [true, true, true], { desiredHealthy: 2, disruptionsAllowed: 1 }],
    [{ maxUnavailable: 1 }, [true, false, false], { desiredHealthy: 2, disruptionsAllowed: 0 }],
    [{ minAvailable: 0 }, [], { expectedPods: 0, disruptionsAllowed: 0 }],
  ])('status - %j over ready %j', (spec, ready, expected) => {
    const pods = ready.map((value, index) => pod(`p${index}`, value));
    expect(budgetStatus(budget(spec), pods)).toMatchObject(expected);
  });

  test('status - a charge counts until its pod terminates', () => {
    const charged = budget({ minAvailable: 1 }, { disruptedPods: { p0: 'now' } });
    const before = budgetStatus(charged, [pod('p0', true), pod('p1', true)]);
    expect(before).toMatchObject({ disruptedPods: { p0: 'now' }, currentHealthy: 1, disruptionsAllowed: 0 });
    const after = budgetStatus(charged, [pod('p0', true, { deletionTimestamp: 'soon' }), pod('p1', true)]);
    expect(after['disruptedPods']).toBeUndefined();
  });

  const allows = { disruptionsAllowed: 1, currentHealthy: 2, desiredHealthy: 1 };
  const refuses = { disruptionsAllowed: 0, currentHealthy: 1, desiredHealthy: 1 };
  test.each([
    ['no budget selects it', pod('p', true), [], true],
    ['a budget allows it', pod('p', true), [budget({}, allows)], true],
    ['a budget refuses it', pod('p', true), [budget({}, refuses)], 429],
    ['the budget is not counted yet', pod('p', true), [budget({}, { ...allows, observedGeneration: 0 })], 429],
    ['two budgets select it', pod('p', true), [budget({}, allows), budget({}, allows)], 500],
    ['it is not ready and the budget is met', pod('p', false), [budget({}, refuses)], true],
    [
      'it is not ready and the budget is not met',
      pod('p', false),
      [budget({}, { ...refuses, currentHealthy: 0 })],
      429,
    ],
    [
      'unless unready pods are always evictable',
      pod('p', false),
      [budget({ unhealthyPodEvictionPolicy: 'AlwaysAllow' }, { ...refuses, currentHealthy: 0 })],
      true,
    ],
    ['already terminating', pod('p', true, { deletionTimestamp: 'soon' }), [budget({}, refuses)], true],
  ])('eviction - %s', (_, subject, budgets, expected) => {
    const decision = decideEviction(subject, budgets);
    expect(decision.allow ? true : decision.error.httpStatus).toBe(expected);
  });
});
