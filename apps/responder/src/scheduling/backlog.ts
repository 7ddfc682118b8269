/**
 * Verdicts with a task that has not ended, as this process knows them, and the jobs that must be in the queue for them. Kept small: the
 * verdict itself is read again by its sequence when a job runs. It is derived from the two streams alone, so it is the same after every
 * start; Redis may forget everything.
 */

import { hasOverdueTask, type Ledger, type Task, type TaskState } from '@bailiff/response';
import type { Response } from '@bailiff/schemas';
import type { Job, StoredVerdict } from '../ports.ts';
import type { OrderGate } from './order-gate.ts';

/** Some 400 bytes each. When it is full the reading of VERDICTS waits. */
export const MAX_OUTSTANDING = 50_000;

export interface QueuedJob {
  id: string;
  delayMs: number;
  job: Job;
}

/** The time, by both clocks. */
export interface Now {
  micros: number;
  monotonicMs: number;
}

interface Outstanding {
  sequence: number;
  tasks: Pick<Task, 'taskId' | 'verdictId' | 'policy' | 'action' | 'dueAtMicros' | 'substitute'>[];
}

export class Backlog {
  readonly #order: OrderGate;
  #verdicts = new Map<string, Outstanding>();

  /** @param order tasks that must wait for another of their verdict get no job yet */
  constructor(order: OrderGate) {
    this.#order = order;
  }

  get size(): number {
    return this.#verdicts.size;
  }
  get isFull(): boolean {
    return this.#verdicts.size >= MAX_OUTSTANDING;
  }

  /** Takes a verdict's plan (again, when it has changed); one without an open task is not kept. */
  put({ verdict, sequence }: StoredVerdict, tasks: readonly Task[], ledger: Ledger): void {
    const open = tasks.filter(({ taskId }) => !ledger.isClosed(taskId));
    if (open.length === 0) {
      this.#verdicts.delete(verdict.verdictId);
      return;
    }
    const kept = open.map(({ taskId, verdictId, policy, action, dueAtMicros, substitute }) => {
      return { taskId, verdictId, policy, action, dueAtMicros, substitute };
    });
    this.#verdicts.set(verdict.verdictId, { sequence, tasks: kept });
  }

  /** Drops a task that has ended, and its verdict with the last of them. Answers the sequence of the verdict while it is kept. */
  ended(verdictId: string, taskId: string): number | null {
    const verdict = this.#verdicts.get(verdictId);
    if (!verdict) return null;
    verdict.tasks = verdict.tasks.filter((task) => task.taskId !== taskId);
    if (verdict.tasks.length === 0) this.#verdicts.delete(verdictId);
    return verdict.sequence;
  }

  /** VERDICTS was made anew: what stood under these sequences is gone, and what the new stream holds is told again. */
  clear(): void {
    this.#verdicts.clear();
  }

  /** Verdicts with a task that is overdue. */
  unanswered(ledger: Ledger, nowMicros: number, graceMs: number): number {
    let count = 0;
    for (const { tasks } of this.#verdicts.values()) if (hasOverdueTask(tasks, ledger, nowMicros, graceMs)) count += 1;
    return count;
  }

  /** The verdicts' jobs that are to begin within the time; those that wait for a person are left out until their time is up. */
  jobs(ledger: Ledger, now: Now, aheadMs: number, approvalTimeoutMs: number): QueuedJob[] {
    const jobs: QueuedJob[] = [];
    for (const { sequence, tasks } of this.#verdicts.values()) {
      for (const task of tasks) {
        if (waitsForApproval(ledger.task(task.taskId), now.micros, approvalTimeoutMs)) continue;
        if (this.#isHeld(task, tasks, ledger, now)) continue;
        const job = doJob(task, sequence, now.micros);
        if (job.delayMs <= aheadMs) jobs.push(job);
      }
    }
    return jobs;
  }

  /** The jobs of one verdict, whenever they begin. */
  jobsOf(verdictId: string, ledger: Ledger, now: Now): QueuedJob[] {
    const { tasks = [], sequence = 0 } = this.#verdicts.get(verdictId) ?? {};
    const free = tasks.filter((task) => !this.#isHeld(task, tasks, ledger, now));
    return free.map((task) => doJob(task, sequence, now.micros));
  }

  /** Of a task that is due later, its own delay is the wait: it asks when its job runs. */
  #isHeld(task: Outstanding['tasks'][number], tasks: Outstanding['tasks'], ledger: Ledger, now: Now): boolean {
    return task.dueAtMicros <= now.micros && this.#order.isHeld(task, tasks, ledger, now.monotonicMs);
  }
}

function waitsForApproval(state: TaskState | undefined, nowMicros: number, approvalTimeoutMs: number): boolean {
  if (!state?.pendingAtMicros || state.approvedAtMicros) return false;
  return nowMicros - state.pendingAtMicros <= approvalTimeoutMs * 1000;
}

function doJob(task: Outstanding['tasks'][number], sequence: number, nowMicros: number): QueuedJob {
  const { taskId, verdictId, policy, action, dueAtMicros, substitute } = task;
  return {
    // A quarantine step that was brought forward must not be held up by its own delayed job.
    id: substitute ? `${taskId}-now` : taskId,
    delayMs: Math.max(0, (dueAtMicros - nowMicros) / 1000),
    job: { kind: 'do', taskId, action, verdictId, policy, sequence, tries: 0, failingSinceMs: 0 },
  };
}

/** Jobs that end effects: those whose time comes within `aheadMs`, and records of released quarantines not yet taken away. */
export function undoJobs(
  ledger: Ledger,
  nowMicros: number,
  aheadMs: number,
  isCleared: (taskId: string) => boolean,
): QueuedJob[] {
  const jobs: QueuedJob[] = [];
  for (const { taskId, terminal } of ledger.expiring()) {
    const response = (terminal as NonNullable<typeof terminal>).response;
    const delayMs = Math.max(0, ((response.expiresAt ?? 0) - nowMicros) / 1000);
    if (delayMs <= aheadMs) jobs.push({ id: `${taskId}-undo`, delayMs, job: endJob('undo', taskId, response) });
  }
  for (const released of ledger.released()) if (!isCleared(released.taskId)) jobs.push(clearJob(released));
  return jobs;
}

export function clearJob({ taskId, response }: { taskId: string; response: Response }): QueuedJob {
  return { id: `${taskId}-clear`, delayMs: 0, job: endJob('clear', taskId, response) };
}

function endJob(kind: 'undo' | 'clear', taskId: string, { action, verdictId, policy }: Response): Job {
  return { kind, taskId, action, verdictId, policy, sequence: 0, tries: 0, failingSinceMs: 0 };
}
