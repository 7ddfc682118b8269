/**
 * Guards that count earlier actions: cooldown, delete storm, budgets, and the minimum of healthy
 * replicas. They run once per task, before its `started` record.
 *
 * Budgets have three layers: owner, namespace, cluster. Tenants create workloads and pods without end,
 * so by default a refused removal becomes a quarantine (plan.ts). A claimed member of a workload
 * (confirmed-owner.ts) is protected like the others, and uses up nothing of them.
 */
import { DISRUPTIVE_ACTIONS, parseDurationMs, REMOVING_ACTIONS, type ResponsePolicy } from '@bailiff/policy';
import { BELOW_MIN_HEALTHY, BUDGET_EXHAUSTED, DELETE_STORM } from '../planning/plan.ts';
import { type ActionEntry, type Decision, type Guard, type GuardInput, needsReservation, refuse } from './decision.ts';
import { type Facts, ownerOf, protectingOwnerOf } from './facts.ts';

/**
 * The controller updates an owner's count of ready replicas some time after a deletion. Removals
 * younger than this are subtracted from the count.
 */
export const STATUS_LAG_MICROS = 10_000_000;

function storm({ task, verdict, policy, facts, actions, nowMicros }: GuardInput): Decision | null {
  const owner = protectingOwnerOf(facts);
  if (!policy || !owner || !REMOVING_ACTIONS.has(task.action)) return null;
  const { deletes, window } = policy.guards.deleteStorm;
  const since = nowMicros - windowMicros(window);
  const removed = distinct(
    actions.filter(
      (a) => a.atMicros >= since && concerns(a, facts) && REMOVING_ACTIONS.has(a.action) && a.taskId !== task.taskId,
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

/** Actions on claimed members concern each other. They do not affect confirmed members. */
function concerns({ ownerUid, claimedOwnerUid }: ActionEntry, facts: Facts): boolean {
  const uid = protectingOwnerOf(facts)?.uid;
  return uid !== undefined && (ownerUid === uid || (facts.owner?.isClaimed === true && claimedOwnerUid === uid));
}

/** What the actions of a cooldown have in common. @param group the owner of the pod, or all that may be its owner */
export function cooldownKey(action: string, of: Pick<ActionEntry, 'podUid' | 'nodeName'>, group: string): string {
  // A quarantine waits for no other pod: its owner may be its author's, with pods to sacrifice.
  return action === 'cordon' ? of.nodeName : action === 'quarantine' ? of.podUid : group;
}

function cooldown({ task, verdict, policy, facts, actions, nowMicros }: GuardInput): Decision | null {
  const waitMicros = policy ? windowMicros(policy.guards.cooldown) : 0;
  if (waitMicros === 0 || task.action === 'observe' || task.action === 'capture') return null;
  const podUid = verdict.pod?.uid ?? '';
  const key = cooldownKey(task.action, { podUid, nodeName: verdict.nodeName }, ownerOf(facts)?.uid ?? podUid);
  const isHeldBy = (a: ActionEntry) => cooldownKey(a.action, a, a.ownerUid || a.podUid) === key;
  const last = actions.findLast((a) => a.action === task.action && a.taskId !== task.taskId && isHeldBy(a));
  if (!last || last.atMicros + waitMicros <= nowMicros) return null;
  // An action of the future: its clock was set back since.
  const untilMicros = Math.min(last.atMicros, nowMicros) + waitMicros;
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
    // Tenants cause verdicts about pods: these must not use up the cordons of nodes that are to blame.
    const isAboutPod = verdict.pod !== null;
    const cordons = recent.filter((a) => a.action === 'cordon' && (a.podUid !== '') === isAboutPod);
    const nodes = distinct(cordons, 'nodeName');
    nodes.delete(verdict.nodeName);
    if (nodes.size < limits.maxNodes) return null;
    const about = isAboutPod ? 'pods' : 'nodes';
    return refuse(
      BUDGET_EXHAUSTED,
      `${nodes.size} nodes were cordoned for verdicts about ${about} within ${window}, which is the limit`,
    );
  }
  const { uid = '', namespace = '' } = verdict.pod ?? {};
  const others = recent.filter((a) => a.podUid !== uid);
  if (task.action === 'quarantine') {
    const quarantined = others.filter((a) => a.action === 'quarantine');
    const refused = ofClusterAndNamespace(quarantined, namespace, { window, maxPods: limits.maxQuarantines });
    // It replaces what the budget of removals refuses, so only its own applies.
    if (refused || limits.exhausted === 'quarantine') return refused;
  }
  const disrupted = others.filter((a) => DISRUPTIVE_ACTIONS.has(a.action));
  // Quarantines of some tenants must not use up the removals of others.
  const removed = disrupted.filter((a) => limits.exhausted === 'refuse' || REMOVING_ACTIONS.has(a.action));
  return ofClusterAndNamespace(removed, namespace, limits) ?? ofOwner(disrupted, facts, limits);
}

type Budget = ResponsePolicy['guards']['budget'];
type SharedBudget = Pick<Budget, 'window' | 'maxPods' | 'maxPodsPerNamespace'>;

/**
 * A namespace has a share of the cluster's budget. Without a share in the policy, it gets a further pod
 * only while more are left than it has had: several namespaces together leave some to others too.
 */
function ofClusterAndNamespace(
  disrupted: readonly ActionEntry[],
  namespace: string,
  limits: SharedBudget,
): Decision | null {
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
export function namespaceShare({ maxPods, maxPodsPerNamespace }: Omit<SharedBudget, 'window'>): number {
  return maxPodsPerNamespace ?? Math.ceil(maxPods / 2);
}

/** Budget of the owner. A pod that is no member of one has only the other layers. */
function ofOwner(disrupted: readonly ActionEntry[], facts: Facts, { window, maxPercent }: Budget): Decision | null {
  const owner = protectingOwnerOf(facts);
  if (!owner || !facts.owner) return null;
  const { replicas } = facts.owner;
  const allowed = Math.ceil((replicas * maxPercent) / 100);
  const acted = distinct(
    disrupted.filter((a) => concerns(a, facts)),
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
  const owner = protectingOwnerOf(facts);
  // The floor protects a workload, and another pod is not part of one.
  if (floor === 0 || !pod || !owner || !facts.owner || !REMOVING_ACTIONS.has(task.action)) return null;
  const { kind, name } = owner;
  const young = actions.filter(
    (a) =>
      a.atMicros >= nowMicros - STATUS_LAG_MICROS &&
      concerns(a, facts) &&
      DISRUPTIVE_ACTIONS.has(a.action) &&
      a.podUid !== verdict.pod?.uid,
  );
  const left = Math.max(0, facts.owner.ready - distinct(young, 'podUid').size - (pod.ready ? 1 : 0));
  if (left >= floor) return null;
  return refuse(BELOW_MIN_HEALTHY, `${kind} ${name} would have ${left} healthy replicas left; the minimum is ${floor}`);
}

function distinct(entries: readonly ActionEntry[], field: 'podUid' | 'nodeName'): Set<string> {
  return new Set(entries.map((entry) => entry[field]));
}

function windowMicros(text: string): number {
  return (parseDurationMs(text) as number) * 1000;
}

/** In the order in which they run. */
export const ACTION_LIMITS: readonly Guard[] = [storm, cooldown, budget, health];
