/**
 * What is to be done about a verdict: a pure function of the verdict, the time the bus gave it, and the policies of that moment. Each
 * task is one policy's one action; its id is a function of the three names alone. What remains to be done is the plan less what RESPONSES
 * says has ended, so no other memory of it is needed.
 */
import { parseDurationMs, type ResponsePolicy, type ResponseStep } from '@bailiff/policy';
import type { Response, Verdict } from '@bailiff/schemas';
import { responseIdOf, type TaskKey, taskIdOf } from './ids.ts';
import { matches } from './policy-history.ts';

/** Code of the refusal that turns a deletion into a quarantine. */
export const DELETE_STORM = 'delete-storm';
/** Code of a refusal for want of a budget; a quarantine stands in for a removal where the policy says so. */
export const BUDGET_EXHAUSTED = 'budget-exhausted';
/** Code of a quarantine that found the pod cut off by another verdict, for no less long. */
export const ALREADY_QUARANTINED = 'already-quarantined';
/** A quarantine without an end of its own: as long as the longest that a policy may name. */
const LONGEST_QUARANTINE_MICROS = 30 * 86_400_000_000;
/** How long the quarantine lasts that stands in for a deletion: long enough for a person to look, short enough not to be forgotten. */
export const SUBSTITUTE_QUARANTINE: ResponseStep = { action: 'quarantine', expires: '1h' };

/** What planning and guarding look at of a verdict. */
export type VerdictSummary = Pick<Verdict, 'verdictId' | 'rule' | 'level' | 'nodeName' | 'pod'>;

export interface Task extends TaskKey {
  taskId: string;
  step: ResponseStep;
  /** Not before: the verdict's time on the bus and the step's `after`. */
  dueAtMicros: number;
  /** As the policy of the verdict's moment said. */
  dryRun: boolean;
  /** Stands in for a removal that was refused. */
  substitute: boolean;
}

/** Tasks that the policies ask for, in the order of names and steps. */
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

/** Whether a quarantine stands in for a removal that was refused for this reason. */
export function hasSubstitute(action: string, reasonCode: string, { guards }: ResponsePolicy): boolean {
  if (reasonCode === DELETE_STORM) return true;
  const isRemoval = action === 'delete' || action === 'evict';
  return isRemoval && reasonCode === BUDGET_EXHAUSTED && guards.budget.exhausted === 'quarantine';
}

/**
 * The plan with the quarantines that stand in for refused removals (`hasStandIn`): the policy's own quarantine step brought forward when
 * it has one.
 */
export function withSubstitutes(
  planned: readonly Task[],
  verdict: VerdictSummary,
  policies: ReadonlyMap<string, ResponsePolicy>,
  terminalOf: (taskId: string) => { atMicros: number; response: Pick<Response, 'reasonCode'> } | null,
): Task[] {
  const tasks = [...planned];
  for (const stopped of planned) {
    const end = terminalOf(stopped.taskId);
    const policy = policies.get(stopped.policy);
    if (!policy || !end || !hasSubstitute(stopped.action, end.response.reasonCode, policy)) continue;
    const { after: _after, ...step } = policy.steps.find((s) => s.action === 'quarantine') ?? SUBSTITUTE_QUARANTINE;
    const substitute = { ...taskOf(verdict, end.atMicros, stopped.policy, policy, step), substitute: true };
    const own = tasks.findIndex((task) => task.taskId === substitute.taskId);
    if (own < 0) tasks.push(substitute);
    else if ((tasks[own] as Task).dueAtMicros > substitute.dueAtMicros) tasks[own] = substitute;
  }
  return tasks;
}

function taskOf(
  verdict: VerdictSummary,
  atMicros: number,
  policy: string,
  { dryRun }: ResponsePolicy,
  step: ResponseStep,
): Task {
  const key: TaskKey = { verdictId: verdict.verdictId, policy, action: step.action };
  const afterMs = step.after === undefined ? 0 : (parseDurationMs(step.after) as number);
  return { ...key, taskId: taskIdOf(key), step, dueAtMicros: atMicros + afterMs * 1000, dryRun, substitute: false };
}

/** When what a step does ends; null when it does not. `longestMs` bounds it by what RESPONSES can remember. */
export function expiryOf(step: ResponseStep, nowMicros: number, longestMs: number): number | null {
  if (step.expires === undefined) return null;
  return nowMicros + Math.min(parseDurationMs(step.expires) as number, longestMs) * 1000;
}

/** When a pod's entry ends: with the effect, or, of one that does not end, so long after the task was started. */
export function quarantineEndMicros(expiresAtMicros: number | null, startedAtMicros: number): number {
  return expiresAtMicros ?? startedAtMicros + LONGEST_QUARANTINE_MICROS;
}

/** The record of a task, all but what the phase says. */
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
    recordedAt: 0,
    attempt: 0,
    apiVerb: '',
    apiPath: '',
    apiStatus: 0,
    expiresAt: null,
    capture: null,
  };
}
