/** One attempt of a job, with what was read for it, and the two ways in which an attempt ends. */
import type { Response } from '@bailiff/schemas';
import type { Api } from '../actions/api.ts';
import type { PlannedTask } from '../planning/planner.ts';
import type { Job, JobResult } from '../ports.ts';
import type { TaskDeps } from './task-deps.ts';

export interface Run extends PlannedTask {
  job: Job;
  api: Api;
  /** The confirmed owner of the pod; null until facts are read, or without one. */
  owner: { kind: string; name: string; uid: string } | null;
  /** Owner of a claimed member; empty for others. */
  claimedOwnerUid: string;
}

/** Wait of a task while another process or job works on it. */
export const CONTENDED_MS = 200;

export const done: JobResult = { kind: 'done' };

/** Of an attempt that did not fail. */
export function later({ tries }: Job, delayMs: number): Extract<JobResult, { kind: 'later' }> {
  return { kind: 'later', delayMs: Math.max(0, delayMs), tries, failingSinceMs: 0 };
}

export function ownerFieldsOf({
  owner,
  claimedOwnerUid,
}: Run): Pick<Response, 'ownerKind' | 'ownerName' | 'ownerUid' | 'claimedOwnerUid'> {
  const { kind: ownerKind = '', name: ownerName = '', uid: ownerUid = '' } = owner ?? {};
  return { ownerKind, ownerName, ownerUid, claimedOwnerUid };
}

/**
 * Writes a record to RESPONSES, and applies it to the ledger before the stream delivers it. Does
 * nothing if the stream has a record with this id. @throws BusError
 */
export async function writeRecord(
  { log, ledger, clock }: Pick<TaskDeps, 'log' | 'ledger' | 'clock'>,
  response: Response,
): Promise<void> {
  const record = { ...response, recordedAt: clock.nowMicros() };
  const result = await log.publish(record);
  if (result.outcome !== 'stored') return;
  ledger.applyOwn(record, { sequence: result.sequence, timestampMicros: record.recordedAt });
}
