/**
 * delete: deletes the pod if it is still the pod of the verdict. Succeeds when the pod is gone.
 *
 * The pod's author chooses its grace period and may ignore SIGTERM. So the period is bounded, and
 * the node drops the pod's traffic until it is gone, by an entry in its quarantine list. The same
 * applies to a pod that the API server fails to delete. If the pod exists REMOVAL_MARGIN_MS after
 * its grace period (finalizer, node down), the task fails and the entry stays.
 */

import { encodeToken } from '@bailiff/bus';
import { deletePod, KubeError } from '@bailiff/kube';
import {
  editQuarantine,
  graceSecondsOf,
  isBeingDeleted,
  isSamePod,
  type PodFacts,
  QuarantineError,
  withoutEntry,
} from '@bailiff/response';
import { type Action, type ActionContext, DONE, type Outcome } from './action.ts';
import { readPod } from './api.ts';
import { addEntry } from './quarantine-entry.ts';

/** Time after the grace period for the kubelet to kill, unmount and report. */
export const REMOVAL_MARGIN_MS = 30_000;
/** Poll interval of a deletion in progress. */
export const REMOVAL_POLL_MS = 500;
/** Length of the quarantine entry of a pod that does not terminate. */
const ISOLATION_MS = 24 * 3_600_000;

const ALREADY_GONE: Outcome = { reasonCode: 'already-gone', reason: 'the pod was gone before the removal' };
const IN_PROGRESS: Outcome = { ...DONE, inProgress: true };

export const deleteAction: Action = {
  tookEffect: isGone,
  isInProgress: isTerminating,
  carryOut: (context) => remove(context, deletePod),
};

/**
 * Whether the pod is gone or its name belongs to another pod. If so, removes its quarantine entry.
 */
export async function isGone(context: ActionContext): Promise<boolean> {
  const { verdict, facts } = context;
  if (facts.pod && isSamePod(facts.pod, verdict.pod?.uid ?? '')) return false;
  await reconnect(context);
  return true;
}

export function isTerminating({ task, verdict, facts: { pod }, maxGraceSeconds }: ActionContext): boolean {
  return pod !== null && isSamePod(pod, verdict.pod?.uid ?? '') && isBeingDeleted(pod, task, maxGraceSeconds);
}

/** @param call requests the removal; returns false if the pod was gone already */
export async function remove(context: ActionContext, call: typeof deletePod): Promise<Outcome> {
  const { task, verdict, api, facts, maxGraceSeconds } = context;
  const { namespace, name, uid } = facts.pod as PodFacts;
  const gracePeriodSeconds = graceSecondsOf(facts.pod as PodFacts, task, maxGraceSeconds);
  if (!isTerminating(context)) {
    const request = call(api, { namespace, name, uid, gracePeriodSeconds });
    const exists = await request.catch((error) => isolateUndeletable(context, error));
    if (!exists) return ALREADY_GONE;
  }
  const pod = await readPod(api, { namespace, name });
  if (!pod || !isSamePod(pod, verdict.pod?.uid ?? '')) {
    await reconnect(context);
    return DONE;
  }
  const isolated = await isolateIfRoom(context);
  const waitedMs = context.nowMs - context.startedAtMicros / 1000;
  const boundMs = gracePeriodSeconds * 1000 + REMOVAL_MARGIN_MS;
  if (waitedMs < boundMs) return IN_PROGRESS;
  const { deletionGraceSeconds } = pod;
  return {
    reasonCode: 'not-gone',
    reason: `deleted with a grace period of ${deletionGraceSeconds ?? gracePeriodSeconds} s and not gone after ${Math.round(waitedMs / 1000)} s: ${isolated}. Check for a finalizer, and whether node ${verdict.nodeName} is up`,
    failed: true,
  };
}

/**
 * The pod's author chooses its size. A pod at etcd's size limit has no room for a deletion
 * timestamp, so the API server cannot store its deletion. The node drops its traffic all the same.
 * A disruption budget or a conflict does not isolate the pod.
 */
async function isolateUndeletable(context: ActionContext, error: unknown): Promise<never> {
  if (error instanceof KubeError && ['KUBE_SERVER', 'KUBE_INVALID'].includes(error.code)) await isolate(context);
  throw error;
}

/** A full list does not stop the deletion. @returns whether the pod's traffic is dropped, as text */
async function isolateIfRoom(context: ActionContext): Promise<string> {
  try {
    await isolate(context);
    return 'its traffic stays blocked';
  } catch (error) {
    if (!(error instanceof QuarantineError) || error.code !== 'QUARANTINE_FULL') throw error;
    return `its traffic passes, because ${error.message}`;
  }
}

async function isolate(context: ActionContext): Promise<void> {
  const { verdict } = context;
  const { uid: podUid = '', namespace: podNamespace = '', name: podName = '' } = verdict.pod ?? {};
  const { verdictId } = verdict;
  const until = new Date(endMs(context)).toISOString();
  await addEntry(context, { podUid, podNamespace, podName, verdictId, until, reason: 'it is being deleted' });
}

/** Removes the entry of `isolate`. An entry with another end belongs to another task. */
async function reconnect(context: ActionContext): Promise<void> {
  const { verdict, quarantine, nowMs } = context;
  const which = { podUid: verdict.pod?.uid ?? '', untilMs: endMs(context) };
  await editQuarantine(quarantine, encodeToken(verdict.nodeName), verdict.nodeName, (list) => {
    const existing = list.entries.find(({ podUid }) => podUid === which.podUid);
    return existing && Date.parse(existing.until) === which.untilMs
      ? withoutEntry(list, which, nowMs)
      : { list, outcome: 'kept' };
  });
}

/** Equal at every attempt: a task recognizes its entry by it. */
const endMs = ({ startedAtMicros }: ActionContext) => Math.floor(startedAtMicros / 1000) + ISOLATION_MS;
