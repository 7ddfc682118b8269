/**
 * The fold of RESPONSES: what has been done about which verdict, what was done lately (budgets, cooldowns, storms), and what is to be
 * undone when. A function of the stream alone, so it is the same in every replica and after every start; Redis holds none of it.
 *
 * Folding a record twice changes nothing: the responder folds its own records as soon as the bus has stored them and meets them again
 * when its consumer delivers them. `position` is the highest sequence below which nothing is missing; a reservation is published on the
 * condition that the stream still ends there.
 *
 * Bounds: of a task that has ended only its id is kept (some 100 bytes), so the fold is bounded by what RESPONSES may hold (512 MiB are less
 * than a million tasks); actions older than the longest window are dropped; the record of a quarantine is kept until
 * its time is up, some 1 kB each.
 */
import type { Response } from '@bailiff/schemas';
import type { ActionEntry } from '../guards/guards.ts';
import { phaseGroupOf, taskIdOf } from '../planning/ids.ts';
import { ALREADY_QUARANTINED, BUDGET_EXHAUSTED, DELETE_STORM, quarantineEndMicros } from '../planning/plan.ts';
import { RELEASED } from './records.ts';

const REMOVING: ReadonlySet<string> = new Set(['evict', 'delete']);
/** Longest window, cooldown and storm that a policy may name (24 h), and so how long an action counts. */
export const ACTION_MEMORY_MICROS = 24 * 3_600_000_000;

/** What the stream says about one task. */
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
  /** The bus's time of the record. */
  timestampMicros: number;
}

export class Ledger {
  /** Open tasks, and ended ones whose record is still needed: to be undone, or to be answered by a quarantine. */
  #tasks = new Map<string, TaskState>();
  #closed = new Set<string>();
  #actions: ActionEntry[] = [];
  #acted = new Set<string>();
  #expiring = new Map<string, TaskState>();
  #released = new Map<string, Released>();
  #quarantines = new Map<string, QuarantineInForce>();
  #position = 0;
  #newestMicros = 0;

  /** Highest sequence up to which every record of the stream is folded. */
  get position(): number {
    return this.#position;
  }
  /** The bus's newest time; a local clock that runs behind it is corrected by it. */
  get newestMicros(): number {
    return this.#newestMicros;
  }
  /** Tasks known, ended ones too. */
  get size(): number {
    return this.#tasks.size + this.#closed.size;
  }

  /** Folds a record the consumer delivered: everything before it has been delivered as well. Answers the id of its task. */
  applyInOrder(response: Response, place: StreamPlace): string {
    this.advanceTo(place.sequence);
    return this.#fold(response, place);
  }

  /** Folds a record of one's own that the bus has just stored; others may have been stored before it and be still on their way. */
  applyOwn(response: Response, place: StreamPlace): string {
    if (place.sequence === this.#position + 1) this.#position = place.sequence;
    return this.#fold(response, place);
  }

  /** The stream is known to hold nothing up to this sequence that was not folded (records that could not be read, an empty stream). */
  advanceTo(sequence: number): void {
    if (sequence > this.#position) this.#position = sequence;
  }

  /** RESPONSES was made anew: its sequences begin again. What was done was done: it still ends tasks, spends budgets and is to be undone. */
  streamRecreated(): void {
    this.#position = 0;
  }

  /** What is known of a task that is open, or ended and not done with. */
  task(taskId: string): TaskState | undefined {
    return this.#tasks.get(taskId);
  }

  /** It has its terminal record. */
  isClosed(taskId: string): boolean {
    return this.#closed.has(taskId) || this.#tasks.get(taskId)?.terminal != null;
  }

  /** It waits for a person. */
  isPending(taskId: string): boolean {
    const state = this.#tasks.get(taskId);
    return state?.pendingAtMicros != null && state.approvedAtMicros === null && state.terminal === null;
  }

  /** What was begun since then, oldest first. */
  actionsSince(sinceMicros: number): ActionEntry[] {
    return this.#actions.filter((entry) => entry.atMicros >= sinceMicros);
  }

  /** Tasks whose effect is to end at a time and has not been ended. */
  expiring(): Iterable<TaskState> {
    return this.#expiring.values();
  }

  /** Quarantines that a person ended: their visible record may still stand. */
  released(): Iterable<Released> {
    return this.#released.values();
  }

  /** Quarantines that were carried out and not ended; some whose time is up may be among them. */
  quarantines(): Iterable<QuarantineInForce> {
    return this.#quarantines.values();
  }

  /** Drops what no window reaches any more. */
  prune(nowMicros: number): void {
    const oldest = nowMicros - ACTION_MEMORY_MICROS;
    if ((this.#actions[0]?.atMicros ?? oldest) < oldest) {
      this.#actions = this.actionsSince(oldest);
      this.#acted = new Set(this.#actions.map(({ taskId }) => taskId));
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

  #fold(response: Response, place: StreamPlace): string {
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
    note(state, atMicros, response);
    this.#tasks.set(taskId, state);
    this.#settle(state);
    return taskId;
  }

  /** Keeps the actions in the order of their time: a record of one's own may be met before an earlier one of another replica. */
  #remember(entry: ActionEntry): void {
    if (this.#acted.has(entry.taskId)) return;
    this.#acted.add(entry.taskId);
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
    // A quarantine may stand in for it: tasksOf asks how it ended.
    if (end.reasonCode === DELETE_STORM || (end.reasonCode === BUDGET_EXHAUSTED && REMOVING.has(end.action))) return;
    this.#tasks.delete(taskId);
    this.#closed.add(taskId);
  }
}

/** Ended by a person. */
export interface Released {
  taskId: string;
  atMicros: number;
  /** The `undone` record. */
  response: Response;
}

/** A task whose pod is cut off by its own entry in its node's list. */
export interface QuarantineInForce {
  taskId: string;
  /** When it was begun, by the bus's clock once the record came from there. */
  sinceMicros: number;
  /** When its node's kernel ends it by itself. */
  untilMicros: number;
  /** The `succeeded` record. */
  response: Response;
}

function isQuarantineInForce({ terminal, undone }: TaskState): boolean {
  if (!terminal || undone) return false;
  const { action, phase, reasonCode } = terminal.response;
  return action === 'quarantine' && phase === 'succeeded' && reasonCode !== ALREADY_QUARANTINED;
}

function note(state: TaskState, atMicros: number, response: Response): void {
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
