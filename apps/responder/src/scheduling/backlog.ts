/**
 * The backlog: verdicts with an open task, and the jobs that the queues need for them. It keeps no
 * verdicts: a job reads its verdict again by sequence. VERDICTS and RESPONSES determine it, so it
 * is the same after every start, even if Redis is empty.
 *
 * Places are shared: a namespace (a node, for verdicts about itself) gets a further one only while more
 * are free than it has. Tasks that wait for an approval, a delay or a cooldown keep them for a day or
 * longer, so there are further places for verdicts that may not wait: their tasks run at once, and end
 * as `backlog-full` where they would wait. A pod cannot delay the responses against it by verdicts that
 * wait. Without either place a verdict waits by its sequence (deferred) and is planned when there is one.
 *
 * Jobs have turns (fair-turns.ts), so that due tasks of one owner do not delay those of another one.
 */

import {
  CooldownEnds,
  hasOverdueTask,
  isOverdue,
  type Ledger,
  type OverdueLimits,
  type Task,
  type TaskState,
} from '@bailiff/response';
import type { Response } from '@bailiff/schemas';
import { FairCounts } from '@bailiff/service';
import type { Job, StoredVerdict } from '../ports.ts';
import { FairTurns, LAST_TURN, waitedTurn } from './fair-turns.ts';
import type { OrderGate } from './order-gate.ts';

/** Some 400 bytes each. Verdicts that may not wait have half as many places of their own. */
export const MAX_OUTSTANDING = 50_000;

/**
 * A task or undo that is overdue for this long gets another job, and again each time it passes. Its job
 * may be lost to scans, which do not change existing jobs: a Redis that evicts keys deletes the list of a
 * job without the job, and a clock that was ahead has delayed it for as long. A full backlog takes half an
 * hour. A task with two jobs runs once (tasks/run-task.ts). One whose job has run in this time gets none: in a day
 * without the API server, all tasks would have 24.
 */
export const STUCK_MS = 3_600_000;
const STUCK_MICROS = STUCK_MS * 1_000;

export interface QueuedJob {
  id: string;
  delayMs: number;
  /** Order among the jobs of the action that are due; lower ones run first. */
  turn: number;
  job: Job;
}

/** The time by wall clock and monotonic clock. */
export interface Now {
  micros: number;
  monotonicMs: number;
}

/** A verdict without a place. */
export interface Deferred {
  /** Namespace, or node. */
  owner: string;
  sequence: number;
}

interface Outstanding {
  sequence: number;
  /** When the bus stored it: its steps without a delay are due. The bus's clock may be ahead of ours. */
  atMicros: number;
  owner: string;
  mayWait: boolean;
  tasks: OpenTask[];
}

interface OpenTask
  extends Pick<
    Task,
    'taskId' | 'verdictId' | 'policy' | 'action' | 'step' | 'dueAtMicros' | 'substitute' | 'cooldown'
  > {
  /** Of its job; 0: it has none yet. */
  turn: number;
  /** On the monotonic clock: when a job of it last ran here, which waits again. Such a job is not lost. */
  ranAtMs: number;
}

export class Backlog {
  readonly #order: OrderGate;
  /** Places of all verdicts here, and of those that may not wait. */
  readonly #all: FairCounts;
  readonly #atOnce: FairCounts;
  #verdicts = new Map<string, Outstanding>();
  /** Sequences of verdicts without a place, by owner. Not more than VERDICTS holds. */
  #deferred = new Map<string, number[]>();
  /** By action. */
  readonly #turns = new Map<string, FairTurns>();

  /** @param order holds back the jobs of tasks that wait for another task of their verdict */
  constructor(order: OrderGate, most = MAX_OUTSTANDING) {
    this.#order = order;
    this.#all = new FairCounts(most);
    this.#atOnce = new FairCounts(Math.ceil(most / 2));
  }

  get size(): number {
    return this.#verdicts.size;
  }
  /** Number of verdicts that wait for a place. */
  get deferred(): number {
    return [...this.#deferred.values()].reduce((sum, { length }) => sum + length, 0);
  }

  /**
   * Stores or replaces the plan of a verdict; a verdict without open tasks is not stored, and one
   * without a place is deferred.
   */
  put({ verdict, sequence, atMicros }: StoredVerdict, tasks: readonly Task[], ledger: Ledger): void {
    const open = tasks.filter(({ taskId }) => !ledger.isClosed(taskId));
    if (open.length === 0) {
      this.#remove(verdict.verdictId);
      return;
    }
    const known = this.#verdicts.get(verdict.verdictId);
    const owner = known?.owner ?? ownerOf(verdict);
    const mayWait = known?.mayWait ?? this.#all.hasRoom(owner);
    if (!known && !mayWait && !this.#atOnce.hasRoom(owner)) {
      this.defer({ owner, sequence });
      return;
    }
    const kept = open.map(({ taskId, verdictId, policy, action, step, dueAtMicros, substitute, cooldown }) => {
      const { turn = 0, ranAtMs = Number.NEGATIVE_INFINITY } =
        known?.tasks.find((task) => task.taskId === taskId) ?? {};
      return {
        ...{ taskId, verdictId, policy, action, step, dueAtMicros, substitute, turn, ranAtMs },
        ...(cooldown ? { cooldown } : {}),
      };
    });
    this.#verdicts.set(verdict.verdictId, { sequence, atMicros, owner, mayWait, tasks: kept });
    if (known) return;
    this.#all.add(owner);
    if (!mayWait) this.#atOnce.add(owner);
  }

  /** A task has started: its turn is over. */
  started(verdictId: string, taskId: string): void {
    const task = this.#verdicts.get(verdictId)?.tasks.find((one) => one.taskId === taskId);
    if (task && task.turn > 0) this.#turnsOf(task.action).started(task.turn);
  }

  #turnsOf(action: string): FairTurns {
    const turns = this.#turns.get(action) ?? new FairTurns();
    this.#turns.set(action, turns);
    return turns;
  }

  /** A job of the task has run, and waits again. */
  ran(verdictId: string, taskId: string, nowMs: number): void {
    const task = this.#verdicts.get(verdictId)?.tasks.find((one) => one.taskId === taskId);
    if (task) task.ranAtMs = nowMs;
  }

  /** Turn of a task that has waited, such as for the end of a cooldown. */
  waitedTurn(verdictId: string): number {
    const owner = this.#verdicts.get(verdictId)?.owner;
    return owner === undefined ? LAST_TURN : waitedTurn(this.#all.of(owner));
  }

  /** Whether the tasks of a verdict may wait. True for a verdict that is not stored here. */
  mayWait(verdictId: string): boolean {
    return this.#verdicts.get(verdictId)?.mayWait ?? true;
  }

  /**
   * Removes an ended task, and the verdict with its last task. Returns the verdict's sequence if it
   * was stored.
   */
  ended(verdictId: string, taskId: string): number | null {
    const verdict = this.#verdicts.get(verdictId);
    if (!verdict) return null;
    // A refused task and a dry run have no start.
    this.started(verdictId, taskId);
    verdict.tasks = verdict.tasks.filter((task) => task.taskId !== taskId);
    if (verdict.tasks.length === 0) this.#remove(verdictId);
    return verdict.sequence;
  }

  /**
   * VERDICTS was recreated: the stored sequences are void, and the new stream is read from its
   * start.
   */
  clear(): void {
    this.#verdicts.clear();
    this.#all.clear();
    this.#atOnce.clear();
    this.#deferred.clear();
    this.#turns.clear();
  }

  /** The verdict waits until its owner has a place. */
  defer({ owner, sequence }: Deferred): void {
    const waiting = this.#deferred.get(owner);
    if (waiting) waiting.push(sequence);
    else this.#deferred.set(owner, [sequence]);
  }

  /** Takes deferred verdicts that have a place now, the oldest of each owner. */
  takeDeferred(): Deferred[] {
    const taken: Deferred[] = [];
    for (const [owner, sequences] of this.#deferred) {
      const [room, atOnce] = [this.#all, this.#atOnce].map((places) => places.roomFor(owner, taken.length)) as [
        number,
        number,
      ];
      const next = sequences.splice(0, Math.max(room, atOnce));
      taken.push(...next.map((sequence) => ({ owner, sequence })));
      if (sequences.length === 0) this.#deferred.delete(owner);
    }
    return taken;
  }

  #remove(verdictId: string): void {
    const verdict = this.#verdicts.get(verdictId);
    if (!verdict) return;
    this.#verdicts.delete(verdictId);
    this.#all.remove(verdict.owner);
    if (!verdict.mayWait) this.#atOnce.remove(verdict.owner);
    if (this.#verdicts.size === 0) this.#turns.clear();
  }

  /**
   * VERDICTS has deleted the verdicts before a sequence: their tasks without a record cannot run any
   * more. Those with a record end as `verdict-gone`. @returns the number of removed tasks
   */
  removeBefore(sequence: number, ledger: Ledger): number {
    let removed = 0;
    for (const [verdictId, verdict] of this.#verdicts) {
      if (verdict.sequence >= sequence) continue;
      const kept = verdict.tasks.filter(({ taskId }) => ledger.task(taskId) !== undefined);
      removed += verdict.tasks.length - kept.length;
      verdict.tasks = kept;
      if (kept.length === 0) this.#remove(verdictId);
    }
    return removed;
  }

  /** Number of verdicts with an overdue task. */
  unanswered(ledger: Ledger, nowMicros: number, limits: OverdueLimits): number {
    const ends = new CooldownEnds(ledger, nowMicros);
    let count = 0;
    for (const { tasks } of this.#verdicts.values())
      if (hasOverdueTask(tasks, ledger, nowMicros, limits, ends)) count += 1;
    return count;
  }

  /**
   * Jobs that start within `aheadMs`, without tasks that wait for an approval within its time
   * limit.
   */
  jobs(ledger: Ledger, now: Now, aheadMs: number, approvalTimeoutMs: number): QueuedJob[] {
    const jobs: QueuedJob[] = [];
    const ends = new CooldownEnds(ledger, now.micros);
    for (const verdict of this.#verdicts.values()) {
      const { tasks } = verdict;
      const then = notBefore(verdict, now);
      for (const task of tasks) {
        if (waitsForApproval(ledger.task(task.taskId), now.micros, approvalTimeoutMs)) continue;
        if (this.#isHeld(task, tasks, ledger, then)) continue;
        const job = this.#doJob(task, verdict, then.micros);
        if (job.delayMs > aheadMs) continue;
        const isLost = now.monotonicMs - task.ranAtMs > STUCK_MS;
        const isStuck = isLost && isOverdue(task, ledger, now.micros, { graceMs: STUCK_MS }, ends);
        jobs.push(isStuck ? another(job, now.micros) : job);
      }
    }
    return jobs;
  }

  /** All jobs of one verdict. */
  jobsOf(verdictId: string, ledger: Ledger, now: Now): QueuedJob[] {
    const verdict = this.#verdicts.get(verdictId);
    if (!verdict) return [];
    const then = notBefore(verdict, now);
    const free = verdict.tasks.filter((task) => !this.#isHeld(task, verdict.tasks, ledger, then));
    return free.map((task) => this.#doJob(task, verdict, then.micros));
  }

  #doJob(task: OpenTask, { owner, sequence, mayWait }: Outstanding, nowMicros: number): QueuedJob {
    const { taskId, verdictId, policy, action, dueAtMicros, substitute } = task;
    if (task.turn === 0) task.turn = this.#turnsOf(action).next(owner);
    return {
      // A quarantine step that is brought forward needs another id than its delayed job.
      id: substitute ? `${taskId}-now` : taskId,
      // A task that may not wait runs now, and ends as `backlog-full` (tasks/run-task.ts).
      delayMs: mayWait ? Math.max(0, (dueAtMicros - nowMicros) / 1000) : 0,
      turn: task.turn,
      job: { kind: 'do', taskId, action, verdictId, policy, sequence, tries: 0, failingSinceMs: 0 },
    };
  }

  /**
   * A task that is due later is not held: its job has a delay and checks the order when it runs.
   */
  #isHeld(task: OpenTask, tasks: readonly OpenTask[], ledger: Ledger, now: Now): boolean {
    return task.dueAtMicros <= now.micros && this.#order.isHeld(task, tasks, ledger, now.monotonicMs);
  }
}

/** The job under another id, for STUCK_MS the same. */
const another = (job: QueuedJob, nowMicros: number): QueuedJob => ({
  ...job,
  id: `${job.id}-${Math.floor(nowMicros / STUCK_MICROS)}`,
});

/** Otherwise a clock that is a little behind would queue every step at once, to poll for its turn. */
function notBefore({ atMicros }: Outstanding, now: Now): Now {
  return { ...now, micros: Math.max(now.micros, atMicros) };
}

function waitsForApproval(state: TaskState | undefined, nowMicros: number, approvalTimeoutMs: number): boolean {
  if (!state?.pendingAtMicros || state.approvedAtMicros) return false;
  return nowMicros - state.pendingAtMicros <= approvalTimeoutMs * 1000;
}

const ownerOf = ({ pod, nodeName }: StoredVerdict['verdict']) => (pod ? pod.namespace : `node ${nodeName}`);

/**
 * Jobs that undo expired effects within `aheadMs`, or remove the records of released quarantines.
 * An undo runs behind tasks that have not run: it is never given up, so those of a namespace whose API objects
 * cannot be changed would keep all others from their turn. Among undos, namespaces take turns.
 */
export function undoJobs(
  ledger: Ledger,
  nowMicros: number,
  aheadMs: number,
  isCleared: (taskId: string) => boolean,
): QueuedJob[] {
  const jobs: QueuedJob[] = [];
  const turns = new Map<string, number>();
  for (const { taskId, terminal } of ledger.expiring()) {
    const response = (terminal as NonNullable<typeof terminal>).response;
    const leftMicros = (response.expiresAt ?? 0) - nowMicros;
    const delayMs = Math.max(0, leftMicros / 1000);
    if (delayMs > aheadMs) continue;
    const tenant = `${response.action} ${response.podNamespace}`;
    const place = (turns.get(tenant) ?? 0) + 1;
    turns.set(tenant, place);
    const job = { id: `${taskId}-undo`, delayMs, turn: waitedTurn(place), job: endJob('undo', taskId, response) };
    jobs.push(leftMicros < -STUCK_MICROS ? another(job, nowMicros) : job);
  }
  for (const released of ledger.released()) if (!isCleared(released.taskId)) jobs.push(clearJob(released));
  return jobs;
}

export function clearJob({ taskId, response }: { taskId: string; response: Response }): QueuedJob {
  return { id: `${taskId}-clear`, delayMs: 0, turn: 1, job: endJob('clear', taskId, response) };
}

function endJob(kind: 'undo' | 'clear', taskId: string, { action, verdictId, policy }: Response): Job {
  return { kind, taskId, action, verdictId, policy, sequence: 0, tries: 0, failingSinceMs: 0 };
}
