/**
 * Folds records of RESPONSES into tasks: one action of one policy for one verdict, with its records.
 * The responder folds them the same way. Pure.
 */
import { phaseGroupOf, taskIdOf } from '@bailiff/response';
import type { ResponseRow } from './response-rows.ts';

export interface TaskRecords {
  taskId: string;
  pending: ResponseRow | null;
  approved: ResponseRow | null;
  started: ResponseRow | null;
  terminal: ResponseRow | null;
  undone: ResponseRow | null;
}

/** Adds a record to its task. The first record of a phase group counts. */
export function foldTask(tasks: Map<string, TaskRecords>, row: ResponseRow): void {
  const taskId = taskIdOf(row.response);
  let task = tasks.get(taskId);
  if (!task) {
    task = { taskId, pending: null, approved: null, started: null, terminal: null, undone: null };
    tasks.set(taskId, task);
  }
  task[phaseGroupOf(row.response.phase)] ??= row;
}

/** Pending records of tasks without a decision and without an end, oldest first. */
export function waitingOf(tasks: Iterable<TaskRecords>): ResponseRow[] {
  const waiting: ResponseRow[] = [];
  for (const { pending, approved, started, terminal } of tasks) {
    if (pending && !approved && !started && !terminal) waiting.push(pending);
  }
  return waiting.sort((a, b) => a.sequence - b.sequence);
}
