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
import { addEntry } from './quarantine-entry.ts';
import { unmark } from './unmark.ts';

export const quarantine: Action = {
  async tookEffect(context) {
    const { list } = await readQuarantine(context.quarantine, keyOf(context), context.verdict.nodeName);
    const entry = entryOf(context);
    const existing = list.entries.find((other) => other.podUid === entry.podUid);
    if (!existing || Date.parse(existing.until) < Date.parse(entry.until)) return false;
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
    return {
      reasonCode: ALREADY_QUARANTINED,
      reason: 'another verdict keeps the pod in quarantine at least as long',
      isForeign: true,
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
async function releasedMeanwhile({ api, verdict }: ActionContext): Promise<Outcome> {
  const { uid = '', namespace = '', name = '' } = verdict.pod ?? {};
  await removeRecord(api, { podUid: uid, podNamespace: namespace, podName: name, nodeName: verdict.nodeName });
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
    return { reasonCode: 'not-marked', reason };
  }
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
