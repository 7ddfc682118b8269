/**
 * Deterministic ids of responses. A task is (verdict, policy, action). A record's id is a hash of
 * its task and phase group. A retry, a second replica and a restart after a crash compute the same
 * id, so the bus rejects the second copy.
 *
 * Ids have 32 lower-case hexadecimal digits (128 bits of SHA-256): valid subject tokens and BullMQ
 * job ids.
 */
import { createHash } from 'node:crypto';
import type { Response } from '@bailiff/schemas';

/** `terminal` is the record that ends a task: succeeded, dryrun, refused or failed. */
export const PHASE_GROUPS = ['pending', 'approved', 'started', 'terminal', 'undone'] as const;
export type PhaseGroup = (typeof PHASE_GROUPS)[number];

const GROUP_OF: Record<Response['phase'], PhaseGroup> = {
  pending: 'pending',
  approved: 'approved',
  started: 'started',
  succeeded: 'terminal',
  dryrun: 'terminal',
  refused: 'terminal',
  failed: 'terminal',
  undone: 'undone',
};

/** Identifies a task. */
export interface TaskKey {
  verdictId: string;
  /** Name of the response policy. */
  policy: string;
  action: Response['action'];
}

export function phaseGroupOf(phase: Response['phase']): PhaseGroup {
  return GROUP_OF[phase];
}

export function taskIdOf(key: TaskKey): string {
  return digest('task', key.verdictId, key.policy, key.action);
}

/** Id of the task's record of one phase group. */
export function responseIdOf(key: TaskKey, group: PhaseGroup): string {
  return digest('response', key.verdictId, key.policy, key.action, group);
}

// JSON is unambiguous: different parts never serialize to the same text.
function digest(...parts: string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32);
}
