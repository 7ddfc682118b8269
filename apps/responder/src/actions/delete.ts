/**
 * delete: deletes the pod if it is still the pod of the verdict. Succeeds when its object is gone.
 *
 * The pod's author chooses its grace period, may ignore SIGTERM, and may remove the object by force
 * while the containers run on. So the period is bounded, and an entry in the quarantine list makes
 * the node drop the pod's traffic, also of a pod that the API server fails to delete or no longer
 * has. The quarantine controller removes the entry when the node reports that the pod is gone. If
 * the object exists REMOVAL_MARGIN_MS after its grace period (finalizer, node down), the task fails.
 */

import { encodeToken } from '@bailiff/bus';
import { deletePod, KubeError } from '@bailiff/kube';
import {
  graceSecondsOf,
  isBeingDeleted,
  type PutOutcome,
  podOfVerdict,
  QuarantineError,
  REMOVAL_REASON,
  readQuarantine,
} from '@bailiff/response';
import type { QuarantineEntry } from '@bailiff/schemas';
import { type Action, type ActionContext, DONE, type Outcome } from './action.ts';
import { readRemoval } from './api.ts';
import { addEntry, withdrawEntry } from './quarantine-entry.ts';

/** Time after the grace period for the kubelet to kill, unmount and report. */
export const REMOVAL_MARGIN_MS = 30_000;
/** Poll interval of a deletion in progress. */
export const REMOVAL_POLL_MS = 500;
/** Longest time of the quarantine entry: a node may never report. */
const ISOLATION_MS = 24 * 3_600_000;

const IN_PROGRESS: Outcome = { ...DONE, inProgress: true };

/** What `isolateUndeletable` has added, of a task that ends without a removal. */
export const ISOLATION: Required<Pick<Action, 'withdraw' | 'leftBy'>> = {
  async withdraw(context) {
    await withdrawEntry(context, isolationOf(context));
  },

  async leftBy(context, reason) {
    const { quarantine, verdict } = context;
    const { list } = await readQuarantine(quarantine, encodeToken(verdict.nodeName), verdict.nodeName);
    const { podUid, until } = isolationOf(context);
    if (!list.entries.some((entry) => entry.podUid === podUid && entry.until === until)) return null;
    return { reasonCode: '', reason: `the pod's traffic stays blocked until ${until}: ${reason}`, failed: true };
  },
};

export const deleteAction: Action = {
  tookEffect: isGone,
  isInProgress: isTerminating,
  carryOut: (context) => remove(context, deletePod),
  ...ISOLATION,
};

/** Whether the API server has no such pod any more. Its containers may run on, so it is isolated. */
export async function isGone(context: ActionContext): Promise<boolean> {
  if (podOfVerdict(context.facts.pod, context.verdict)) return false;
  await isolateIfRoom(context);
  return true;
}

export function isTerminating({ task, verdict, facts, maxGraceSeconds }: ActionContext): boolean {
  const pod = podOfVerdict(facts.pod, verdict);
  return pod !== null && isBeingDeleted(pod, task, maxGraceSeconds);
}

/** @param call requests the removal; returns false if the pod was gone already */
export async function remove(context: ActionContext, call: typeof deletePod): Promise<Outcome> {
  const { task, verdict, api, facts, maxGraceSeconds } = context;
  const known = podOfVerdict(facts.pod, verdict);
  if (!known) return alreadyGone(context);
  const { namespace, name, uid } = known;
  const gracePeriodSeconds = graceSecondsOf(known, task, maxGraceSeconds);
  const isPolled = isTerminating(context);
  if (!isPolled) {
    const request = call(api, { namespace, name, uid, gracePeriodSeconds });
    const exists = await request.catch((error) => isolateUndeletable(context, error));
    if (!exists) return alreadyGone(context);
  }
  const isolated = await isolateIfRoom(context);
  const pod = isPolled ? known : podOfVerdict(await readRemoval(api, { namespace, name }), verdict);
  if (!pod) return DONE;
  // Not from the start of the task: a disruption budget or a slow API server can hold up the request.
  const boundMs = gracePeriodSeconds * 1000 + REMOVAL_MARGIN_MS;
  if (context.removingForMs < boundMs) return IN_PROGRESS;
  const { deletionGraceSeconds } = pod;
  return {
    reasonCode: 'not-gone',
    reason: `deleted with a grace period of ${deletionGraceSeconds ?? gracePeriodSeconds} s and not gone after ${Math.round(context.removingForMs / 1000)} s: ${isolated}. Check for a finalizer, and whether node ${verdict.nodeName} is up`,
    failed: true,
  };
}

async function alreadyGone(context: ActionContext): Promise<Outcome> {
  const isolated = await isolateIfRoom(context);
  const unless = context.hostNetwork
    ? ''
    : '. A pod that uses the network of its node has no traffic that can be blocked';
  return {
    reasonCode: 'already-gone',
    reason: `the API server no longer has the pod. If its containers still run, ${isolated}${unless}`,
  };
}

/**
 * The pod's author chooses its size. A pod at etcd's size limit has no room for a deletion
 * timestamp, so the API server cannot store its deletion. The author chooses its labels too, and
 * admission policies of a cluster can refuse the deletion of pods by label. The node drops its traffic
 * all the same. A disruption budget, a conflict or a missing right does not isolate the pod.
 */
async function isolateUndeletable(context: ActionContext, error: unknown): Promise<never> {
  const isUndeletable = error instanceof KubeError && ['KUBE_SERVER', 'KUBE_INVALID'].includes(error.code);
  if (isUndeletable && !context.hostNetwork) await isolate(context);
  throw error;
}

/**
 * A full list does not stop the deletion, and the node cannot drop the traffic of a pod that has its
 * network. @returns whether the pod's traffic is dropped, as text
 */
async function isolateIfRoom(context: ActionContext): Promise<string> {
  if (context.hostNetwork) return `its traffic passes, because it uses the network of node ${context.verdict.nodeName}`;
  try {
    const outcome = await isolate(context);
    return outcome === 'released' ? 'its traffic passes, because a person released it' : 'its traffic stays blocked';
  } catch (error) {
    if (!(error instanceof QuarantineError) || error.code !== 'QUARANTINE_FULL') throw error;
    return `its traffic passes, because ${error.message}`;
  }
}

function isolate(context: ActionContext): Promise<PutOutcome> {
  return addEntry(context, isolationOf(context));
}

/** Equal at every attempt: a repeated one finds its entry and writes nothing. */
function isolationOf({ verdict, startedAtMicros }: ActionContext): QuarantineEntry {
  const { uid: podUid = '', namespace: podNamespace = '', name: podName = '' } = verdict.pod ?? {};
  const until = new Date(Math.floor(startedAtMicros / 1000) + ISOLATION_MS).toISOString();
  return { podUid, podNamespace, podName, verdictId: verdict.verdictId, until, reason: REMOVAL_REASON };
}
