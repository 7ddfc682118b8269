/**
 * Plans the tasks of a verdict. Pure: depends on the verdict, its bus time, and the policies in
 * force at that time. The remaining work is the plan without the tasks that have a terminal record
 * in RESPONSES, so no other state is needed.
 */
import { parseDurationMs, REMOVING_ACTIONS, type ResponsePolicy, type ResponseStep } from '@bailiff/policy';
import type { Response, Verdict } from '@bailiff/schemas';
import { responseIdOf, type TaskKey, taskIdOf } from './ids.ts';
import { matches } from './policy-history.ts';

/** Too many pods of one owner were removed. */
export const DELETE_STORM = 'delete-storm';
/** Code of a refused budget. A quarantine replaces the removal unless the policy says `refuse`. */
export const BUDGET_EXHAUSTED = 'budget-exhausted';
/** The owner is of a protected kind. */
export const PROTECTED_OWNER_KIND = 'protected-owner-kind';
/** The owner would have too few healthy replicas. */
export const BELOW_MIN_HEALTHY = 'below-min-healthy';
/** The kubelet restarts a static pod. */
export const STATIC_POD = 'static-pod';
/** A disruption budget refused the eviction until the responder gave up. */
export const DISRUPTION_BUDGET = 'disruption-budget';
/** The pod uses the network of its node: a quarantine would block nothing. A removal replaces it. */
export const HOST_NETWORK = 'host-network';
/**
 * Why a removal did not happen, if its pod is quarantined instead. Tenants write workloads, disruption
 * budgets and pods without end, so none of these reasons leaves a pod without a response.
 */
const SUBSTITUTED: ReadonlySet<string> = new Set([
  ...[DELETE_STORM, BUDGET_EXHAUSTED, PROTECTED_OWNER_KIND, BELOW_MIN_HEALTHY, STATIC_POD, DISRUPTION_BUDGET],
]);
/**
 * Code of a quarantine whose pod is already in quarantine for another verdict, at least as long.
 */
export const ALREADY_QUARANTINED = 'already-quarantined';
/** Length of a quarantine without an expiry: the longest that a policy may name. */
const LONGEST_QUARANTINE_MICROS = 30 * 86_400_000_000;
/**
 * The quarantine that replaces a deletion: long enough for an investigation, short enough not to be
 * forgotten.
 */
export const SUBSTITUTE_QUARANTINE: ResponseStep = { action: 'quarantine', expires: '1h' };

/** The fields of a verdict that planning and guards use. */
export type VerdictSummary = Pick<Verdict, 'verdictId' | 'rule' | 'level' | 'nodeName' | 'pod' | 'audited'>;

export interface Task extends TaskKey {
  taskId: string;
  step: ResponseStep;
  /** Bus time of the verdict plus the step's `after`. */
  dueAtMicros: number;
  /** Dry run by the policy in force at the verdict. */
  dryRun: boolean;
  /** Replaces a refused removal, or a quarantine that would block nothing. */
  substitute: boolean;
  /** It waits for actions of its kind on others (cooldownKey). */
  cooldown?: Cooldown;
}

export interface Cooldown {
  micros: number;
  namespace: string;
  /** Empty for a verdict about a node. */
  podUid: string;
  nodeName: string;
}

/** The tasks of all matching policies, ordered by policy name and step. */
export function planVerdict(
  verdict: VerdictSummary,
  verdictAtMicros: number,
  policies: ReadonlyMap<string, ResponsePolicy>,
): Task[] {
  const tasks: Task[] = [];
  for (const [name, policy] of [...policies].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (!matches(policy, verdict)) continue;
    for (const step of policy.steps) tasks.push(taskOf(verdict, verdictAtMicros, name, policy, step));
  }
  return tasks;
}

/** Whether another action may replace one that ended for this reason: the newest policy decides. */
export function mayHaveSubstitute(action: string, reasonCode: string): boolean {
  if (action === 'quarantine') return reasonCode === HOST_NETWORK;
  return REMOVING_ACTIONS.has(action) && SUBSTITUTED.has(reasonCode);
}

/** Whether another action of the policy replaces one that ended for this reason. */
export function hasSubstitute(action: string, reasonCode: string, { guards }: ResponsePolicy): boolean {
  if (reasonCode === BUDGET_EXHAUSTED && guards.budget.exhausted === 'refuse') return false;
  return mayHaveSubstitute(action, reasonCode);
}

type EndOf = (taskId: string) => { atMicros: number; reasonCode: string } | null;

/**
 * Adds to a plan the quarantines that replace refused removals (`hasSubstitute`), and the removals that
 * replace quarantines which would block nothing. If the policy has such a step, it is brought forward.
 */
export function withSubstitutes(
  planned: readonly Task[],
  verdict: VerdictSummary,
  policies: ReadonlyMap<string, ResponsePolicy>,
  endOf: EndOf,
): Task[] {
  const tasks = [...planned];
  // A substitute that is added here can have ended too.
  for (const ended of tasks) {
    const end = endOf(ended.taskId);
    const policy = policies.get(ended.policy);
    if (!policy || !end || !hasSubstitute(ended.action, end.reasonCode, policy)) continue;
    const replacing =
      ended.action === 'quarantine'
        ? nextRemovalOf(ended, policy, endOf)
        : (quarantineOf(policy) ?? SUBSTITUTE_QUARANTINE);
    if (!replacing) continue;
    const { after: _after, ...step } = replacing;
    const substitute = { ...taskOf(verdict, end.atMicros, ended.policy, policy, step), substitute: true };
    const own = tasks.findIndex((task) => task.taskId === substitute.taskId);
    if (own < 0) tasks.push(substitute);
    else if ((tasks[own] as Task).dueAtMicros > substitute.dueAtMicros) tasks[own] = substitute;
  }
  return tasks;
}

const quarantineOf = ({ steps }: ResponsePolicy) => steps.find(({ action }) => action === 'quarantine');

/**
 * The removal that follows a quarantine which would block nothing: the earliest of the policy that was
 * not refused. A deletion follows a refused eviction, because a tenant writes disruption budgets.
 */
function nextRemovalOf({ verdictId, policy }: TaskKey, { steps }: ResponsePolicy, endOf: EndOf): ResponseStep | null {
  const removals = steps.filter(({ action }) => REMOVING_ACTIONS.has(action)).sort((a, b) => afterMs(a) - afterMs(b));
  const open = removals.find(({ action }) => endOf(taskIdOf({ verdictId, policy, action })) === null);
  if (open) return open;
  const refused = removals.at(-1);
  return refused && removals.every(({ action }) => action === 'evict') ? { ...refused, action: 'delete' } : null;
}

const afterMs = ({ after }: ResponseStep): number => (after === undefined ? 0 : (parseDurationMs(after) as number));

function taskOf(
  verdict: VerdictSummary,
  atMicros: number,
  policy: string,
  { dryRun, guards }: ResponsePolicy,
  step: ResponseStep,
): Task {
  const key: TaskKey = { verdictId: verdict.verdictId, policy, action: step.action };
  const micros = (parseDurationMs(guards.cooldown) as number) * 1000;
  const task = {
    ...key,
    taskId: taskIdOf(key),
    step,
    dueAtMicros: atMicros + afterMs(step) * 1000,
    dryRun,
    substitute: false,
  };
  const { pod, nodeName } = verdict;
  const { namespace = '', uid: podUid = '' } = pod ?? {};
  return micros === 0 ? task : { ...task, cooldown: { micros, namespace, podUid, nodeName } };
}

/**
 * When the effect of a step expires; null = never.
 * @param longestMs bound: the retention of RESPONSES
 */
export function expiryOf(step: ResponseStep, nowMicros: number, longestMs: number): number | null {
  if (step.expires === undefined) return null;
  return nowMicros + Math.min(parseDurationMs(step.expires) as number, longestMs) * 1000;
}

/**
 * When the pod's list entry expires: with the effect, or LONGEST_QUARANTINE_MICROS after the start.
 */
export function quarantineEndMicros(expiresAtMicros: number | null, startedAtMicros: number): number {
  return expiresAtMicros ?? startedAtMicros + LONGEST_QUARANTINE_MICROS;
}

/** A record of a task without the fields that its phase determines. */
export function recordOf(
  task: TaskKey,
  verdict: Verdict,
  phase: Response['phase'],
  group: Parameters<typeof responseIdOf>[1],
): Response {
  return {
    responseId: responseIdOf(task, group),
    verdictId: task.verdictId,
    policy: task.policy,
    action: task.action,
    phase,
    reasonCode: '',
    reason: '',
    level: verdict.level,
    rule: verdict.rule,
    podUid: verdict.pod?.uid ?? '',
    podNamespace: verdict.pod?.namespace ?? '',
    podName: verdict.pod?.name ?? '',
    nodeName: verdict.nodeName,
    ownerKind: '',
    ownerName: '',
    ownerUid: '',
    claimedOwnerUid: '',
    recordedAt: 0,
    attempt: 0,
    apiVerb: '',
    apiPath: '',
    apiStatus: 0,
    expiresAt: null,
    capture: null,
  };
}
