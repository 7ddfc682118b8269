/**
 * Guards: whether a task may run now. Pure: (task, verdict, newest policy, facts, recent actions) →
 * one decision with a code and a sentence. Guards run in the order identity, protection, limits
 * (action-limits.ts); the first refusal decides, so a record has the most significant reason.
 *
 * An owner protects a pod from removal only, and only if the API server has it (confirmed-owner.ts): the
 * pod is quarantined instead, because tenants create workloads of every kind. It does not protect a pod
 * on the network of its node, which cannot be quarantined (`protectingOwnerOf`). A task with a
 * `started` record has its reservation: each try checks identity, policy and protection again, but
 * no limits.
 */
import { REMOVING_ACTIONS } from '@bailiff/policy';
import { HOST_NETWORK, PROTECTED_OWNER_KIND, STATIC_POD, type Task, type VerdictSummary } from '../planning/plan.ts';
import { ACTION_LIMITS } from './action-limits.ts';
import { type Decision, type Guard, type GuardInput, refuse } from './decision.ts';
import { CORDONED_BY, type PodFacts, protectingOwnerOf } from './facts.ts';

export function checkGuards(input: GuardInput): Decision {
  const always: Guard[] = [withdrawn, identity, protection, stale, dryRun];
  const once: Guard[] = [approval, ...ACTION_LIMITS];
  for (const guard of input.reserved ? always : [...always, ...once]) {
    const decision = guard(input);
    if (decision) return decision;
  }
  return { kind: 'go' };
}

/**
 * True if the pod that the API server returned has this UID on this node. The UID of a static pod is an
 * annotation, which every author of a pod can write: it counts on the node of the verdict alone, so that a
 * pod elsewhere contradicts no verdict. It never is the UID of another pod (`podFactsOf`): one on the
 * network of its node, with the name of a pod that was removed by force, would spare that one any response.
 */
export function isSamePod(pod: PodFacts, uid: string, nodeName: string): boolean {
  return pod.uid === uid || (pod.staticUid !== null && pod.staticUid === uid && pod.nodeName === nodeName);
}

/** The pod that the API server returned, if it is that of the verdict. */
export function podOfVerdict(pod: PodFacts | null, verdict: Pick<VerdictSummary, 'pod' | 'nodeName'>): PodFacts | null {
  return pod && isSamePod(pod, verdict.pod?.uid ?? '', verdict.nodeName) ? pod : null;
}

function withdrawn({ task, policy }: GuardInput): Decision | null {
  if (!policy) return refuse('policy-withdrawn', `policy ${task.policy} was deleted or disabled after the verdict`);
  const has = (action: string) => policy.steps.some((step) => step.action === action);
  const replaces = task.action === 'quarantine' || (task.action === 'delete' && task.substitute);
  const substitute = replaces && (has('delete') || has('evict'));
  if (has(task.action) || substitute) return null;
  return refuse('policy-withdrawn', `policy ${task.policy} no longer has the action ${task.action}`);
}

function identity({ task, verdict, facts }: GuardInput): Decision | null {
  const { pod, node } = facts;
  if (task.action === 'cordon' && !node) return refuse('node-gone', `node ${verdict.nodeName} does not exist`);
  if (task.action === 'cordon' && node?.unschedulable && node.annotations[CORDONED_BY] === undefined) {
    return refuse(
      'already-cordoned',
      `node ${verdict.nodeName} was not cordoned by Bailiff, which does not uncordon it either`,
    );
  }
  if (!verdict.pod) {
    if (task.action === 'cordon' || task.action === 'observe') return null;
    return refuse('no-pod', `the verdict is about node ${verdict.nodeName}, not about a pod`);
  }
  const name = `${verdict.pod.namespace}/${verdict.pod.name}`;
  // A user who may delete pods can remove the object by force while the containers run on, and a node
  // acts by UID. A pod on another node contradicts the verdict.
  const mayBeGone = task.action !== 'label';
  if (!pod) return mayBeGone ? null : refuse('pod-gone', `pod ${name} does not exist any more`);
  if (!podOfVerdict(pod, verdict)) {
    if (mayBeGone) return null;
    return refuse(
      'uid-changed',
      `the name ${name} now belongs to another pod (uid ${pod.uid}, not ${verdict.pod.uid})`,
    );
  }
  if (pod.nodeName !== verdict.nodeName) {
    return refuse(
      'node-mismatch',
      `pod ${name} is on node "${pod.nodeName}", the verdict came from "${verdict.nodeName}"`,
    );
  }
  return null;
}

/** True if a deletion is in progress that ends no later than the task's own would. */
export function isBeingDeleted(pod: PodFacts, task: Task, maxGraceSeconds: number): boolean {
  if (!pod.deleting) return false;
  return pod.deletionGraceSeconds === null || pod.deletionGraceSeconds <= graceSecondsOf(pod, task, maxGraceSeconds);
}

/** Kubernetes' own default of `terminationGracePeriodSeconds`. */
const DEFAULT_GRACE_SECONDS = 30;

/**
 * Grace period of a removal: that of the step, otherwise that of the pod up to a bound. The pod's
 * author controls the latter.
 */
export function graceSecondsOf(pod: PodFacts, { step }: Pick<Task, 'step'>, maxGraceSeconds: number): number {
  return step.gracePeriodSeconds ?? Math.min(pod.terminationGraceSeconds ?? DEFAULT_GRACE_SECONDS, maxGraceSeconds);
}

function protection({ task, verdict, policy, facts, limits }: GuardInput): Decision | null {
  if (!policy || !verdict.pod || task.action === 'observe' || task.action === 'cordon') return null;
  // A policy has a list of its own, or the default one, which cannot know this namespace.
  if (limits.ownNamespace && verdict.pod.namespace === limits.ownNamespace)
    return refuse('protected-namespace', `namespace ${limits.ownNamespace} is that of Bailiff itself`);
  if (policy.guards.protectedNamespaces.includes(verdict.pod.namespace)) {
    return refuse('protected-namespace', `namespace ${verdict.pod.namespace} is protected by policy ${task.policy}`);
  }
  const pod = podOfVerdict(facts.pod, verdict);
  if (!pod) return null;
  if (task.action === 'quarantine' && pod.hostNetwork) {
    const removes = policy.steps.some(({ action }) => REMOVING_ACTIONS.has(action));
    const next = removes
      ? `the removal of policy ${task.policy} follows`
      : `policy ${task.policy} has no step that removes it. Delete it, or name the namespace in protectedNamespaces`;
    return refuse(
      HOST_NETWORK,
      `the pod uses the network of node ${verdict.nodeName}: a quarantine would block nothing, and ${next}`,
    );
  }
  if (pod.staticUid !== null) {
    if (!REMOVING_ACTIONS.has(task.action)) return null;
    return refuse(STATIC_POD, `the kubelet would restart this static pod: it is quarantined instead`);
  }
  const kind = protectingOwnerOf(facts)?.kind;
  const isOneOf = kind !== undefined && policy.guards.protectedOwnerKinds.includes(kind);
  if (!isOneOf || !REMOVING_ACTIONS.has(task.action)) return null;
  return refuse(PROTECTED_OWNER_KIND, `policy ${task.policy} removes no pods of a ${kind}: it is quarantined instead`);
}

function stale(input: GuardInput): Decision | null {
  const { task, reserved, mayHaveRun, approvedAtMicros, pendingAtMicros, nowMicros, limits } = input;
  if (reserved || approvedAtMicros !== null || pendingAtMicros !== null) return null;
  if (mayHaveRun) {
    return refuse(
      'stale-verdict',
      'RESPONSES was full and has deleted the records of that time: it may have run before',
    );
  }
  if (nowMicros - task.dueAtMicros <= limits.maxOverdueMs * 1000) return null;
  return refuse(
    'stale-verdict',
    `the task was due ${Math.round((nowMicros - task.dueAtMicros) / 60e6)} min ago, which is too old for a response`,
  );
}

function dryRun({ task, policy, disarmed, limits }: GuardInput): Decision | null {
  if (disarmed) return { kind: 'dryrun', code: 'disarmed', reason: `would ${task.action}, but ${disarmed}` };
  if (limits.dryRun)
    return {
      kind: 'dryrun',
      code: 'dry-run',
      reason: `would ${task.action}; every response of this responder is a dry run (--dry-run)`,
    };
  if (!task.dryRun && !policy?.dryRun) return null;
  return { kind: 'dryrun', code: 'dry-run', reason: `would ${task.action}; policy ${task.policy} is a dry run` };
}

function approval(from: GuardInput): Decision | null {
  const { task, policy, approvedAtMicros, pendingAtMicros, nowMicros, limits } = from;
  if (policy?.guards.approval !== 'required' || approvedAtMicros !== null) return null;
  if (pendingAtMicros !== null && nowMicros - pendingAtMicros > limits.approvalTimeoutMs * 1000) {
    return refuse('approval-expired', `no approval within ${limits.approvalTimeoutMs / 60_000} min`);
  }
  return { kind: 'pending', code: 'approval-required', reason: `policy ${task.policy} requires an approval` };
}
