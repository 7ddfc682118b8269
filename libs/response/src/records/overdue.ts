/**
 * Which verdicts have no response in time: one definition for the responder's metric, `bailiff status` and `bailiff doctor`. Pure.
 *
 * A verdict is answered when every task that the policies of its moment ask for has its terminal record. A task that waits for a person is in
 * time, and so is one whose due time, start or approval is younger than the grace.
 */
import type { Verdict } from '@bailiff/schemas';
import { planVerdict, type Task, withSubstitutes } from '../planning/plan.ts';
import { POLICY_SETTLE_MICROS, type PolicyHistory } from '../planning/policy-history.ts';
import type { Ledger } from './ledger.ts';

/** How long after it was due, begun or approved a task may be without its terminal record. */
export const OVERDUE_GRACE_MS = 30_000;

/** What the policies ask for about a verdict, with the quarantines that stand in for deletions that were stopped. */
export function tasksOf(placed: { verdict: Verdict; atMicros: number }, book: PolicyHistory, ledger: Ledger): Task[] {
  const { verdict, atMicros } = placed;
  const { byName } = book.at(atMicros - POLICY_SETTLE_MICROS);
  const planned = planVerdict(verdict, atMicros, byName);
  return withSubstitutes(planned, verdict, byName, (taskId) => ledger.task(taskId)?.terminal ?? null);
}

type Due = Pick<Task, 'taskId' | 'dueAtMicros' | 'action'>;

/** A removal ends when the pod is gone: a grace period of 30 s, and as much for the kubelet. */
const REMOVAL_MS = 60_000;
const REMOVING: ReadonlySet<string> = new Set(['evict', 'delete']);

/** Whether a task should have ended and has not. */
export function isOverdue(
  { taskId, dueAtMicros, action }: Due,
  ledger: Ledger,
  nowMicros: number,
  graceMs: number,
): boolean {
  if (ledger.isClosed(taskId)) return false;
  const state = ledger.task(taskId);
  if (state?.pendingAtMicros != null && state.approvedAtMicros === null) return false;
  const since = Math.max(dueAtMicros, state?.started?.atMicros ?? 0, state?.approvedAtMicros ?? 0);
  const removalMs = state?.started && REMOVING.has(action) ? REMOVAL_MS : 0;
  return since + (graceMs + removalMs) * 1000 < nowMicros;
}

export function hasOverdueTask(tasks: readonly Due[], ledger: Ledger, nowMicros: number, graceMs: number): boolean {
  return tasks.some((task) => isOverdue(task, ledger, nowMicros, graceMs));
}
