/**
 * The ledger of RESPONSES: tasks and their records, recent actions (for budgets, cooldowns,
 * storms), and expiring effects. It depends on the stream alone, so it is equal in every replica
 * and after every start; Redis stores none of it. Applying a record twice changes nothing, because
 * the responder applies its own records at once and reads them again from its consumer.
 *
 * RESPONSES deletes its oldest records when it is full. `needed` names the records that must not be
 * lost, and the responder stores them again. A task without a record may have run if its verdict is
 * older than the first record: `mayHaveRun`.
 *
 * Bounds: an ended task keeps only its id (some 100 bytes) while RESPONSES holds records of that
 * time, a removal also the reason of its end; actions as recent-actions.ts says; quarantine records
 * (some 1 kB) until their end; of expiring labels the newest MAX_EXPIRING_LABELS.
 */
import { isSetBack } from '@bailiff/policy';
import type { Response } from '@bailiff/schemas';
import type { ActionEntry } from '../guards/decision.ts';
import { phaseGroupOf, taskIdOf } from '../planning/ids.ts';
import { mayHaveSubstitute, quarantineEndMicros } from '../planning/plan.ts';
import { NOT_NEEDED, RecentActions } from './recent-actions.ts';
import { RELEASED } from './records.ts';
import { isQuarantineInForce, newState, openSequences, record, type TaskState } from './task-state.ts';

/** The longest window and cooldown of a policy: an action is relevant for 24 h. */
export const ACTION_MEMORY_MICROS = 24 * 3_600_000_000;

/** Age of the verdicts that are being read. */
const BEING_READ_MICROS = 5_000_000;

/**
 * A clock of the bus that is set back for less than this was behind meanwhile, such as after a pause of its machine:
 * otherwise budgets and cooldowns would forget what was done.
 */
const SET_BACK_STAYS_MICROS = 600_000_000;

/**
 * Labels with an end, which verdicts can create without a limit of pods or budgets. Beyond it the
 * oldest stay on their pods.
 */
export const MAX_EXPIRING_LABELS = 50_000;

/** How a task ended, without its record. */
export interface TaskEnd {
  atMicros: number;
  reasonCode: string;
}

export interface StreamPlace {
  sequence: number;
  /** Bus time of the record. */
  timestampMicros: number;
}

export class Ledger {
  /** Open tasks, and ended ones whose record is needed for an undo. */
  #tasks = new Map<string, TaskState>();
  /** Ended tasks without a state, and when they ended. */
  #closed = new Map<string, number>();
  /** Of these, removals that a quarantine may replace. */
  readonly #substituted = new Map<string, TaskEnd>();
  readonly #actions = new RecentActions();
  #expiring = new Map<string, TaskState>();
  #released = new Map<string, Released>();
  #quarantines = new Map<string, QuarantineInForce>();
  #position = 0;
  #newestMicros = 0;
  /** Since when the clock of the bus is behind the newest record. */
  #setBackMicros: number | null = null;
  #completeSinceMicros = 0;
  /** Labels whose end was given up. */
  labelsForgotten = 0;

  /** Highest sequence up to which every record is applied. */
  get position(): number {
    return this.#position;
  }
  /** Newest bus time of a record. */
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
    for (const one of [...this.#quarantines.values(), ...this.#released.values()]) one.sequence = NOT_NEEDED;
    for (const state of this.#tasks.values()) state.sequences = {};
    this.#actions.streamRecreated();
  }

  /** RESPONSES has deleted records from before this time. It decreases only after a clock of the bus was ahead. */
  get completeSinceMicros(): number {
    return this.#completeSinceMicros;
  }
  set completeSinceMicros(micros: number) {
    this.#completeSinceMicros = Math.max(this.#completeSinceMicros, micros);
  }

  /**
   * A time of the future was computed by a clock that was ahead: by it, no task could run until then. Verdicts that are
   * being read are a little older than now.
   */
  limitCompleteSince(nowMicros: number): void {
    if (this.#completeSinceMicros > nowMicros) this.#completeSinceMicros = nowMicros - BEING_READ_MICROS;
  }

  /**
   * Whether a task without a record may have had one, which RESPONSES has deleted. It must not run:
   * it might act twice.
   * @param earliestMicros time before which no record of the task can have been stored
   */
  mayHaveRun(taskId: string, earliestMicros: number): boolean {
    if (earliestMicros >= this.#completeSinceMicros || this.#closed.has(taskId)) return false;
    const state = this.#tasks.get(taskId);
    // Of an ended task the last record may be left.
    return !state || (state.undone !== null && !state.terminal && !state.started);
  }

  /**
   * Records that later decisions need, with the sequence of their newest copy: quarantines and other
   * effects that end, releases, open tasks, and the actions that budgets count. Most important first.
   * Of an ended task only the last record: a copy of an earlier one would outlive it.
   */
  *needed(): Iterable<NeededRecord> {
    for (const one of this.#places()) if (one.sequence !== NOT_NEEDED) yield one;
  }

  *#places(): Iterable<NeededRecord> {
    for (const { taskId, sequence, response } of [...this.#quarantines.values(), ...this.#released.values()])
      yield { taskId, sequence, namespace: response.podNamespace };
    for (const { taskId, terminal, sequences } of this.#expiring.values())
      yield { taskId, sequence: sequences.terminal ?? NOT_NEEDED, namespace: terminal?.response.podNamespace ?? '' };
    for (const state of this.#tasks.values()) {
      for (const sequence of openSequences(state))
        yield { taskId: state.taskId, sequence, namespace: state.first.podNamespace };
    }
    yield* this.#actions.needed();
  }

  /** Whether a record that `needed` named is still needed, without another walk through all. */
  isNeeded({ taskId, sequence }: NeededRecord): boolean {
    const state = this.#tasks.get(taskId);
    const places = [
      this.#quarantines.get(taskId)?.sequence,
      this.#released.get(taskId)?.sequence,
      this.#expiring.get(taskId)?.sequences.terminal,
      this.#actions.sequenceOf(taskId),
      ...(state ? openSequences(state) : []),
    ];
    return sequence !== NOT_NEEDED && places.includes(sequence);
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

  /** Why and when a removal ended, if a quarantine may replace it. */
  substitutedEnd(taskId: string): TaskEnd | null {
    return this.#substituted.get(taskId) ?? null;
  }

  /** Actions started since a time that a guard of this action may count, oldest first. */
  actionsFor(action: string, sinceMicros: number): ActionEntry[] {
    return this.#actions.of(action, sinceMicros);
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
    if (isSetBack(nowMicros, this.#newestMicros)) this.#setBack(nowMicros);
    else this.#setBackMicros = null;
    this.limitCompleteSince(nowMicros);
    const oldest = nowMicros - ACTION_MEMORY_MICROS;
    this.#actions.prune(oldest);
    // Their verdicts are older, and `mayHaveRun` covers them. Both are nearly in the order of time, and
    // too many to look at all of them each time.
    for (const [taskId, atMicros] of this.#closed) {
      if (atMicros >= this.#completeSinceMicros) break;
      this.#closed.delete(taskId);
    }
    for (const [taskId, { atMicros }] of this.#substituted) {
      if (atMicros >= Math.max(oldest, this.#completeSinceMicros)) break;
      this.#substituted.delete(taskId);
    }
    this.#forgetLabels();
    for (const [taskId, { untilMicros }] of this.#quarantines)
      if (untilMicros < nowMicros) this.#quarantines.delete(taskId);
    for (const [taskId, { atMicros }] of this.#released) if (atMicros < oldest) this.#released.delete(taskId);
  }

  /**
   * Records of the future count as of when the clock was set back. Otherwise actions of the future would use up budgets,
   * and hold their tasks, until then.
   */
  #setBack(nowMicros: number): void {
    this.#setBackMicros = Math.min(this.#setBackMicros ?? nowMicros, nowMicros);
    if (nowMicros - this.#setBackMicros >= SET_BACK_STAYS_MICROS) {
      this.#newestMicros = nowMicros;
      this.#actions.setBack(this.#setBackMicros, nowMicros);
      this.#setBackMicros = null;
    }
    for (const state of this.#tasks.values()) {
      const { started } = state;
      if (started) state.started = { ...started, atMicros: Math.min(started.atMicros, nowMicros) };
    }
  }

  /** The labels that were applied first stay on their pods. */
  #forgetLabels(): void {
    const labels = [...this.#expiring.values()].filter(({ terminal }) => terminal?.response.action === 'label');
    for (const { taskId, terminal } of labels.slice(0, Math.max(0, labels.length - MAX_EXPIRING_LABELS))) {
      this.#expiring.delete(taskId);
      this.#close(taskId, terminal?.atMicros ?? 0);
      this.labelsForgotten += 1;
    }
  }

  #close(taskId: string, atMicros: number): void {
    this.#tasks.delete(taskId);
    this.#closed.set(taskId, atMicros);
  }

  #apply(response: Response, place: StreamPlace): string {
    const { sequence, timestampMicros: atMicros } = place;
    this.#newestMicros = Math.max(this.#newestMicros, atMicros);
    const taskId = taskIdOf(response);
    const group = phaseGroupOf(response.phase);
    const isAction = group === 'started' || response.phase === 'succeeded';
    if (isAction && !this.#isStoredAgain(taskId, response))
      this.#actions.add(actionOf(taskId, atMicros, response), sequence);
    else this.#actions.moved(taskId, group === 'undone' ? NOT_NEEDED : sequence);
    if (group === 'undone' && response.reasonCode === RELEASED) {
      this.#released.set(taskId, { taskId, sequence, atMicros, response });
    }
    if (group === 'undone') this.#quarantines.delete(taskId);
    const quarantine = this.#quarantines.get(taskId);
    if (quarantine && group === 'terminal') quarantine.sequence = Math.max(quarantine.sequence, sequence);
    if (this.#closed.has(taskId)) return taskId;
    const state = this.#tasks.get(taskId) ?? newState(taskId, response);
    state.sequences[group] = Math.max(state.sequences[group] ?? 0, sequence);
    record(state, atMicros, response);
    this.#tasks.set(taskId, state);
    this.#settle(state);
    return taskId;
  }

  /**
   * Whether a record is that of a known action which budgets do not count any more: an identity of the core
   * can have the server store a message of the stream again, which would count as a new action.
   */
  #isStoredAgain(taskId: string, { action }: Response): boolean {
    const state = this.#tasks.get(taskId);
    const isKnown = this.#closed.has(taskId) || state?.started != null || state?.terminal != null;
    return isKnown && action !== 'label' && this.#actions.sequenceOf(taskId) === undefined;
  }

  #settle(state: TaskState): void {
    const end = state.terminal?.response;
    if (!end) return;
    const { taskId } = state;
    if (isQuarantineInForce(state)) {
      const { started, terminal } = state;
      const sinceMicros = (started ?? terminal)?.atMicros as number;
      const untilMicros = quarantineEndMicros(end.expiresAt, (started?.response ?? end).recordedAt);
      const { terminal: sequence = 0 } = state.sequences;
      this.#quarantines.set(taskId, { taskId, sequence, sinceMicros, untilMicros, response: end });
    }
    if (end.phase === 'succeeded' && end.expiresAt !== null && !state.undone) {
      this.#expiring.set(taskId, state);
      return;
    }
    this.#expiring.delete(taskId);
    const atMicros = state.terminal?.atMicros ?? 0;
    if (mayHaveSubstitute(end.action, end.reasonCode))
      this.#substituted.set(taskId, { atMicros, reasonCode: end.reasonCode });
    this.#close(taskId, atMicros);
  }
}

/** A record that RESPONSES must keep. */
export interface NeededRecord {
  taskId: string;
  sequence: number;
  /** Of its pod; empty for a node. */
  namespace: string;
}

/** A quarantine released by a person. */
export interface Released {
  taskId: string;
  sequence: number;
  atMicros: number;
  /** The `undone` record. */
  response: Response;
}

/** A quarantine task whose own entry is in the node's list. */
export interface QuarantineInForce {
  taskId: string;
  /** Of the newest copy of `response`. */
  sequence: number;
  /** Start time; the bus time as soon as the record was read from the stream. */
  sinceMicros: number;
  /** When the node's kernel ends it. */
  untilMicros: number;
  /** The `succeeded` record. */
  response: Response;
}

function actionOf(taskId: string, atMicros: number, response: Response): ActionEntry {
  const { action, policy, podUid, podNamespace: namespace, ownerUid, claimedOwnerUid, nodeName } = response;
  return { taskId, atMicros, action, policy, podUid, ownerUid, claimedOwnerUid, namespace, nodeName };
}
