/**
 * Guards: whether a task may run now. Pure: (task, verdict, newest policy, facts, recent actions) →
 * one decision with a code and a sentence. Guards run in the order identity, protection, limits;
 * the first refusal decides, so a record has the most significant reason.
 *
 * Only an owner that the API server confirms protects a pod or has a budget (confirmed-owner.ts).
 * Budgets have three layers: owner, namespace, cluster. A task with a `started` record has its
 * reservation: each try checks identity, policy and protection again, but no budgets.
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
  /** Another pod has this name now. */
  | 'uid-changed'
  /** The pod is not on the node that reported it. */
  | 'node-mismatch'
  /** The pod is being deleted already. */
  | 'already-deleting'
  /** Another user or program cordoned the node. */
  | 'already-cordoned'
  /** The verdict is too old for a response. */
  | 'stale-verdict'
  /** The response policy was deleted or disabled, or no longer has the action. */
  | 'policy-withdrawn'
  /** The policy protects the namespace. */
  | 'protected-namespace'
  /** The policy protects pods of this kind of owner. */
  | 'protected-owner-kind'
  /** The kubelet restarts a static pod, so it can only be quarantined. */
  | 'static-pod'
  /** No approval within the time limit. */
  | 'approval-expired'
  /** The policy's budget of the window is used up. */
  | 'budget-exhausted'
  /** Too few healthy replicas would be left. */
  | 'below-min-healthy'
  /**
   * Too many pods of one owner were removed in the window; further ones are quarantined instead.
   */
  | 'delete-storm';

export type Decision =
  | { kind: 'go' }
  | { kind: 'refuse'; code: RefusalCode; reason: string }
  | { kind: 'dryrun'; code: 'dry-run' | 'disarmed'; reason: string }
  | { kind: 'pending'; code: 'approval-required'; reason: string }
  | { kind: 'wait'; code: 'cooldown'; untilMicros: number; reason: string };

/** A started action. It uses budget, whatever its outcome. */
export interface ActionEntry {
  taskId: string;
  atMicros: number;
  action: Response['action'];
  policy: string;
  podUid: string;
  /** Empty without a confirmed owner. */
  ownerUid: string;
  namespace: string;
  nodeName: string;
}

export interface GuardInput {
  task: Task;
  verdict: VerdictSummary;
  /** Newest version of the task's policy; null if it was deleted or disabled. */
  policy: ResponsePolicy | null;
  /** The disarming that covers the verdict; null if armed. */
  disarmed: string | null;
  facts: Facts;
  /** Actions started within the last 24 h, oldest first. */
  actions: readonly ActionEntry[];
  reserved: boolean;
  pendingAtMicros: number | null;
  approvedAtMicros: number | null;
  nowMicros: number;
  limits: GuardLimits;
}

export interface GuardLimits {
  /** A task that starts later than this after its due time is refused. */
  answerHorizonMs: number;
  /** Time limit of an approval. */
  approvalTimeoutMs: number;
  /** Upper bound of the grace period if the step has none. */
  maxGraceSeconds: number;
}

/**
 * The controller updates an owner's count of ready replicas some time after a deletion. Removals
 * younger than this are subtracted from the count.
 */
export const STATUS_LAG_MICROS = 10_000_000;

const REMOVING: ReadonlySet<string> = new Set(['evict', 'delete']);
/** Actions that take a pod out of service: they use budget and need a reservation. */
const DISRUPTIVE: ReadonlySet<string> = new Set(['quarantine', 'evict', 'delete']);

/** True for actions whose `started` record reserves budget. */
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

/** True if the pod that the API server returned is the pod of the verdict. */
export function isSamePod(pod: PodFacts, uid: string): boolean {
  return pod.uid === uid || (pod.staticUid !== null && pod.staticUid === uid);
}

function withdrawn({ task, policy }: GuardInput): Decision | null {
  if (!policy) return refuse('policy-withdrawn', `policy ${task.policy} was deleted or disabled after the verdict`);
  const has = (action: string) => policy.steps.some((step) => step.action === action);
  const substitute = task.action === 'quarantine' && (has('delete') || has('evict'));
  if (has(task.action) || substitute) return null;
  return refuse('policy-withdrawn', `policy ${task.policy} no longer has the action ${task.action}`);
}

function identity({ task, verdict, facts, reserved, limits }: GuardInput): Decision | null {
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
  // Cordon and event do not need the pod. A pod on another node contradicts the verdict.
  const mayBeGone = task.action === 'cordon' || task.action === 'observe';
  if (!pod) return mayBeGone ? null : refuse('pod-gone', `pod ${name} does not exist any more`);
  if (!isSamePod(pod, verdict.pod.uid)) {
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
  if (!reserved && REMOVING.has(task.action) && isBeingDeleted(pod, task, limits.maxGraceSeconds)) {
    return refuse('already-deleting', `pod ${name} is being deleted already`);
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

function protection({ task, verdict, policy, facts }: GuardInput): Decision | null {
  const pod = facts.pod;
  if (!policy || !verdict.pod || !pod || task.action === 'observe' || task.action === 'cordon') return null;
  if (policy.guards.protectedNamespaces.includes(verdict.pod.namespace)) {
    return refuse('protected-namespace', `namespace ${verdict.pod.namespace} is protected by policy ${task.policy}`);
  }
  if (pod.staticUid !== null) {
    if (!REMOVING.has(task.action)) return null;
    return refuse('static-pod', `the kubelet would restart this static pod; it can only be quarantined`);
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
    `the task was due ${Math.round((nowMicros - task.dueAtMicros) / 60e6)} min ago, which is too old for a response`,
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
    return refuse('approval-expired', `no approval within ${limits.approvalTimeoutMs / 60_000} min`);
  }
  return { kind: 'pending', code: 'approval-required', reason: `policy ${task.policy} requires an approval` };
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
    `${removed.size} pods of ${owner.kind} ${owner.name} were deleted within ${window}: quarantine replaces further deletions`,
  );
}

function cooldown({ task, verdict, policy, facts, actions, nowMicros }: GuardInput): Decision | null {
  const waitMicros = policy ? windowMicros(policy.guards.cooldown) : 0;
  if (waitMicros === 0 || task.action === 'observe' || task.action === 'capture') return null;
  const key = task.action === 'cordon' ? verdict.nodeName : (ownerOf(facts)?.uid ?? verdict.pod?.uid ?? '');
  const keyOf = (a: ActionEntry) => (a.action === 'cordon' ? a.nodeName : a.ownerUid || a.podUid);
  const last = actions.findLast((a) => a.action === task.action && a.taskId !== task.taskId && keyOf(a) === key);
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
    return refuse(BUDGET_EXHAUSTED, `${nodes.size} nodes were cordoned within ${window}, which is the limit`);
  }
  // This quarantine replaces actions that the budget refuses, so the budget does not apply to it.
  if (task.action === 'quarantine' && limits.exhausted === 'quarantine') return null;
  const uid = verdict.pod?.uid ?? '';
  const disrupted = recent.filter((a) => DISRUPTIVE.has(a.action) && a.podUid !== uid);
  return ofClusterAndNamespace(disrupted, verdict.pod?.namespace ?? '', limits) ?? ofOwner(disrupted, facts, limits);
}

type Budget = ResponsePolicy['guards']['budget'];

/**
 * A namespace uses at most its share of the cluster's budget, so the rest stays available to other
 * namespaces.
 */
function ofClusterAndNamespace(disrupted: readonly ActionEntry[], namespace: string, limits: Budget): Decision | null {
  const { window, maxPods } = limits;
  const share = namespaceShare(limits);
  const pods = new Map<string, Set<string>>();
  for (const { namespace: name, podUid } of disrupted) pods.set(name, (pods.get(name) ?? new Set()).add(podUid));
  let charged = 0;
  for (const { size } of pods.values()) charged += Math.min(size, share);
  if (charged >= maxPods)
    return refuse(BUDGET_EXHAUSTED, `${charged} pods were acted on within ${window}, which is the limit`);
  const own = pods.get(namespace)?.size ?? 0;
  if (own < share) return null;
  return refuse(
    BUDGET_EXHAUSTED,
    `${own} pods of namespace ${namespace} were acted on within ${window}; its share is ${share} of the cluster's ${maxPods}`,
  );
}

/** Limit of pods of one namespace in the window. */
export function namespaceShare({ maxPods, maxPodsPerNamespace }: Budget): number {
  return maxPodsPerNamespace ?? Math.ceil(maxPods / 2);
}

/** Budget of the owner. A pod without a confirmed owner has only the other layers. */
function ofOwner(disrupted: readonly ActionEntry[], facts: Facts, { window, maxPercent }: Budget): Decision | null {
  const owner = ownerOf(facts);
  if (!owner || !facts.owner) return null;
  const { replicas } = facts.owner;
  const allowed = Math.ceil((replicas * maxPercent) / 100);
  const acted = distinct(
    disrupted.filter((a) => a.ownerUid === owner.uid),
    'podUid',
  ).size;
  if (acted < allowed) return null;
  return refuse(
    BUDGET_EXHAUSTED,
    `${acted} pods of ${owner.kind} ${owner.name} were acted on within ${window}; the limit is ${maxPercent} % of ${replicas}`,
  );
}

function health({ task, verdict, policy, facts, actions, nowMicros }: GuardInput): Decision | null {
  const floor = policy?.guards.minHealthyReplicas ?? 0;
  const { pod } = facts;
  const owner = ownerOf(facts);
  // The floor protects a workload. A pod without a confirmed owner is not part of one.
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
  return refuse(
    'below-min-healthy',
    `${kind} ${name} would have ${left} healthy replicas left; the minimum is ${floor}`,
  );
}

function distinct(entries: readonly ActionEntry[], field: 'podUid' | 'nodeName'): Set<string> {
  return new Set(entries.map((entry) => entry[field]));
}

function windowMicros(text: string): number {
  return (parseDurationMs(text) as number) * 1000;
}
