/**
 * May this be done, now? Pure: (task, verdict, newest policy, what the API server says, what was done lately) → one decision with a code
 * and a sentence. The first guard that objects decides; their order goes from "this is not our culprit" over "this is never touched" to
 * "not so much at once", so that a record names the weightiest reason.
 *
 * An owner counts only where the API server confirms it (confirmed-owner.ts). The claim of a pod protects nothing, and charges nothing to the
 * workload that it names: such a pod is judged as a bare one. Budgets have three layers: the owner, the namespace, the cluster.
 *
 * A task that has its `started` record holds its reservation: identity, policy and protection are judged again at every try, budgets are not.
 */
import { parseDurationMs, type ResponsePolicy } from '@bailiff/policy';
import type { Response } from '@bailiff/schemas';
import { BUDGET_EXHAUSTED, DELETE_STORM, type Task, type VerdictSummary } from '../planning/plan.ts';
import { CORDONED_BY, type Facts, ownerOf, type PodFacts } from './facts.ts';

export type RefusalCode =
  /** The verdict is about a node, and the action about a pod. */
  | 'no-pod'
  /** The pod does not exist any more. */
  | 'pod-gone'
  /** The node does not exist any more. */
  | 'node-gone'
  /** Another pod has the name now. */
  | 'uid-changed'
  /** The pod is not on the node whose frames accuse it. */
  | 'node-mismatch'
  /** The pod is being deleted already. */
  | 'already-deleting'
  /** Somebody else cordoned the node. */
  | 'already-cordoned'
  /** The verdict is too old to be answered. */
  | 'stale-verdict'
  /** The response policy was deleted, switched off, or no longer asks for the action. */
  | 'policy-withdrawn'
  /** The namespace is protected by the policy. */
  | 'protected-namespace'
  /** Pods of that kind of owner are protected by the policy. */
  | 'protected-owner-kind'
  /** A static pod is started again by its kubelet, so it is only quarantined. */
  | 'static-pod'
  /** Nobody approved in time. */
  | 'approval-expired'
  /** As much was done in the window as the policy allows. */
  | 'budget-exhausted'
  /** Too few healthy replicas would be left. */
  | 'below-min-healthy'
  /** So many pods of one owner were removed in the window that its pods are quarantined instead. */
  | 'delete-storm';

export type Decision =
  | { kind: 'go' }
  | { kind: 'refuse'; code: RefusalCode; reason: string }
  | { kind: 'dryrun'; code: 'dry-run' | 'disarmed'; reason: string }
  | { kind: 'pending'; code: 'approval-required'; reason: string }
  | { kind: 'wait'; code: 'cooldown'; untilMicros: number; reason: string };

/** Something that was really begun: it counts against budgets whatever came of it. */
export interface ActionEntry {
  taskId: string;
  atMicros: number;
  action: Response['action'];
  policy: string;
  podUid: string;
  /** Empty when no owner was confirmed. */
  ownerUid: string;
  namespace: string;
  nodeName: string;
}

export interface GuardInput {
  task: Task;
  verdict: VerdictSummary;
  /** Newest version of the task's policy; null when it was deleted or switched off. */
  policy: ResponsePolicy | null;
  /** Why the operator has disarmed what the verdict is about; null when armed. */
  disarmed: string | null;
  facts: Facts;
  /** Begun within the last 24 h, oldest first. */
  actions: readonly ActionEntry[];
  reserved: boolean;
  pendingAtMicros: number | null;
  approvedAtMicros: number | null;
  nowMicros: number;
  limits: GuardLimits;
}

export interface GuardLimits {
  /** A verdict that is answered for the first time later than this after it was due is refused. */
  answerHorizonMs: number;
  /** A task waits this long for its approval. */
  approvalTimeoutMs: number;
  /** Longest grace period of a removal whose step names none. */
  maxGraceSeconds: number;
}

/**
 * An owner's count of ready replicas follows a deletion with a delay: the controller sees the pod go, then writes its status. Removals
 * this young are taken off the count as if it did not know them yet.
 */
export const STATUS_LAG_MICROS = 10_000_000;

const REMOVING: ReadonlySet<string> = new Set(['evict', 'delete']);
/** Actions that take a pod out of service: they count against budgets and need a reservation. */
const DISRUPTIVE: ReadonlySet<string> = new Set(['quarantine', 'evict', 'delete']);

/** True for actions whose `started` record is a reservation against budgets. */
export function needsReservation(action: string): boolean {
  return DISRUPTIVE.has(action) || action === 'cordon';
}

type Guard = (input: GuardInput) => Decision | null;
const refuse = (code: RefusalCode, reason: string): Decision => ({ kind: 'refuse', code, reason });

export function checkGuards(input: GuardInput): Decision {
  const always: Guard[] = [withdrawn, identity, protection, stale, dryRun];
  const once: Guard[] = [approval, storm, cooldown, budget, health];
  for (const guard of input.reserved ? always : [...always, ...once]) {
    const decision = guard(input);
    if (decision) return decision;
  }
  return { kind: 'go' };
}

/** True when the pod the API server has under the name is the one the verdict is about. */
export function isSamePod(pod: PodFacts, uid: string): boolean {
  return pod.uid === uid || (pod.staticUid !== null && pod.staticUid === uid);
}

function withdrawn({ task, policy }: GuardInput): Decision | null {
  if (!policy) return refuse('policy-withdrawn', `policy ${task.policy} was deleted or switched off since the verdict`);
  const has = (action: string) => policy.steps.some((step) => step.action === action);
  const substitute = task.action === 'quarantine' && (has('delete') || has('evict'));
  if (has(task.action) || substitute) return null;
  return refuse('policy-withdrawn', `policy ${task.policy} no longer asks for ${task.action}`);
}

function identity({ task, verdict, facts, reserved, limits }: GuardInput): Decision | null {
  const { pod, node } = facts;
  if (task.action === 'cordon' && !node) return refuse('node-gone', `node ${verdict.nodeName} does not exist`);
  if (task.action === 'cordon' && node?.unschedulable && node.annotations[CORDONED_BY] === undefined) {
    return refuse('already-cordoned', `node ${verdict.nodeName} was cordoned by somebody else, who may uncordon it`);
  }
  if (!verdict.pod) {
    if (task.action === 'cordon' || task.action === 'observe') return null;
    return refuse('no-pod', `the verdict is about node ${verdict.nodeName}, not about a pod`);
  }
  const name = `${verdict.pod.namespace}/${verdict.pod.name}`;
  // A node can be cordoned, and an event be told, after the pod is gone; a pod that lives elsewhere speaks against the verdict.
  const mayBeGone = task.action === 'cordon' || task.action === 'observe';
  if (!pod) return mayBeGone ? null : refuse('pod-gone', `pod ${name} does not exist any more`);
  if (!isSamePod(pod, verdict.pod.uid)) {
    if (mayBeGone) return null;
    return refuse('uid-changed', `the pod now called ${name} is another one (uid ${pod.uid}, not ${verdict.pod.uid})`);
  }
  if (pod.nodeName !== verdict.nodeName) {
    return refuse(
      'node-mismatch',
      `pod ${name} is on node "${pod.nodeName}", the verdict came from "${verdict.nodeName}"`,
    );
  }
  if (!reserved && REMOVING.has(task.action) && isBeingDeleted(pod, task, limits.maxGraceSeconds)) {
    return refuse('already-deleting', `pod ${name} is being deleted already`);
  }
  return null;
}

/** True when a deletion is under way that ends no later than the one the task asks for. */
export function isBeingDeleted(pod: PodFacts, task: Task, maxGraceSeconds: number): boolean {
  if (!pod.deleting) return false;
  return pod.deletionGraceSeconds === null || pod.deletionGraceSeconds <= graceSecondsOf(pod, task, maxGraceSeconds);
}

/** Kubernetes' own default of `terminationGracePeriodSeconds`. */
const DEFAULT_GRACE_SECONDS = 30;

/** Seconds between SIGTERM and SIGKILL: the step's; without one the pod's own, which its author chose, up to a bound. */
export function graceSecondsOf(pod: PodFacts, { step }: Pick<Task, 'step'>, maxGraceSeconds: number): number {
  return step.gracePeriodSeconds ?? Math.min(pod.terminationGraceSeconds ?? DEFAULT_GRACE_SECONDS, maxGraceSeconds);
}

function protection({ task, verdict, policy, facts }: GuardInput): Decision | null {
  const pod = facts.pod;
  if (!policy || !verdict.pod || !pod || task.action === 'observe' || task.action === 'cordon') return null;
  if (policy.guards.protectedNamespaces.includes(verdict.pod.namespace)) {
    return refuse('protected-namespace', `namespace ${verdict.pod.namespace} is protected by policy ${task.policy}`);
  }
  if (pod.staticUid !== null) {
    if (!REMOVING.has(task.action)) return null;
    return refuse('static-pod', `the pod is static: its kubelet would start it again, so it is only quarantined`);
  }
  const kind = ownerOf(facts)?.kind;
  const isOneOf = kind !== undefined && policy.guards.protectedOwnerKinds.includes(kind);
  if (isOneOf && DISRUPTIVE.has(task.action)) {
    return refuse('protected-owner-kind', `pods of a ${kind} are protected by policy ${task.policy}`);
  }
  return null;
}

function stale({ task, reserved, approvedAtMicros, pendingAtMicros, nowMicros, limits }: GuardInput): Decision | null {
  if (reserved || approvedAtMicros !== null || pendingAtMicros !== null) return null;
  if (nowMicros - task.dueAtMicros <= limits.answerHorizonMs * 1000) return null;
  return refuse(
    'stale-verdict',
    `this was due ${Math.round((nowMicros - task.dueAtMicros) / 60e6)} min ago, too long to act on`,
  );
}

function dryRun({ task, policy, disarmed }: GuardInput): Decision | null {
  if (disarmed) return { kind: 'dryrun', code: 'disarmed', reason: `would ${task.action}, but ${disarmed}` };
  if (!task.dryRun && !policy?.dryRun) return null;
  return { kind: 'dryrun', code: 'dry-run', reason: `would ${task.action}; policy ${task.policy} is a dry run` };
}

function approval(from: GuardInput): Decision | null {
  const { task, policy, approvedAtMicros, pendingAtMicros, nowMicros, limits } = from;
  if (policy?.guards.approval !== 'required' || approvedAtMicros !== null) return null;
  if (pendingAtMicros !== null && nowMicros - pendingAtMicros > limits.approvalTimeoutMs * 1000) {
    return refuse('approval-expired', `nobody approved within ${limits.approvalTimeoutMs / 60_000} min`);
  }
  return { kind: 'pending', code: 'approval-required', reason: `policy ${task.policy} lets a person decide` };
}

function storm({ task, verdict, policy, facts, actions, nowMicros }: GuardInput): Decision | null {
  const owner = ownerOf(facts);
  if (!policy || !owner || !REMOVING.has(task.action)) return null;
  const { deletes, window } = policy.guards.deleteStorm;
  const since = nowMicros - windowMicros(window);
  const removed = distinct(
    actions.filter(
      (a) => a.atMicros >= since && a.ownerUid === owner.uid && REMOVING.has(a.action) && a.taskId !== task.taskId,
    ),
    'podUid',
  );
  removed.delete(verdict.pod?.uid ?? '');
  if (removed.size < deletes) return null;
  return refuse(
    DELETE_STORM,
    `${removed.size} pods of ${owner.kind} ${owner.name} were deleted within ${window}: deleting does not help, so it is quarantined`,
  );
}

function cooldown({ task, verdict, policy, facts, actions, nowMicros }: GuardInput): Decision | null {
  const waitMicros = policy ? windowMicros(policy.guards.cooldown) : 0;
  if (waitMicros === 0 || task.action === 'observe' || task.action === 'capture') return null;
  const whose = task.action === 'cordon' ? verdict.nodeName : (ownerOf(facts)?.uid ?? verdict.pod?.uid ?? '');
  const keyOf = (a: ActionEntry) => (a.action === 'cordon' ? a.nodeName : a.ownerUid || a.podUid);
  const last = actions.findLast((a) => a.action === task.action && a.taskId !== task.taskId && keyOf(a) === whose);
  if (!last || last.atMicros + waitMicros <= nowMicros) return null;
  const untilMicros = last.atMicros + waitMicros;
  return {
    kind: 'wait',
    code: 'cooldown',
    untilMicros,
    reason: `the last ${task.action} was less than ${policy?.guards.cooldown} ago`,
  };
}

function budget({ task, verdict, policy, facts, actions, nowMicros }: GuardInput): Decision | null {
  if (!policy || !needsReservation(task.action)) return null;
  const limits = policy.guards.budget;
  const { window } = limits;
  const recent = actions.filter((a) => a.atMicros >= nowMicros - windowMicros(window) && a.taskId !== task.taskId);
  if (task.action === 'cordon') {
    const nodes = distinct(
      recent.filter((a) => a.action === 'cordon'),
      'nodeName',
    );
    nodes.delete(verdict.nodeName);
    if (nodes.size < limits.maxNodes) return null;
    return refuse(BUDGET_EXHAUSTED, `${nodes.size} nodes were cordoned within ${window}, the most allowed`);
  }
  // Where a quarantine stands in for what the budget refuses, a budget that refused it too would let a pod beyond it go on.
  if (task.action === 'quarantine' && limits.exhausted === 'quarantine') return null;
  const uid = verdict.pod?.uid ?? '';
  const disrupted = recent.filter((a) => DISRUPTIVE.has(a.action) && a.podUid !== uid);
  return ofClusterAndNamespace(disrupted, verdict.pod?.namespace ?? '', limits) ?? ofOwner(disrupted, facts, limits);
}

type Budget = ResponsePolicy['guards']['budget'];

/** A namespace is charged to the cluster for its share at most: whatever happens in one, the rest of the budget is the others'. */
function ofClusterAndNamespace(disrupted: readonly ActionEntry[], namespace: string, limits: Budget): Decision | null {
  const { window, maxPods } = limits;
  const share = namespaceShare(limits);
  const pods = new Map<string, Set<string>>();
  for (const { namespace: whose, podUid } of disrupted) pods.set(whose, (pods.get(whose) ?? new Set()).add(podUid));
  let charged = 0;
  for (const { size } of pods.values()) charged += Math.min(size, share);
  if (charged >= maxPods)
    return refuse(BUDGET_EXHAUSTED, `${charged} pods were answered within ${window}, the most allowed`);
  const own = pods.get(namespace)?.size ?? 0;
  if (own < share) return null;
  return refuse(
    BUDGET_EXHAUSTED,
    `${own} pods of namespace ${namespace} were answered within ${window}; ${share} of the cluster's ${maxPods} is its share`,
  );
}

/** Pods of one namespace that may be answered in the window. */
export function namespaceShare({ maxPods, maxPodsPerNamespace }: Budget): number {
  return maxPodsPerNamespace ?? Math.ceil(maxPods / 2);
}

/** A pod without a confirmed owner is no replica of anything: only the other layers hold for it. */
function ofOwner(disrupted: readonly ActionEntry[], facts: Facts, { window, maxPercent }: Budget): Decision | null {
  const owner = ownerOf(facts);
  if (!owner || !facts.owner) return null;
  const { replicas } = facts.owner;
  const allowed = Math.ceil((replicas * maxPercent) / 100);
  const answered = distinct(
    disrupted.filter((a) => a.ownerUid === owner.uid),
    'podUid',
  ).size;
  if (answered < allowed) return null;
  return refuse(
    BUDGET_EXHAUSTED,
    `${answered} pods of ${owner.kind} ${owner.name} were answered within ${window}; ${maxPercent} % of ${replicas} is the most allowed`,
  );
}

function health({ task, verdict, policy, facts, actions, nowMicros }: GuardInput): Decision | null {
  const floor = policy?.guards.minHealthyReplicas ?? 0;
  const { pod } = facts;
  const owner = ownerOf(facts);
  // The floor is a workload's. A pod that no controller replaces has no replicas to keep, and its claim of an owner is no reason to spare it.
  if (floor === 0 || !pod || !owner || !facts.owner || !REMOVING.has(task.action)) return null;
  const { kind, name, uid } = owner;
  const young = actions.filter(
    (a) =>
      a.atMicros >= nowMicros - STATUS_LAG_MICROS &&
      a.ownerUid === uid &&
      DISRUPTIVE.has(a.action) &&
      a.podUid !== verdict.pod?.uid,
  );
  const left = facts.owner.ready - distinct(young, 'podUid').size - (pod.ready ? 1 : 0);
  if (left >= floor) return null;
  return refuse('below-min-healthy', `${kind} ${name} would be left with ${left} healthy replicas; ${floor} must stay`);
}

function distinct(entries: readonly ActionEntry[], field: 'podUid' | 'nodeName'): Set<string> {
  return new Set(entries.map((entry) => entry[field]));
}

function windowMicros(text: string): number {
  return (parseDurationMs(text) as number) * 1000;
}
