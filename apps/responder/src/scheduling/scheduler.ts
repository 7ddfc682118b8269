/**
 * Decides when tasks enter the queues: at their verdict, when the task before them ends, when a
 * person approves, and again at every scan, because Redis may lose jobs.
 *
 * Data path: planning/planner.ts → here → queues.ts → tasks/run-task.ts. The backlog limits the
 * verdicts with open tasks and shares the places; each scan plans deferred verdicts that have one.
 */
import {
  earliestMicros,
  type Ledger,
  mayHaveSubstitute,
  OVERDUE_GRACE_MS,
  phaseGroupOf,
  RELEASED,
} from '@bailiff/response';
import type { Response } from '@bailiff/schemas';
import { type Clock, RateLimitedLog } from '@bailiff/service';
import type { Logger } from 'pino';
import type { Metrics } from '../metrics.ts';
import type { Plan, Planner } from '../planning/planner.ts';
import type { StepHook, StoredVerdict } from '../ports.ts';
import { Backlog, clearJob, type Now, type QueuedJob, undoJobs } from './backlog.ts';
import type { OrderGate } from './order-gate.ts';
import type { Queues } from './queues.ts';

export interface SchedulerOptions {
  planner: Pick<Planner, 'whenReady' | 'plan' | 'planSequence'>;
  order: OrderGate;
  ledger: Ledger;
  /** Whether the visible record of a released quarantine was removed. */
  isCleared(taskId: string): boolean;
  approvalTimeoutMs: number;
  maxGraceSeconds: number;
  scanIntervalMs: number;
  clock: Clock;
  metrics: Metrics;
  log: Logger;
  step: StepHook;
  signal: AbortSignal;
}

/** Between two additions of all due jobs, in times of the last one. */
const ADD_PAUSE = 4;

export class Scheduler {
  readonly #o: SchedulerOptions;
  readonly #backlog: Backlog;
  readonly #quiet: RateLimitedLog;
  #queues: Pick<Queues, 'add'> | null = null;
  /** Sequences of verdicts that could not be read for the substitute of a removal. */
  readonly #unplanned = new Set<number>();
  #planning = false;
  /** All due jobs are being added. */
  #isAdding = false;
  #scanAgain = false;
  #releaseFromMs = 0;

  /** @param most places of the backlog */
  constructor(options: SchedulerOptions, most?: number) {
    this.#o = options;
    this.#backlog = new Backlog(options.order, most);
    this.#quiet = new RateLimitedLog(options.log);
  }

  /** Verdicts with an open task. */
  get outstanding(): number {
    return this.#backlog.size;
  }

  /** Whether the tasks of a verdict may wait for an approval, a delay or a cooldown. */
  mayWait(verdictId: string): boolean {
    return this.#backlog.mayWait(verdictId);
  }

  /** A job of a task has run, and waits again. @returns its turn */
  waitedTurn(verdictId: string, taskId: string): number {
    this.#backlog.ran(verdictId, taskId, this.#o.clock.monotonicMs());
    return this.#backlog.waitedTurn(verdictId);
  }

  /** Verdicts that wait for a place in the backlog. */
  get deferred(): number {
    return this.#backlog.deferred;
  }

  /** Verdicts with an overdue task. */
  get unanswered(): number {
    const { ledger, clock, maxGraceSeconds } = this.#o;
    return this.#backlog.unanswered(ledger, clock.nowMicros(), { graceMs: OVERDUE_GRACE_MS, maxGraceSeconds });
  }

  /** Effects that have expired but are not undone. */
  get undosOverdue(): number {
    return undoJobs(this.#o.ledger, this.#o.clock.nowMicros(), 0, () => true).length;
  }

  /** Until it is called, nothing is added; the first scan then adds every open task. */
  start(queues: Pick<Queues, 'add'>): void {
    this.#queues = queues;
  }

  /** Plans a verdict and adds its jobs. Resolves when the next verdict may be read. */
  async take(stored: StoredVerdict): Promise<void> {
    const { planner, ledger, clock, metrics, step } = this.#o;
    const { verdictId } = stored.verdict;
    await planner.whenReady(stored);
    ledger.limitCompleteSince(clock.nowMicros());
    await step('verdict-read', { verdictId, action: '' });
    const plan = planner.plan(stored);
    metrics.verdicts.inc({ matched: plan.tasks.length > 0 ? 'yes' : this.#isExpired(stored) ? 'expired' : 'no' });
    void this.#put(plan);
  }

  /** RESPONSES has deleted records of the verdict's time, so its tasks without a record do not run. */
  #isExpired(stored: StoredVerdict): boolean {
    return earliestMicros(stored) < this.#o.ledger.completeSinceMicros;
  }

  /** VERDICTS has deleted the verdicts before a sequence. */
  verdictsDeleted(beforeSequence: number): void {
    const { ledger, metrics } = this.#o;
    metrics.tasksExpired.inc(this.#backlog.removeBefore(beforeSequence, ledger));
  }

  /** VERDICTS was recreated and is read from its beginning. */
  clear(): void {
    this.#backlog.clear();
    this.#unplanned.clear();
  }

  /** A record was applied to the ledger: adds the jobs that it makes possible. */
  applied(taskId: string, response: Response): void {
    const { verdictId, phase, action, reasonCode } = response;
    if (phaseGroupOf(phase) === 'started') this.#backlog.started(verdictId, taskId);
    if (phaseGroupOf(phase) === 'terminal') {
      const sequence = this.#backlog.ended(verdictId, taskId);
      // The next step of the policy may start.
      if (sequence !== null) void this.#add(this.#jobsOf(verdictId));
      if (sequence !== null && mayHaveSubstitute(action, reasonCode)) this.#planSubstitute(sequence);
    } else if (phase === 'approved') {
      void this.#add(this.#jobsOf(verdictId).filter(({ job }) => job.taskId === taskId));
    } else if (phase === 'pending') {
      void this.#add(this.#jobsOf(verdictId).filter(({ job }) => job.taskId !== taskId));
    } else if (phase === 'undone' && reasonCode === RELEASED) {
      void this.#add([clearJob({ taskId, response })]);
    }
  }

  /** A removal was refused, or given up: adds the job of its substitute quarantine, if any. */
  #planSubstitute(sequence: number): void {
    const { planner, log } = this.#o;
    planner.planSequence(sequence).then(
      (plan) => plan && this.#put(plan),
      (error: Error) => {
        this.#unplanned.add(sequence);
        log.warn({ err: error }, 'cannot plan the substitute of a refused removal; the next scan plans it');
      },
    );
  }

  /** Adds the jobs of the next two scan intervals; existing jobs do not change. */
  scan(): void {
    const { clock, isCleared, ledger, metrics, scanIntervalMs } = this.#o;
    const nowMicros = clock.nowMicros();
    const aheadMs = 2 * scanIntervalMs;
    metrics.scans.inc();
    ledger.prune(nowMicros);
    void this.#planDeferred();
    const unplanned = [...this.#unplanned];
    this.#unplanned.clear();
    for (const sequence of unplanned) this.#planSubstitute(sequence);
    this.#scanAgain = this.#isAdding;
    if (!this.#isAdding)
      void this.#addAll([...this.#dueJobs(aheadMs), ...undoJobs(ledger, nowMicros, aheadMs, isCleared)]);
  }

  /**
   * Adds all due jobs, of which most exist: with a full backlog that takes seconds, of this process and
   * of Redis. So it is done once at a time, and less often the longer it takes. Never rejects.
   */
  async #addAll(jobs: readonly QueuedJob[]): Promise<void> {
    const { clock } = this.#o;
    const beganMs = clock.monotonicMs();
    this.#isAdding = true;
    await this.#add(jobs);
    this.#isAdding = false;
    const nowMs = clock.monotonicMs();
    this.#releaseFromMs = nowMs + ADD_PAUSE * (nowMs - beganMs);
    // Redis may have lost jobs meanwhile.
    if (this.#scanAgain) this.scan();
  }

  /** Plans deferred verdicts that have a place. Never rejects. */
  async #planDeferred(): Promise<void> {
    if (this.#planning) return;
    this.#planning = true;
    const { planner, metrics, log } = this.#o;
    for (const deferred of this.#backlog.takeDeferred()) {
      try {
        const plan = await planner.planSequence(deferred.sequence);
        if (plan) void this.#put(plan);
        else metrics.tasksExpired.inc();
      } catch (error) {
        this.#backlog.defer(deferred);
        log.warn({ err: error }, 'cannot read a deferred verdict; the next scan plans it');
      }
    }
    this.#planning = false;
  }

  /** Adds the jobs of steps whose wait is over. */
  release(): void {
    if (this.#o.order.size === 0 || this.#isAdding || this.#o.clock.monotonicMs() < this.#releaseFromMs) return;
    void this.#addAll(this.#dueJobs(0));
  }

  #put({ stored, tasks }: Plan): Promise<void> {
    this.#backlog.put(stored, tasks, this.#o.ledger);
    return this.#add(this.#jobsOf(stored.verdict.verdictId));
  }

  #dueJobs(aheadMs: number): QueuedJob[] {
    return this.#backlog.jobs(this.#o.ledger, this.#now(), aheadMs, this.#o.approvalTimeoutMs);
  }

  #jobsOf(verdictId: string): QueuedJob[] {
    return this.#backlog.jobsOf(verdictId, this.#o.ledger, this.#now());
  }

  #now(): Now {
    const { clock } = this.#o;
    return { micros: clock.nowMicros(), monotonicMs: clock.monotonicMs() };
  }

  /** Never rejects: a later scan adds jobs that Redis does not accept now. */
  async #add(jobs: readonly QueuedJob[]): Promise<void> {
    if (jobs.length === 0 || !this.#queues) return;
    const { metrics, step } = this.#o;
    try {
      await this.#queues.add(jobs);
    } catch (error) {
      metrics.scheduleFailures.inc(jobs.length);
      this.#quiet.warn(
        'redis',
        { err: error, jobs: jobs.length },
        'Redis did not accept jobs: the next scan repeats them',
      );
      return;
    }
    for (const { job } of jobs) await step('job-added', { verdictId: job.verdictId, action: job.action });
  }
}
