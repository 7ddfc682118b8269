/** The records of a task in RESPONSES, by phase. */
import type { Response } from '@bailiff/schemas';
import { type PhaseGroup, phaseGroupOf } from '../planning/ids.ts';
import { ALREADY_QUARANTINED } from '../planning/plan.ts';

/** The records of one task. */
export interface TaskState {
  taskId: string;
  /** Its first record. */
  first: Response;
  /** Sequence of the newest copy of each record. */
  sequences: Partial<Record<PhaseGroup, number>>;
  pendingAtMicros: number | null;
  approvedAtMicros: number | null;
  started: { atMicros: number; response: Response } | null;
  terminal: { atMicros: number; response: Response } | null;
  undone: { atMicros: number; response: Response } | null;
}

export function newState(taskId: string, first: Response): TaskState {
  return {
    taskId,
    first,
    sequences: {},
    pendingAtMicros: null,
    approvedAtMicros: null,
    started: null,
    terminal: null,
    undone: null,
  };
}

export function record(state: TaskState, atMicros: number, response: Response): void {
  switch (phaseGroupOf(response.phase)) {
    case 'pending':
      state.pendingAtMicros ??= atMicros;
      break;
    case 'approved':
      state.approvedAtMicros ??= atMicros;
      break;
    case 'started':
      state.started ??= { atMicros, response };
      break;
    case 'terminal':
      state.terminal ??= { atMicros, response };
      break;
    case 'undone':
      state.undone ??= { atMicros, response };
  }
}

/** Sequences of the records of a task that has not ended. */
export function openSequences({ terminal, sequences }: TaskState): number[] {
  if (terminal) return [];
  return [sequences.pending, sequences.approved, sequences.started].filter((sequence) => sequence !== undefined);
}

/** Whether its own entry is in the list of the node. */
export function isQuarantineInForce({ terminal, undone }: TaskState): boolean {
  if (!terminal || undone) return false;
  const { action, phase, reasonCode } = terminal.response;
  return action === 'quarantine' && phase === 'succeeded' && reasonCode !== ALREADY_QUARANTINED;
}
