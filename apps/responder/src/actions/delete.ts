/**
 * delete: the pod is deleted, on the condition that it is still the pod the verdict is about, and has succeeded when it is gone.
 *
 * The pod's author chooses its grace period and may ignore SIGTERM, so the period is bounded, and until the pod is gone its node drops its
 * traffic: an entry in the node's list, without label and NetworkPolicy. So it is for a pod that the server fails to delete. A pod that is still there REMOVAL_MARGIN_MS after its grace period
 * (a finalizer, a node that is down) ends the task as failed; its entry stays until its time.
 */
import {
  editQuarantine,
  graceSecondsOf,
  isBeingDeleted,
  isSamePod,
  type PodFacts,
  podFactsOf,
  withEntry,
  withoutEntry,
} from '@bailiff/answer';
import { encodeToken } from '@bailiff/bus';
import { deletePod, getPod, KubeError } from '@bailiff/kube';
import { type Action, type ActionContext, DONE, type Outcome } from './action.ts';

/** From the end of the grace period: the kubelet kills, unmounts and reports. */
export const REMOVAL_MARGIN_MS = 30_000;
/** How often a pod that is being deleted is looked at. */
export const REMOVAL_LOOK_MS = 500;
/** End of the entry of a pod that never goes. */
const CUT_OFF_MS = 24 * 3_600_000;

const ALREADY_GONE: Outcome = { reasonCode: 'already-gone', reason: 'the pod went before it could be removed' };
const UNDER_WAY: Outcome = { ...DONE, underWay: true };

export const deleteAction: Action = {
  tookEffect: hasGone,
  isUnderWay: isGoing,
  carryOut: (context) => remove(context, deletePod),
};

/** The pod is gone, or another has its name. The entry that cut it off goes with it. */
export async function hasGone(context: ActionContext): Promise<boolean> {
  const { verdict, facts } = context;
  if (facts.pod && isSamePod(facts.pod, verdict.pod?.uid ?? '')) return false;
  await reconnect(context);
  return true;
}

export function isGoing({ task, verdict, facts: { pod }, maxGraceSeconds }: ActionContext): boolean {
  return pod !== null && isSamePod(pod, verdict.pod?.uid ?? '') && isBeingDeleted(pod, task, maxGraceSeconds);
}

/** @param call asks for the removal; false when the pod was gone already */
export async function remove(context: ActionContext, call: typeof deletePod): Promise<Outcome> {
  const { task, verdict, api, facts, maxGraceSeconds } = context;
  const { namespace, name, uid } = facts.pod as PodFacts;
  const gracePeriodSeconds = graceSecondsOf(facts.pod as PodFacts, task, maxGraceSeconds);
  if (!isGoing(context)) {
    const request = call(api, { namespace, name, uid, gracePeriodSeconds });
    const isThere = await request.catch((error) => cutOffUndeletable(context, error));
    if (!isThere) return ALREADY_GONE;
  }
  const body = await getPod(api, { namespace, name });
  if (!body || !isSamePod(podFactsOf(body), verdict.pod?.uid ?? '')) {
    await reconnect(context);
    return DONE;
  }
  await cutOff(context);
  const waitedMs = context.nowMs - context.startedAtMicros / 1000;
  const boundMs = gracePeriodSeconds * 1000 + REMOVAL_MARGIN_MS;
  if (waitedMs < boundMs) return UNDER_WAY;
  const { deletionGraceSeconds } = podFactsOf(body);
  return {
    reasonCode: 'not-gone',
    reason: `deleted with ${deletionGraceSeconds ?? gracePeriodSeconds} s of grace and still there after ${Math.round(waitedMs / 1000)} s: it stays cut off. Look for a finalizer, and whether node ${verdict.nodeName} is up`,
    failed: true,
  };
}

/**
 * A pod as large as etcd takes has no room for the time of its deletion, and its author chooses its size: what the server cannot store cuts the pod
 * off all the same. A refusal by a disruption budget or a conflict does not.
 */
async function cutOffUndeletable(context: ActionContext, error: unknown): Promise<never> {
  if (error instanceof KubeError && ['KUBE_SERVER', 'KUBE_INVALID'].includes(error.code)) await cutOff(context);
  throw error;
}

async function cutOff(context: ActionContext): Promise<void> {
  const { verdict, quarantine, nowMs } = context;
  const { uid: podUid = '', namespace: podNamespace = '', name: podName = '' } = verdict.pod ?? {};
  const { verdictId } = verdict;
  const until = new Date(endMs(context)).toISOString();
  const entry = { podUid, podNamespace, podName, verdictId, until, reason: 'it is being deleted' };
  await editQuarantine(quarantine, encodeToken(verdict.nodeName), verdict.nodeName, (list) =>
    withEntry(list, entry, nowMs),
  );
}

/** Takes out the entry of `cutOff`; one with a later end is another task's. */
async function reconnect(context: ActionContext): Promise<void> {
  const { verdict, quarantine, nowMs } = context;
  const which = { podUid: verdict.pod?.uid ?? '', untilMs: endMs(context) };
  await editQuarantine(quarantine, encodeToken(verdict.nodeName), verdict.nodeName, (list) => {
    const there = list.entries.find(({ podUid }) => podUid === which.podUid);
    return there && Date.parse(there.until) === which.untilMs
      ? withoutEntry(list, which, nowMs)
      : { list, outcome: 'kept' };
  });
}

/** The same at every try, which is how a task knows its entry. */
const endMs = ({ startedAtMicros }: ActionContext) => Math.floor(startedAtMicros / 1000) + CUT_OFF_MS;
