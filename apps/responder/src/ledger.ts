/**
 * The fold of RESPONSES: what has been done about which verdict, what was done lately (budgets, cooldowns, storms), and what is to be
 * undone when. A function of the stream alone, so it is the same in every replica and after every start; Redis holds none of it.
 *
 * Folding a record twice changes nothing: the responder folds its own records as soon as the bus has stored them and meets them again
 * when its consumer delivers them. `position` is the highest sequence below which nothing is missing; a reservation is published on the
 * condition that the stream still ends there.
 *
 * Bounds: closed tasks beyond `maxTasks` are forgotten, oldest first, and counted (the bus still refuses their second copy); actions
 * older than the longest window are dropped.
 */
import { phaseGroupOf, RELEASED, taskIdOf } from '@bailiff/answer';
import type { Response } from '@bailiff/schemas';

/** Longest window, cooldown and storm that a policy may name (24 h), and so how long an action counts. */
export const ACTION_MEMORY_MICROS = 24 * 3_600_000_000;
/** Some 600 bytes each: two hundred thousand tasks are 120 MB, and more than a cluster answers within the horizon. */
export const DEFAULT_MAX_TASKS = 200_000;

/** What the stream says about one task. */
export interface TaskState {
  taskId: string;
  /** First record of the task that was met: names, pod and node. */
  first: Response;
  pendingAtMicros: number | null;
  approvedAtMicros: number | null;
  started: { atMicros: number; response: Response } | null;
  terminal: { atMicros: number; response: Response } | null;
  undone: { atMicros: number; response: Response } | null;
}

/** Something that was really begun: it counts against budgets whatever came of it. */
export interface ActionEntry {
  taskId: string;
  atMicros: number;
  action: Response['action'];
  policy: string;
  podUid: string;
  ownerUid: string;
  nodeName: string;
}

export interface StreamPlace {
  sequence: number;
  /** The bus's time of the record. */
  timestampMicros: number;
}

export class Ledger {
  #tasks = new Map<string, TaskState>();
  #actions: ActionEntry[] = [];
  #expiring = new Map<string, TaskState>();
  #released = new Map<string, TaskState>();
  #position = 0;
  #newestMicros = 0;
  #forgotten = 0;
  readonly #maxTasks: number;

  constructor(maxTasks = DEFAULT_MAX_TASKS) {
    this.#maxTasks = maxTasks;
  }

  /** Highest sequence up to which every record of the stream is folded. */
  get position(): number {
    return this.#position;
  }
  /** The bus's newest time; a local clock that runs behind it is corrected by it. */
  get newestMicros(): number {
    return this.#newestMicros;
  }
  get size(): number {
    return this.#tasks.size;
  }
  /** Closed tasks that were dropped for want of room. */
  get forgotten(): number {
    return this.#forgotten;
  }

  /** Folds a record the consumer delivered: everything before it has been delivered as well. */
  applyInOrder(response: Response, place: StreamPlace): TaskState {
    this.reached(place.sequence);
    return this.#fold(response, place);
  }

  /** Folds a record of one's own that the bus has just stored; others may have been stored before it and be still on their way. */
  applyOwn(response: Response, place: StreamPlace): TaskState {
    if (place.sequence === this.#position + 1) this.#position = place.sequence;
    return this.#fold(response, place);
  }

  /** The stream is known to hold nothing up to this sequence that was not folded (records that could not be read, an empty stream). */
  reached(sequence: number): void {
    if (sequence > this.#position) this.#position = sequence;
  }

  task(taskId: string): TaskState | undefined {
    return this.#tasks.get(taskId);
  }

  isClosed(taskId: string): boolean {
    return this.#tasks.get(taskId)?.terminal != null;
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
  released(): Iterable<TaskState> {
    return this.#released.values();
  }

  /** Drops actions that no window reaches any more, and the oldest closed tasks above the bound. */
  prune(nowMicros: number): void {
    const oldest = nowMicros - ACTION_MEMORY_MICROS;
    if ((this.#actions[0]?.atMicros ?? oldest) < oldest) this.#actions = this.actionsSince(oldest);
    for (const [taskId, state] of this.#released)
      if ((state.undone?.atMicros ?? 0) < oldest) this.#released.delete(taskId);
    if (this.#tasks.size <= this.#maxTasks) return;
    for (const [taskId, state] of this.#tasks) {
      if (this.#tasks.size <= this.#maxTasks) return;
      if (!state.terminal || this.#expiring.has(taskId)) continue;
      this.#tasks.delete(taskId);
      this.#forgotten++;
    }
  }

  #fold(response: Response, place: StreamPlace): TaskState {
    const atMicros = place.timestampMicros;
    this.#newestMicros = Math.max(this.#newestMicros, atMicros);
    const taskId = taskIdOf(response);
    const state = this.#tasks.get(taskId) ?? newState(taskId, response);
    this.#tasks.set(taskId, state);
    switch (phaseGroupOf(response.phase)) {
      case 'pending':
        state.pendingAtMicros ??= atMicros;
        break;
      case 'approved':
        state.approvedAtMicros ??= atMicros;
        break;
      case 'started':
        if (!state.started) this.#remember(actionOf(taskId, atMicros, response));
        state.started ??= { atMicros, response };
        break;
      case 'terminal':
        state.terminal ??= { atMicros, response };
        break;
      case 'undone':
        state.undone ??= { atMicros, response };
    }
    this.#index(state);
    return state;
  }

  /** Keeps the actions in the order of their time: a record of one's own may be met before an earlier one of another replica. */
  #remember(entry: ActionEntry): void {
    let index = this.#actions.length;
    while (index > 0 && (this.#actions[index - 1] as ActionEntry).atMicros > entry.atMicros) index--;
    this.#actions.splice(index, 0, entry);
  }

  #index(state: TaskState): void {
    const ends = state.terminal?.response;
    if (ends?.phase === 'succeeded' && ends.expiresAt !== null && !state.undone)
      this.#expiring.set(state.taskId, state);
    else this.#expiring.delete(state.taskId);
    if (state.undone?.response.reasonCode === RELEASED) this.#released.set(state.taskId, state);
  }
}

function newState(taskId: string, first: Response): TaskState {
  return {
    taskId,
    first,
    pendingAtMicros: null,
    approvedAtMicros: null,
    started: null,
    terminal: null,
    undone: null,
  };
}

function actionOf(taskId: string, atMicros: number, response: Response): ActionEntry {
  const { action, policy, podUid, ownerUid, nodeName } = response;
  return { taskId, atMicros, action, policy, podUid, ownerUid, nodeName };
}
