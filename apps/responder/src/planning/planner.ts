/**
 * Plans verdicts: which tasks a verdict has under the policies in force at its bus time. The plan
 * is a pure function (planning/plan.ts of @bailiff/response), so a job carries only names, and its
 * task is planned again when it runs.
 *
 * Data path: streams/verdicts.ts → here → scheduling/scheduler.ts; later tasks/run-task.ts → here.
 */
import { type Ledger, POLICY_SETTLE_MICROS, type PolicyHistory, type Task, tasksOf } from '@bailiff/response';
import type { Response } from '@bailiff/schemas';
import type { Job, StoredVerdict } from '../ports.ts';

export interface PlannerOptions {
  policies: PolicyHistory;
  ledger: Ledger;
  /** Resolves when every policy that was stored up to a time is known. */
  whenPoliciesRead(timeMicros: number): Promise<void>;
  /** The verdict of a sequence; null if the stream no longer has it. @throws BusError */
  readVerdict(sequence: number): Promise<StoredVerdict | null>;
  /** The verdict of a record; null if the stream no longer has it. @throws BusError */
  findVerdict(response: Response): Promise<StoredVerdict | null>;
}

/** A verdict with its tasks in plan order, those with a terminal record included. */
export interface Plan {
  stored: StoredVerdict;
  tasks: readonly Task[];
}

export interface PlannedTask extends Plan {
  task: Task;
}

export class Planner {
  readonly #o: PlannerOptions;

  constructor(options: PlannerOptions) {
    this.#o = options;
  }

  /** Resolves when the policies that decide about the verdict are known. */
  async whenReady(stored: StoredVerdict): Promise<void> {
    await this.#o.whenPoliciesRead(stored.atMicros - POLICY_SETTLE_MICROS);
  }

  /** Plans a verdict. A refused removal in the ledger may have added its substitute. */
  plan(stored: StoredVerdict): Plan {
    return { stored, tasks: tasksOf(stored, this.#o.policies, this.#o.ledger) };
  }

  /** Reads a verdict and plans it; null if the stream no longer has it. @throws BusError */
  async planSequence(sequence: number): Promise<Plan | null> {
    const stored = await this.#o.readVerdict(sequence);
    return stored && this.plan(stored);
  }

  /** The task of a job; null if its verdict or its policy no longer exists. @throws BusError */
  async find(job: Pick<Job, 'sequence' | 'verdictId' | 'taskId'>): Promise<PlannedTask | null> {
    const stored = await this.#o.readVerdict(job.sequence);
    if (stored?.verdict.verdictId !== job.verdictId) return null;
    const plan = this.plan(stored);
    const task = plan.tasks.find(({ taskId }) => taskId === job.taskId);
    return task ? { ...plan, task } : null;
  }

  /**
   * Whether a task with a record has lost its verdict or its policy. A job cannot prove that: its
   * names are from Redis. @throws BusError
   */
  async isOrphan(taskId: string, first: Response): Promise<boolean> {
    const stored = await this.#o.findVerdict(first);
    return !stored || !this.plan(stored).tasks.some((task) => task.taskId === taskId);
  }
}
