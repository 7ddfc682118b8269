/**
 * RESPONSES folded into tasks: what one policy does about one verdict by one action, with its records in order. The same fold the responder
 * makes; here for a person who decides.
 */

import { filters } from '@bailiff/bus';
import { phaseGroupOf, taskIdOf } from '@bailiff/response';
import type { Response } from '@bailiff/schemas';
import { readStream } from '../bus/read-stream.ts';
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

/** Adds a record to the tasks. Pure but for the map; the first record of a group counts. */
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

/** All tasks whose records the stream holds, or the newest 100,000 records' worth. */
export async function readTasks(session: Session, filter: TaskFilter = {}): Promise<Map<string, TaskRecords>> {
  const { bus, decoder, io, out } = session;
  const tasks = new Map<string, TaskRecords>();
  const result = await readStream(bus, 'RESPONSES', {
    sinceMs: 0,
    filterSubjects: [filters.responses(filter)],
    onMessage: (message) =>
      decoder.read(message, 'Response', (response) => {
        foldTask(tasks, { sequence: message.sequence, storedAtMicros: message.timestampMicros, response });
      }),
    signal: io.signal,
  });
  if (result.cut) out.note('only the newest responses were looked at: there are very many');
  return tasks;
}

/** Pending records of tasks that nobody has decided and that have not ended, oldest first. */
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
