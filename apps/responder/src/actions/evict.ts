/**
 * evict: like delete, but by the eviction API, which honours disruption budgets. While a budget has
 * no room, the API server returns 429 and the queue retries within its bound. Then the record names
 * the budget.
 *
 * In a namespace that is being deleted, the API server refuses evictions. Its pods may run on for as
 * long as their author chose, and budgets protect none of them: they are deleted.
 */
import { deletePod, evictPod, isNamespaceGone } from '@bailiff/kube';
import type { Action } from './action.ts';
import { ISOLATION, isGone, isTerminating, remove } from './delete.ts';

export const evict: Action = {
  tookEffect: isGone,
  isInProgress: isTerminating,
  carryOut: (context) => remove(context, evictOrDelete),
  ...ISOLATION,
};

const evictOrDelete: typeof deletePod = async (api, pod) => {
  try {
    return await evictPod(api, pod);
  } catch (error) {
    if (!isNamespaceGone(error)) throw error;
    return deletePod(api, pod);
  }
};
