/**
 * Disruption controller: updates the status of PodDisruptionBudgets. Healthy means Ready, not
 * terminating and not yet charged to the budget; percentages refer to the selected pods. Recomputed
 * when a pod or a budget changes. `budgetStatus` is pure.
 */
import { isPodReady } from '../kinds/pods.ts';
import type { Change } from '../store/history.ts';
import { labelSelectorPredicate, labelsOf } from '../store/selectors.ts';
import { keyOf, type Store } from '../store/store.ts';
import { at, isObject, type JsonObject, type KubeObject, sameJson } from '../types.ts';
import { budgetStorage } from '../verbs/eviction.ts';

/** Value of `minAvailable` or `maxUnavailable` in pods; percentages round up. */
export function resolveAmount(value: unknown, of: number): number {
  if (typeof value === 'number') return value;
  if (typeof value === 'string' && /^\d+%$/.test(value)) return Math.ceil((Number.parseInt(value, 10) * of) / 100);
  return 0;
}

/** Status of a budget for the pods of its namespace. */
export function budgetStatus(budget: KubeObject, pods: KubeObject[]): JsonObject {
  const selects = labelSelectorPredicate(budget.spec?.['selector']);
  const selected = pods.filter((pod) => selects(labelsOf(pod)) && !hasEnded(pod));
  const before = at(budget, 'status', 'disruptedPods');
  const charges = Object.entries(isObject(before) ? before : {}).filter(([name]) =>
    selected.some((pod) => pod.metadata.name === name && pod.metadata.deletionTimestamp === undefined),
  );
  const charged = new Set(charges.map(([name]) => name));
  const healthy = selected.filter(
    (pod) => isPodReady(pod) && pod.metadata.deletionTimestamp === undefined && !charged.has(pod.metadata.name),
  ).length;
  const expected = selected.length;
  const maxUnavailable = budget.spec?.['maxUnavailable'];
  const desired =
    maxUnavailable === undefined
      ? resolveAmount(budget.spec?.['minAvailable'], expected)
      : Math.max(0, expected - resolveAmount(maxUnavailable, expected));
  return {
    observedGeneration: budget.metadata.generation ?? 0,
    ...(charges.length > 0 ? { disruptedPods: Object.fromEntries(charges) } : {}),
    disruptionsAllowed: expected === 0 ? 0 : Math.max(0, healthy - desired),
    currentHealthy: healthy,
    desiredHealthy: desired,
    expectedPods: expected,
  };
}

function hasEnded(pod: KubeObject): boolean {
  const phase = at(pod, 'status', 'phase');
  return phase === 'Succeeded' || phase === 'Failed';
}

/** Recomputes budgets on changes of pods and budgets until the returned function is called. */
export function keepBudgets(store: Store): () => void {
  return store.subscribe((change: Change) => {
    if (change.storage !== 'pods' && change.storage !== budgetStorage) return;
    const namespace = change.object.metadata.namespace;
    const budgets = store.list(budgetStorage).filter((budget) => budget.metadata.namespace === namespace);
    if (budgets.length === 0) return;
    const pods = store.list('pods').filter((pod) => pod.metadata.namespace === namespace);
    for (const budget of budgets) {
      const status = budgetStatus(budget, pods);
      if (sameJson(status, budget.status)) continue;
      store.put(budgetStorage, keyOf(namespace, budget.metadata.name), { ...budget, status });
    }
  });
}
