/**
 * Overdue tasks: verdicts without a complete response in time. Pure. One definition for the
 * responder's metric, `bailiff status` and `bailiff doctor`.
 *
 * A task is overdue if it has no terminal record within the grace period after its due time, start
 * or approval, or the end of a cooldown. A task that waits for an approval is not overdue.
 */
import { REMOVING_ACTIONS } from '@bailiff/policy';
import type { Verdict } from '@bailiff/schemas';
import { cooldownKey } from '../guards/action-limits.ts';
import type { ActionEntry } from '../guards/decision.ts';
import { planVerdict, type Task, withSubstitutes } from '../planning/plan.ts';
import { POLICY_SETTLE_MICROS, type PolicyHistory } from '../planning/policy-history.ts';
import type { Ledger } from './ledger.ts';

/** Default grace period after a task's due time, start or approval. */
export const OVERDUE_GRACE_MS = 30_000;

/** A verdict with the bus time of its message. */
interface Placed {
  verdict: Verdict;
  atMicros: number;
}

/** Node time, by which a verdict is triggered, is at most this much ahead of bus time. */
const TRIGGER_BOUND_MICROS = 5_000_000;

/**
 * Time before which no record of the verdict can have been stored: that of its message, or of its
 * trigger if the message is late. It may then be a copy of one that VERDICTS has deleted.
 */
export function earliestMicros({ verdict, atMicros }: Placed): number {
  const { triggeredAt } = verdict;
  return atMicros - triggeredAt <= TRIGGER_BOUND_MICROS ? atMicros : triggeredAt - TRIGGER_BOUND_MICROS;
}

/**
 * The tasks of a verdict, including quarantines that replace refused removals, without those that
 * may have run before RESPONSES deleted their records.
 */
export function tasksOf(placed: Placed, policies: PolicyHistory, ledger: Ledger): Task[] {
  const { verdict, atMicros } = placed;
  const { byName } = policies.at(atMicros - POLICY_SETTLE_MICROS);
  const planned = planVerdict(verdict, atMicros, byName);
  const tasks = withSubstitutes(planned, verdict, byName, (taskId) => ledger.substitutedEnd(taskId));
  return tasks.filter(({ taskId }) => !ledger.mayHaveRun(taskId, earliestMicros(placed)));
}

type Due = Pick<Task, 'taskId' | 'dueAtMicros' | 'action' | 'step' | 'cooldown'>;

export interface OverdueLimits {
  /** Grace period after a task's due time, start or approval. */
  graceMs: number;
  /** Of the responder: bound of a pod's own grace period. Default: 30 */
  maxGraceSeconds?: number;
}

/** Also the responder's default bound. */
const DEFAULT_GRACE_SECONDS = 30;
/** Time after the grace period for the kubelet. */
const REMOVAL_MARGIN_MS = 30_000;
/**
 * The responder's default for how long it tries an eviction that a disruption budget refuses. Tenants
 * write budgets, so this wait is no failure of the responder.
 */
export const BUDGET_GIVE_UP_MS = 120_000;

/**
 * A removal ends when the pod is gone. The pod may use its whole grace period, an eviction also the
 * time for which a disruption budget may refuse it.
 */
function removalMs({ step, action }: Pick<Task, 'step' | 'action'>, maxGraceSeconds: number): number {
  const graceSeconds = step.gracePeriodSeconds ?? maxGraceSeconds;
  const budgetMs = action === 'evict' ? BUDGET_GIVE_UP_MS : 0;
  return budgetMs + Math.max(DEFAULT_GRACE_SECONDS, graceSeconds) * 1000 + REMOVAL_MARGIN_MS;
}

/** Whether a task has no terminal record although it is due. @param ends of the same time, one for all tasks */
export function isOverdue(
  due: Due,
  ledger: Ledger,
  nowMicros: number,
  limits: OverdueLimits,
  ends: CooldownEnds,
): boolean {
  const { taskId, dueAtMicros, action } = due;
  const { graceMs, maxGraceSeconds = DEFAULT_GRACE_SECONDS } = limits;
  if (ledger.isClosed(taskId)) return false;
  const state = ledger.task(taskId);
  if (state?.pendingAtMicros != null && state.approvedAtMicros === null) return false;
  const since = Math.max(dueAtMicros, state?.started?.atMicros ?? 0, state?.approvedAtMicros ?? 0);
  const removingMs = state?.started && REMOVING_ACTIONS.has(action) ? removalMs(due, maxGraceSeconds) : 0;
  if (since + (graceMs + removingMs) * 1000 >= nowMicros) return false;
  return state?.started != null || ends.of(due) + graceMs * 1000 < nowMicros;
}

/**
 * When no cooldown can hold a task any more. Only the responder reads the owner of a pod, so every pod of
 * the namespace may be of the same owner. The actions are read once for all tasks: thousands can wait for a
 * cooldown, and as many actions are kept. It holds for one time of one ledger.
 */
export class CooldownEnds {
  readonly #ledger: Ledger;
  readonly #nowMicros: number;
  /** The two newest actions of each key, by action: one of them may be of the task itself. */
  readonly #newest = new Map<string, Map<string, ActionEntry[]>>();

  constructor(ledger: Ledger, nowMicros: number) {
    this.#ledger = ledger;
    this.#nowMicros = nowMicros;
  }

  of({ taskId, action, cooldown }: Due): number {
    if (!cooldown) return 0;
    const { micros, namespace } = cooldown;
    const newest = this.#newestOf(action).get(cooldownKey(action, cooldown, namespace)) ?? [];
    const last = newest.find((one) => one.taskId !== taskId);
    return last && last.atMicros >= this.#nowMicros - micros ? last.atMicros + micros : 0;
  }

  #newestOf(action: string): Map<string, ActionEntry[]> {
    const known = this.#newest.get(action);
    if (known) return known;
    const newest = new Map<string, ActionEntry[]>();
    for (const entry of this.#ledger.actionsFor(action, 0)) {
      if (entry.action !== action) continue;
      const key = cooldownKey(action, entry, entry.namespace);
      const two = [entry, ...(newest.get(key) ?? [])].sort((a, b) => b.atMicros - a.atMicros).slice(0, 2);
      newest.set(key, two);
    }
    this.#newest.set(action, newest);
    return newest;
  }
}

export function hasOverdueTask(
  tasks: readonly Due[],
  ledger: Ledger,
  nowMicros: number,
  limits: OverdueLimits,
  ends: CooldownEnds,
): boolean {
  return tasks.some((task) => isOverdue(task, ledger, nowMicros, limits, ends));
}
