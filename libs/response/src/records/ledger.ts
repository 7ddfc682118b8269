/**
 * The ledger of RESPONSES: tasks and their records, recent actions (for budgets, cooldowns,
 * storms), and expiring effects. It depends on the stream alone, so it is equal in every replica
 * and after every start; Redis stores none of it. Applying a record twice changes nothing, because
 * the responder applies its own records at once and reads them again from its consumer.
 *
 * Bounds: an ended task keeps only its id (some 100 bytes; RESPONSES holds less than a million
 * tasks); actions for ACTION_MEMORY_MICROS; quarantine records (some 1 kB) until their end.
 */
import { REMOVING_ACTIONS } from '@bailiff/policy';
import type { Response } from '@bailiff/schemas';
import type { ActionEntry } from '../guards/decision.ts';
import { phaseGroupOf, taskIdOf } from '../planning/ids.ts';
import { ALREADY_QUARANTINED, BUDGET_EXHAUSTED, DELETE_STORM, quarantineEndMicros } from '../planning/plan.ts';
import { RELEASED } from './records.ts';

/** The longest window and cooldown of a policy: an action is relevant for 24 h. */
export const ACTION_MEMORY_MICROS = 24 * 3_600_000_000;

/** The records of one task. */
export interface TaskState {
  taskId: string;
  pendingAtMicros: number | null;
  approvedAtMicros: number | null;
  started: { atMicros: number; response: Response } | null;
  terminal: { atMicros: number; response: Response } | null;
  undone: { atMicros: number; response: Response } | null;
}

export interface StreamPlace {
  sequence: number;
  /** Bus time of the record. */
  timestampMicros: number;
}

export class Ledger {
  /** Open tasks, and ended ones whose record is needed for an undo or a substitute quarantine. */
  #tasks = new Map<string, TaskState>();
  #closed = new Set<string>();
  #actions: ActionEntry[] = [];
  #actedTasks = new Set<string>();
  #expiring = new Map<string, TaskState>();
  #released = new Map<string, Released>();
  #quarantines = new Map<string, QuarantineInForce>();
  #position = 0;
  #newestMicros = 0;

  /** Highest sequence up to which every record is applied. */
  get position(): number {
    return this.#position;
  }
  /** Newest bus time. It corrects a local clock that is behind. */
  get newestMicros(): number {
    return this.#newestMicros;
  }
  /** Number of tasks, including ended ones. */
  get size(): number {
    return this.#tasks.size + this.#closed.size;
  }

  /** Applies a record of the consumer, which delivers in order. Returns the task id. */
  applyInOrder(response: Response, place: StreamPlace): string {
    this.advanceTo(place.sequence);
    return this.#apply(response, place);
  }

  /**
   * Applies an own record right after the bus stored it. Earlier records of others may not have
   * arrived yet.
   */
  applyOwn(response: Response, place: StreamPlace): string {
    if (place.sequence === this.#position + 1) this.#position = place.sequence;
    return this.#apply(response, place);
  }

  /**
   * The stream has no unapplied record up to this sequence: it is empty, or the rest is unreadable.
   */
  advanceTo(sequence: number): void {
    if (sequence > this.#position) this.#position = sequence;
  }

  /**
   * RESPONSES was recreated: sequences restart. Earlier records remain valid for tasks, budgets and
   * undo.
   */
  streamRecreated(): void {
    this.#position = 0;
  }

  /** State of an open task, or of an ended one whose record is still needed. */
  task(taskId: string): TaskState | undefined {
    return this.#tasks.get(taskId);
  }

  /** Whether the task has a terminal record. */
  isClosed(taskId: string): boolean {
    return this.#closed.has(taskId) || this.#tasks.get(taskId)?.terminal != null;
  }

  /** Whether the task waits for an approval. */
  isPending(taskId: string): boolean {
    const state = this.#tasks.get(taskId);
    return state?.pendingAtMicros != null && state.approvedAtMicros === null && state.terminal === null;
  }

  /** Actions started since a time, oldest first. */
  actionsSince(sinceMicros: number): ActionEntry[] {
    return this.#actions.filter((entry) => entry.atMicros >= sinceMicros);
  }

  /** Tasks whose effect expires and was not undone yet. */
  expiring(): Iterable<TaskState> {
    return this.#expiring.values();
  }

  /** Quarantines released by a person. Their visible record may still exist. */
  released(): Iterable<Released> {
    return this.#released.values();
  }

  /** Quarantines in force, possibly with some that have just expired. */
  quarantines(): Iterable<QuarantineInForce> {
    return this.#quarantines.values();
  }

  /** Removes expired actions, tasks and quarantines. */
  prune(nowMicros: number): void {
    const oldest = nowMicros - ACTION_MEMORY_MICROS;
    if ((this.#actions[0]?.atMicros ?? oldest) < oldest) {
      this.#actions = this.actionsSince(oldest);
      this.#actedTasks = new Set(this.#actions.map(({ taskId }) => taskId));
    }
    for (const [taskId, { terminal }] of this.#tasks) {
      if (terminal && terminal.atMicros < oldest && !this.#expiring.has(taskId)) {
        this.#tasks.delete(taskId);
        this.#closed.add(taskId);
      }
    }
    for (const [taskId, { untilMicros }] of this.#quarantines)
      if (untilMicros < nowMicros) this.#quarantines.delete(taskId);
    for (const [taskId, { atMicros }] of this.#released) if (atMicros < oldest) this.#released.delete(taskId);
  }

  #apply(response: Response, place: StreamPlace): string {
    const atMicros = place.timestampMicros;
    this.#newestMicros = Math.max(this.#newestMicros, atMicros);
    const taskId = taskIdOf(response);
    if (response.phase === 'started') this.#remember(actionOf(taskId, atMicros, response));
    if (response.phase === 'undone' && response.reasonCode === RELEASED) {
      this.#released.set(taskId, { taskId, atMicros, response });
    }
    if (response.phase === 'undone') this.#quarantines.delete(taskId);
    if (this.#closed.has(taskId)) return taskId;
    const state = this.#tasks.get(taskId) ?? newState(taskId);
    record(state, atMicros, response);
    this.#tasks.set(taskId, state);
    this.#settle(state);
    return taskId;
  }

  /** Inserts by time: an own record may be applied before an earlier one of another replica. */
  #remember(entry: ActionEntry): void {
    if (this.#actedTasks.has(entry.taskId)) return;
    this.#actedTasks.add(entry.taskId);
    let index = this.#actions.length;
    while (index > 0 && (this.#actions[index - 1] as ActionEntry).atMicros > entry.atMicros) index--;
    this.#actions.splice(index, 0, entry);
  }

  #settle(state: TaskState): void {
    const end = state.terminal?.response;
    if (!end) return;
    const { taskId } = state;
    if (isQuarantineInForce(state)) {
      const { started, terminal } = state;
      const sinceMicros = (started ?? terminal)?.atMicros as number;
      const untilMicros = quarantineEndMicros(end.expiresAt, (started?.response ?? end).recordedAt);
      this.#quarantines.set(taskId, { taskId, sinceMicros, untilMicros, response: end });
    }
    if (end.phase === 'succeeded' && end.expiresAt !== null && !state.undone) {
      this.#expiring.set(taskId, state);
      return;
    }
    this.#expiring.delete(taskId);
    // Kept: a quarantine may replace the removal, and `tasksOf` needs its outcome.
    if (end.reasonCode === DELETE_STORM || (end.reasonCode === BUDGET_EXHAUSTED && REMOVING_ACTIONS.has(end.action)))
      return;
    this.#tasks.delete(taskId);
    this.#closed.add(taskId);
  }
}

/** A quarantine released by a person. */
export interface Released {
  taskId: string;
  atMicros: number;
  /** The `undone` record. */
  response: Response;
}

/** A quarantine task whose own entry is in the node's list. */
export interface QuarantineInForce {
  taskId: string;
  /** Start time; the bus time as soon as the record was read from the stream. */
  sinceMicros: number;
  /** When the node's kernel ends it. */
  untilMicros: number;
  /** The `succeeded` record. */
  response: Response;
}

function isQuarantineInForce({ terminal, undone }: TaskState): boolean {
  if (!terminal || undone) return false;
  const { action, phase, reasonCode } = terminal.response;
  return action === 'quarantine' && phase === 'succeeded' && reasonCode !== ALREADY_QUARANTINED;
}

function record(state: TaskState, atMicros: number, response: Response): void {
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

function newState(taskId: string): TaskState {
  return {
    taskId,
    pendingAtMicros: null,
    approvedAtMicros: null,
    started: null,
    terminal: null,
    undone: null,
  };
}

function actionOf(taskId: string, atMicros: number, response: Response): ActionEntry {
  const { action, policy, podUid, podNamespace: namespace, ownerUid, nodeName } = response;
  return { taskId, atMicros, action, policy, podUid, ownerUid, namespace, nodeName };
}
