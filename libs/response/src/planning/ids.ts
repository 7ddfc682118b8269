/**
 * Deterministic names of responses. A *task* is (verdict, policy, action): what one policy does about one verdict by one action. Each task
 * has at most one record of each phase group on the bus, because the id of a record is a function of the task and of its group alone:
 * a retry, a second replica and a start after a crash all compute the same id, and the bus refuses the second copy.
 *
 * Ids are 32 lower case hexadecimal digits (128 bits of SHA-256), so they are subject tokens and BullMQ job ids as they stand.
 */
import { createHash } from 'node:crypto';
import type { Response } from '@bailiff/schemas';

/** `terminal` is the one record that ends a task: succeeded, dryrun, refused or failed. */
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

/** What names a task. */
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

// JSON keeps the parts apart: no two lists of strings have one spelling.
function digest(...parts: string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32);
}
