/** Writes a record to RESPONSES, and applies it to the ledger before the stream delivers it. */
import type { Response } from '@bailiff/schemas';
import type { TaskDeps } from './task-deps.ts';

/** Does nothing if the stream has a record with this id. @throws BusError */
export async function writeRecord(
  { log, ledger, clock, metrics }: Pick<TaskDeps, 'log' | 'ledger' | 'clock' | 'metrics'>,
  response: Response,
): Promise<void> {
  const record = { ...response, recordedAt: clock.nowMicros() };
  const result = await log.publish(record);
  if (result.outcome !== 'stored') return;
  ledger.applyOwn(record, { sequence: result.sequence, timestampMicros: record.recordedAt });
  metrics.responses.inc({ action: record.action, phase: record.phase, reason: record.reasonCode });
}
