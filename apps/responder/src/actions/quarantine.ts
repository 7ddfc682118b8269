/**
 * quarantine: the node's kernel drops the pod's traffic in both directions. The entry under
 * `bailiff_quarantine/<node>` enforces it and is written first. A pod label and a NetworkPolicy
 * owned by the pod are the visible record, while the API server has the pod. An existing object of
 * another owner is not overwritten.
 */

import { encodeToken } from '@bailiff/bus';
import { createNetworkPolicy, deleteNetworkPolicy, getNetworkPolicy, type KubeObject, patchPod } from '@bailiff/kube';
import {
  ALREADY_QUARANTINED,
  editQuarantine,
  isIsolation,
  isReleased,
  isSamePod,
  type PodFacts,
  podOfVerdict,
  QUARANTINE_LABEL,
  quarantineEndMicros,
  RELEASED,
  readQuarantine,
  withoutEntry,
} from '@bailiff/response';
import type { QuarantineEntry } from '@bailiff/schemas';
import {
  type Action,
  type ActionContext,
  DONE,
  type Outcome,
  POD_GONE,
  SUPERSEDED,
  type UndoContext,
} from './action.ts';
import { type Api, isKube, readPod } from './api.ts';
import { addEntry, withdrawEntry } from './quarantine-entry.ts';
import { unmark } from './unmark.ts';

export const quarantine: Action = {
  async tookEffect(context) {
    if ((await inForce(context)) === null) return false;
    const pod = podOfVerdict(context.facts.pod, context.verdict);
    if (!pod) return true;
    return isLabelled(pod) && (await getNetworkPolicy(context.api, pod.namespace, policyName(pod.uid))) !== null;
  },

  async carryOut(context) {
    const { nodeName } = context.verdict;
    const outcome = await addEntry(context, entryOf(context));
    if (outcome === 'released') return releasedMeanwhile(context);
    const pod = podOfVerdict(context.facts.pod, context.verdict);
    const record = pod ? await writeRecordIfAllowed(context, pod) : WITHOUT_OBJECT;
    // A concurrent release may have run before the record existed, and so has not removed it.
    const { list } = await readQuarantine(context.quarantine, keyOf(context), nodeName);
    if (isReleased(list, entryOf(context))) return releasedMeanwhile(context);
    if (outcome !== 'held') return record;
    return HELD;
  },

  async confirm(context) {
    if ((await inForce(context)) === null) await addEntry(context, entryOf(context));
  },

  async withdraw(context) {
    // Whether the list had the entry says nothing of the record: an attempt can fail in between, and an isolation
    // takes the place of an entry.
    const entry = await withdrawEntry(context, entryOf(context));
    const isOfOther = entry !== null && !isIsolation(entry);
    if (!isOfOther && !(await context.otherQuarantine())) await removeRecord(context.api, placeOf(context));
  },

  /** The entry blocks the traffic, and its end has to remove a label that may be there. */
  async leftBy(context, reason) {
    const entry = await inForce(context);
    if (!entry) return null;
    if (entry.verdictId !== context.verdict.verdictId && !isIsolation(entry)) return HELD;
    return {
      reasonCode: NOT_MARKED,
      reason: `in force on its node, but without its label or NetworkPolicy: ${reason}`,
    };
  },

  async undo({ done, nowMs, isQuarantinedToo, api, quarantine: bucket }: UndoContext) {
    const untilMs = (done.expiresAt as number) / 1000;
    const outcome = await editQuarantine(bucket, encodeToken(done.nodeName), done.nodeName, (list) =>
      withoutEntry(list, { podUid: done.podUid, untilMs }, nowMs),
    );
    // A removal keeps the pod isolated for longer, and has no end that would remove the record.
    if (outcome === 'kept' || (outcome === 'isolated' && isQuarantinedToo())) return SUPERSEDED;
    return removeRecord(api, done);
  },
};

/** Reason code of a quarantine that the API server does not show. */
const NOT_MARKED = 'not-marked';

const HELD: Outcome = {
  reasonCode: ALREADY_QUARANTINED,
  reason: 'another verdict keeps the pod in quarantine at least as long',
  isForeign: true,
};

/** The entry in the list that blocks the traffic of the pod at least as long; null: there is none. */
async function inForce(context: ActionContext): Promise<QuarantineEntry | null> {
  const { list } = await readQuarantine(context.quarantine, keyOf(context), context.verdict.nodeName);
  const entry = entryOf(context);
  const existing = list.entries.find((other) => other.podUid === entry.podUid);
  return existing && Date.parse(existing.until) >= Date.parse(entry.until) ? existing : null;
}

const WITHOUT_OBJECT: Outcome = {
  reasonCode: 'object-gone',
  reason:
    'the API server no longer has the pod. If its containers still run, the node drops their traffic, unless they use its network',
};

/**
 * After a release by a person: removes the visible record, unless the pod is in quarantine again.
 * Safe at any time.
 */
export async function clearReleased(context: UndoContext): Promise<Outcome> {
  const { done, isQuarantinedToo, api, quarantine: bucket } = context;
  const { list } = await readQuarantine(bucket, encodeToken(done.nodeName), done.nodeName);
  const entry = list.entries.find(({ podUid }) => podUid === done.podUid);
  if (entry && (!isIsolation(entry) || isQuarantinedToo())) return SUPERSEDED;
  return { ...(await removeRecord(api, done)), reasonCode: RELEASED };
}

/** A person released the pod during the action: removes the visible record. */
async function releasedMeanwhile(context: ActionContext): Promise<Outcome> {
  await removeRecord(context.api, placeOf(context));
  return { reasonCode: RELEASED, reason: 'a person released the pod meanwhile', refused: true };
}

/**
 * The entry is what blocks the traffic. A tenant can use up a quota of NetworkPolicies, and an admission
 * plugin can refuse the label: that is no failure of the quarantine.
 */
async function writeRecordIfAllowed({ api, task }: ActionContext, pod: PodFacts): Promise<Outcome> {
  try {
    return await writeRecord(api, pod, task.policy);
  } catch (error) {
    if (!isKube(error, 'KUBE_FORBIDDEN') && !isKube(error, 'KUBE_INVALID')) throw error;
    const reason = `in force on its node, but the API server refuses its label or NetworkPolicy: ${error.message}`;
    return { reasonCode: NOT_MARKED, reason };
  }
}

function placeOf({ verdict }: ActionContext): Parameters<typeof removeRecord>[1] {
  const { uid: podUid = '', namespace: podNamespace = '', name: podName = '' } = verdict.pod ?? {};
  return { podUid, podNamespace, podName, nodeName: verdict.nodeName };
}

const keyOf = ({ verdict }: ActionContext) => encodeToken(verdict.nodeName);

function entryOf({ verdict, expiresAtMicros, startedAtMicros }: ActionContext): QuarantineEntry {
  return {
    podUid: verdict.pod?.uid ?? '',
    podNamespace: verdict.pod?.namespace ?? '',
    podName: verdict.pod?.name ?? '',
    verdictId: verdict.verdictId,
    until: new Date(quarantineEndMicros(expiresAtMicros, startedAtMicros) / 1000).toISOString(),
    reason: verdict.reason,
  };
}

const isLabelled = (pod: PodFacts) => pod.labels[QUARANTINE_LABEL] === pod.uid;
const policyName = (podUid: string) => `bailiff-quarantine-${podUid}`;

async function writeRecord(api: Api, pod: PodFacts, policy: string): Promise<Outcome> {
  if (!isLabelled(pod)) await patchPod(api, pod, { labels: { [QUARANTINE_LABEL]: pod.uid } });
  try {
    await createNetworkPolicy(api, networkPolicyOf(pod, policy));
  } catch (error) {
    if (!isKube(error, 'KUBE_ALREADY_EXISTS')) throw error;
    const existing = await getNetworkPolicy(api, pod.namespace, policyName(pod.uid));
    if (existing !== null && !isOwnedBy(existing, pod.uid)) {
      return {
        reasonCode: 'record-name-taken',
        reason: `in force, but another NetworkPolicy has the name ${policyName(pod.uid)}`,
      };
    }
  }
  return DONE;
}

async function removeRecord(
  api: Api,
  done: { podNamespace: string; podName: string; podUid: string; nodeName: string },
): Promise<Outcome> {
  const pod = await readPod(api, { namespace: done.podNamespace, name: done.podName });
  if (!pod || !isSamePod(pod, done.podUid, done.nodeName)) return POD_GONE;
  const name = policyName(pod.uid);
  const policy = await getNetworkPolicy(api, pod.namespace, name);
  if (policy !== null && isOwnedBy(policy, pod.uid)) {
    await deleteNetworkPolicy(api, { namespace: pod.namespace, name, uid: policy.metadata.uid });
  }
  return isLabelled(pod) ? unmark(api, pod, { labels: { [QUARANTINE_LABEL]: null } }) : DONE;
}

function isOwnedBy(object: KubeObject, uid: string): boolean {
  return (object.metadata.ownerReferences ?? []).some((owner) => owner.uid === uid);
}

/** A NetworkPolicy that selects the pod by its label and allows no traffic. */
function networkPolicyOf(pod: PodFacts, policy: string) {
  return {
    metadata: {
      name: policyName(pod.uid),
      namespace: pod.namespace,
      labels: { 'app.kubernetes.io/managed-by': 'bailiff' },
      annotations: { 'bailiff.dev/policy': policy },
      ownerReferences: [{ apiVersion: 'v1', kind: 'Pod', name: pod.name, uid: pod.uid }],
    },
    spec: { podSelector: { matchLabels: { [QUARANTINE_LABEL]: pod.uid } }, policyTypes: ['Ingress', 'Egress'] },
  };
}
