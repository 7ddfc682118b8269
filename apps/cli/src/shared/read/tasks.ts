/**
 * Folds RESPONSES into tasks: one action of one policy for one verdict, with its records. The
 * responder folds them the same way.
 */

import { filters, readNewest } from '@bailiff/bus';
import { phaseGroupOf, taskIdOf } from '@bailiff/response';
import type { Response } from '@bailiff/schemas';
import type { ResponseRow } from '../rows/response-rows.ts';
import type { Session } from '../session.ts';

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

export interface TaskFilter {
  action?: Response['action'];
  namespace?: string;
  pod?: string;
}

/** All tasks in the stream, or those of the newest 100,000 records. */
export async function readTasks(session: Session, filter: TaskFilter = {}): Promise<Map<string, TaskRecords>> {
  const { bus, decoder, io, out } = session;
  const tasks = new Map<string, TaskRecords>();
  const result = await readNewest(bus, 'RESPONSES', {
    sinceMs: 0,
    filterSubjects: [filters.responses(filter)],
    onMessage: (message) =>
      decoder.read(message, 'Response', (response) => {
        foldTask(tasks, { sequence: message.sequence, storedAtMicros: message.timestampMicros, response });
      }),
    signal: io.signal,
  });
  if (result.cut) out.note('only the newest responses were read: there are too many');
  return tasks;
}

/** Pending records of tasks without a decision and without an end, oldest first. */
export function waitingOf(tasks: Iterable<TaskRecords>): ResponseRow[] {
  const waiting: ResponseRow[] = [];
  for (const { pending, approved, started, terminal } of tasks) {
    if (pending && !approved && !started && !terminal) waiting.push(pending);
  }
  return waiting.sort((a, b) => a.sequence - b.sequence);
}

export async function waitingTasks(session: Session): Promise<ResponseRow[]> {
  return waitingOf((await readTasks(session)).values());
}
