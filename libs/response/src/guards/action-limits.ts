/**
 * Guards that count earlier actions: cooldown, delete storm, budgets, and the minimum of healthy
 * replicas. They run once per task, before its `started` record.
 *
 * Budgets have three layers: owner, namespace, cluster. Only an owner that the API server confirms
 * has a budget (confirmed-owner.ts).
 */
import { DISRUPTIVE_ACTIONS, parseDurationMs, REMOVING_ACTIONS, type ResponsePolicy } from '@bailiff/policy';
import { BUDGET_EXHAUSTED, DELETE_STORM } from '../planning/plan.ts';
import { type ActionEntry, type Decision, type Guard, type GuardInput, needsReservation, refuse } from './decision.ts';
import { type Facts, ownerOf } from './facts.ts';

/**
 * The controller updates an owner's count of ready replicas some time after a deletion. Removals
 * younger than this are subtracted from the count.
 */
export const STATUS_LAG_MICROS = 10_000_000;

function storm({ task, verdict, policy, facts, actions, nowMicros }: GuardInput): Decision | null {
  const owner = ownerOf(facts);
  if (!policy || !owner || !REMOVING_ACTIONS.has(task.action)) return null;
  const { deletes, window } = policy.guards.deleteStorm;
  const since = nowMicros - windowMicros(window);
  const removed = distinct(
    actions.filter(
      (a) =>
        a.atMicros >= since && a.ownerUid === owner.uid && REMOVING_ACTIONS.has(a.action) && a.taskId !== task.taskId,
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
  const disrupted = recent.filter((a) => DISRUPTIVE_ACTIONS.has(a.action) && a.podUid !== uid);
  return ofClusterAndNamespace(disrupted, verdict.pod?.namespace ?? '', limits) ?? ofOwner(disrupted, facts, limits);
}

type Budget = ResponsePolicy['guards']['budget'];

/**
 * A namespace has a share of the cluster's budget. Without a share in the policy, it gets a further pod
 * only while more are left than it has had: several namespaces together leave some to others too.
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
  const left = limits.maxPodsPerNamespace === undefined ? maxPods - charged : share;
  if (own < Math.min(share, left)) return null;
  return refuse(
    BUDGET_EXHAUSTED,
    own >= share
      ? `${own} pods of namespace ${namespace} were acted on within ${window}; its share is ${share} of the cluster's ${maxPods}`
      : `${own} pods of namespace ${namespace} and ${charged - own} of others were acted on within ${window}; the rest of the cluster's ${maxPods} is for namespaces with fewer`,
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
  if (floor === 0 || !pod || !owner || !facts.owner || !REMOVING_ACTIONS.has(task.action)) return null;
  const { kind, name, uid } = owner;
  const young = actions.filter(
    (a) =>
      a.atMicros >= nowMicros - STATUS_LAG_MICROS &&
      a.ownerUid === uid &&
      DISRUPTIVE_ACTIONS.has(a.action) &&
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

/** In the order in which they run. */
export const ACTION_LIMITS: readonly Guard[] = [storm, cooldown, budget, health];
