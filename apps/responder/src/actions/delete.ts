/** delete: the pod is deleted, on the condition that it is still the pod the verdict is about. */

import { isBeingDeleted, isSamePod, type PodFacts } from '@bailiff/answer';
import { deletePod } from '@bailiff/kube';
import { type Action, type ActionContext, DONE, type Outcome } from './action.ts';

const ALREADY_GONE: Outcome = { reasonCode: 'already-gone', reason: 'the pod went before it could be removed' };

export const deleteAction: Action = {
  tookEffect: isRemoved,
  async carryOut(context) {
    return outcomeOf(await deletePod(context.api, targetOf(context)));
  },
};

/** The pod is gone, another has its name, or it is on its way out. */
export function isRemoved({ task, verdict, facts: { pod } }: ActionContext): boolean {
  return !pod || !isSamePod(pod, verdict.pod?.uid ?? '') || isBeingDeleted(pod, task);
}

/** Which pod, for certain, and how long it may take to end. */
export function targetOf({ task, facts }: ActionContext) {
  const { namespace, name, uid } = facts.pod as PodFacts;
  const { gracePeriodSeconds } = task.step;
  return { namespace, name, uid, ...(gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds }) };
}

export function outcomeOf(wasThere: boolean): Outcome {
  return wasThere ? DONE : ALREADY_GONE;
}
