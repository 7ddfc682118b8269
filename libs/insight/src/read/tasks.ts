/** Reads the tasks of RESPONSES. */
import { filters, readNewest } from '@bailiff/bus';
import type { Response } from '@bailiff/schemas';
import type { Reader } from '../reader.ts';
import type { ResponseRow } from '../rows/response-rows.ts';
import { foldTask, type TaskRecords, waitingOf } from '../rows/tasks.ts';

export interface TaskFilter {
  action?: Response['action'];
  namespace?: string;
  pod?: string;
}

/** All tasks in the stream, or those of the newest 100,000 records. */
export async function readTasks(reader: Reader, filter: TaskFilter = {}): Promise<Map<string, TaskRecords>> {
  const { bus, decoder, signal } = reader;
  const tasks = new Map<string, TaskRecords>();
  const result = await readNewest(bus, 'RESPONSES', {
    sinceMs: 0,
    filterSubjects: [filters.responses(filter)],
    onMessage: (message) =>
      decoder.read(message, 'Response', (response) => {
        foldTask(tasks, { sequence: message.sequence, storedAtMicros: message.timestampMicros, response });
      }),
    signal,
  });
  if (result.cut) reader.note('only the newest responses were read: there are too many');
  return tasks;
}

export async function waitingTasks(reader: Reader): Promise<ResponseRow[]> {
  return waitingOf((await readTasks(reader)).values());
}
