/**
 * evict: like delete, but by the eviction API, which honours disruption budgets. While a budget has
 * no room, the API server returns 429 and the queue retries within its bound. Then the record names
 * the budget.
 */
import { evictPod } from '@bailiff/kube';
import type { Action } from './action.ts';
import { isGone, isTerminating, remove } from './delete.ts';

export const evict: Action = {
  tookEffect: isGone,
  isInProgress: isTerminating,
  carryOut: (context) => remove(context, evictPod),
};
