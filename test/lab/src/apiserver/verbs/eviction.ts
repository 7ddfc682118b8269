/**
 * The eviction subresource: a delete that checks the disruption budgets first.
 *
 * It deletes pending, ended and terminating pods without a check, and unready pods if their budget
 * is met. Otherwise the budget that selects the pod must allow a disruption. The eviction charges
 * the budget at once, so that two concurrent evictions cannot use the same allowed disruption. The
 * decision is pure; `evict` writes.
 */
import { ApiError, badRequest, notFound } from '../errors.ts';
import { isPodReady } from '../kinds/pods.ts';
import { labelSelectorPredicate, labelsOf } from '../store/selectors.ts';
import { keyOf } from '../store/store.ts';
import { timeText } from '../times.ts';
import { at, isObject, type KubeObject, listAt, type ObjectInput, type PodCondition, textAt } from '../types.ts';
import { checkPreconditions, type DeleteOptions } from './deletion.ts';
import type { Operations } from './operations.ts';

export const budgetStorage = 'poddisruptionbudgets.policy';

export type EvictionDecision = { allow: true; charge: KubeObject | undefined } | { allow: false; error: ApiError };

const statusNumber = (object: KubeObject, field: string): number => {
  const value = at(object, 'status', field);
  return typeof value === 'number' ? value : 0;
};

function tooMany(message: string, cause: string, retryAfterSeconds: number): ApiError {
  return new ApiError(429, 'TooManyRequests', message, {
    causes: [{ reason: 'DisruptionBudget', message: cause }],
    ...(retryAfterSeconds > 0 ? { retryAfterSeconds } : {}),
  });
}

const wouldViolate = "Cannot evict pod as it would violate the pod's disruption budget.";

/** True for pods that budgets do not protect. */
function isExempt(pod: KubeObject): boolean {
  const phase = textAt(pod, 'status', 'phase');
  return (
    phase === 'Succeeded' || phase === 'Failed' || phase === 'Pending' || pod.metadata.deletionTimestamp !== undefined
  );
}

/**
 * Decides whether the pod may be evicted, and which budget to charge. `budgets` are those of the
 * pod's namespace.
 */
export function decideEviction(pod: KubeObject, budgets: KubeObject[]): EvictionDecision {
  if (isExempt(pod)) return { allow: true, charge: undefined };
  const labels = labelsOf(pod);
  const selecting = budgets.filter((budget) => labelSelectorPredicate(budget.spec?.['selector'])(labels));
  const budget = selecting[0];
  if (budget === undefined) return { allow: true, charge: undefined };
  if (selecting.length > 1) {
    const message = 'This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.';
    return { allow: false, error: new ApiError(500, '', message) };
  }
  if (!isPodReady(pod)) {
    const met =
      statusNumber(budget, 'currentHealthy') >= statusNumber(budget, 'desiredHealthy') &&
      statusNumber(budget, 'desiredHealthy') > 0;
    if (met || budget.spec?.['unhealthyPodEvictionPolicy'] === 'AlwaysAllow') return { allow: true, charge: undefined };
  }
  const name = budget.metadata.name;
  if (statusNumber(budget, 'observedGeneration') < (budget.metadata.generation ?? 0)) {
    return {
      allow: false,
      error: tooMany(wouldViolate, `The disruption budget ${name} is still being processed by the server.`, 10),
    };
  }
  if (statusNumber(budget, 'disruptionsAllowed') <= 0) {
    const needs = `The disruption budget ${name} needs ${statusNumber(budget, 'desiredHealthy')} healthy pods and has ${statusNumber(budget, 'currentHealthy')} currently`;
    return { allow: false, error: tooMany(wouldViolate, needs, 0) };
  }
  return { allow: true, charge: budget };
}

/**
 * Handles an Eviction. Throws 400, 403, 404, 409, 429 and 500; returns when the deletion has started.
 */
export function evict(
  operations: Operations,
  namespace: string,
  name: string,
  eviction: ObjectInput,
  dryRun: boolean,
  nowMs: number,
): void {
  if (eviction.metadata?.name !== undefined && eviction.metadata.name !== name) {
    throw badRequest('name in URL does not match name in Eviction object');
  }
  const { store } = operations;
  const pods = operations.resolve('pods');
  // As a real server: an eviction is created, so it is refused in a namespace that is being deleted.
  operations.checkNamespace(namespace, pods);
  const pod = store.get('pods', keyOf(namespace, name));
  if (pod === undefined) throw notFound(pods, name);
  const options = deleteOptionsOf(eviction, dryRun);
  checkPreconditions(pods, pod, options);
  const budgets = store.list(budgetStorage).filter((budget) => budget.metadata.namespace === namespace);
  const decision = decideEviction(pod, budgets);
  if (!decision.allow) throw decision.error;
  if (!options.dryRun) {
    if (decision.charge !== undefined)
      store.put(budgetStorage, keyOf(namespace, decision.charge.metadata.name), charged(decision.charge, name, nowMs));
    store.put('pods', keyOf(namespace, name), targeted(pod, nowMs));
  }
  // The version precondition was checked above. The new condition changed the version.
  operations.delete(pods, { namespace, name }, { ...options, preconditions: {} });
}

function deleteOptionsOf(eviction: ObjectInput, dryRun: boolean): DeleteOptions {
  const sent = isObject(eviction['deleteOptions']) ? eviction['deleteOptions'] : {};
  return { ...(sent as DeleteOptions), dryRun: dryRun || listAt<string>(sent, 'dryRun').includes('All') };
}

function charged(budget: KubeObject, podName: string, nowMs: number): KubeObject {
  const disruptedPods = isObject(at(budget, 'status', 'disruptedPods')) ? at(budget, 'status', 'disruptedPods') : {};
  const status = {
    ...budget.status,
    disruptionsAllowed: statusNumber(budget, 'disruptionsAllowed') - 1,
    disruptedPods: { ...(disruptedPods as object), [podName]: timeText(nowMs) },
  };
  return { ...budget, status };
}

/** The pod with its DisruptionTarget condition. */
function targeted(pod: KubeObject, nowMs: number): KubeObject {
  const others = listAt<PodCondition>(pod, 'status', 'conditions').filter(
    (condition) => condition.type !== 'DisruptionTarget',
  );
  const condition: PodCondition = {
    type: 'DisruptionTarget',
    status: 'True',
    lastProbeTime: null,
    lastTransitionTime: timeText(nowMs),
    reason: 'EvictionByEvictionAPI',
    message: 'Eviction API: evicting',
  };
  return { ...pod, status: { ...pod.status, conditions: [...others, condition] } };
}
