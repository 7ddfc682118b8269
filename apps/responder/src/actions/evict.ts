/**
 * evict: as delete, but by the eviction API, which honours disruption budgets. A budget answers 429 until it has room; the queue tries again
 * within its bound, then the record says so.
 */
import { evictPod } from '@bailiff/kube';
import type { Action } from './action.ts';
import { hasGone, isGoing, remove } from './delete.ts';

export const evict: Action = {
  tookEffect: hasGone,
  isUnderWay: isGoing,
  carryOut: (context) => remove(context, evictPod),
};
