/**
 * One task from its job to its terminal record. All it knows comes from the streams and the API server, so it can be cut off anywhere and
 * begun again by any replica:
 *
 *   terminal record there → nothing to do
 *   only `started` there  → another may be at it: wait `takeoverMs`; then look whether it took effect; if not, act
 *   neither               → judge, write `started`, act
 *
 * For an action with a budget `started` is the reservation: it is stored only if RESPONSES still ends where the fold that was judged ends.
 * Two replicas before one last place of a budget: the bus takes one, the other folds it and judges again. Nothing is locked, so nothing can
 * be left locked.
 */

import { BusError } from '@bailiff/bus';
import {
  ACTION_MEMORY_MICROS,
  checkGuards,
  type Decision,
  expiryOf,
  isSamePod,
  needsReservation,
  ownerOf,
  recordOf,
  type Task,
  type TaskState,
  tasksOf,
} from '@bailiff/response';
import type { Response } from '@bailiff/schemas';
import { type ActionContext, DONE, type Outcome } from '../actions/action.ts';
import { Api, type ApiTrace } from '../actions/api.ts';
import { REMOVAL_LOOK_MS } from '../actions/delete.ts';
import { ACTION_OF } from '../actions/index.ts';
import type { Job, JobResult, StoredVerdict } from '../ports.ts';
import { ORDER_LOOK_MS } from '../scheduling/order-gate.ts';
import { afterFailure } from './failures.ts';
import { OWNER_PATIENCE_MS } from './read-facts.ts';
import type { TaskDeps } from './task-deps.ts';

/** Reservations that may lose the race before the task is put back in the queue. */
export const MAX_RESERVATIONS = 64;
/** Removals under way of which this process remembers its request. */
const MAX_UNDER_WAY = 10_000;
/** Wait of a task whose turn is another's just now. */
const CROWDED_MS = 200;

const done: JobResult = { kind: 'done' };

export class TaskRunner {
  readonly #deps: TaskDeps;
  #running = new Set<string>();
  /** Removals that this process asked for and that are not over, with the request: tries that only look make none. */
  readonly #underWay = new Map<string, ApiTrace | null>();
  #reservation: Promise<unknown> = Promise.resolve();

  constructor(deps: TaskDeps) {
    this.#deps = deps;
  }

  /** Runs a `do` job. Rejects only for a bug. */
  async run(job: Job): Promise<JobResult> {
    if (this.#deps.ledger.isClosed(job.taskId)) return done;
    // The same job can be in the queue twice after Redis was emptied.
    if (this.#running.has(job.taskId)) return later(job, CROWDED_MS);
    this.#running.add(job.taskId);
    try {
      return await this.#run(job);
    } finally {
      this.#running.delete(job.taskId);
    }
  }

  async #run(job: Job): Promise<JobResult> {
    let run: Run | null = null;
    try {
      run = await this.#prepare(job);
      if (!run) return done;
      const waitMs = this.#waitOf(run);
      return waitMs > 0 ? later(job, waitMs) : await this.#attempt(run);
    } catch (error) {
      return await this.#failed(job, run, error);
    }
  }

  async #prepare(job: Job): Promise<Run | null> {
    const { policies: book, ledger, metrics, kube, limits, step, signal } = this.#deps;
    const placed = await this.#deps.readVerdict(job.sequence);
    if (!placed || placed.verdict.verdictId !== job.verdictId) {
      metrics.orphanJobs.inc();
      return null;
    }
    const tasks = tasksOf(placed, book, ledger);
    const task = tasks.find(({ taskId }) => taskId === job.taskId);
    if (!task) {
      metrics.orphanJobs.inc();
      return null;
    }
    const names = { verdictId: job.verdictId, action: job.action };
    const api = new Api(kube, {
      timeoutMs: limits.apiTimeoutMs,
      ...(signal ? { signal } : {}),
      beforeFirstChange: () => this.#observeLatency(placed, task),
      afterChange: () => step('called', names),
    });
    return { job, task, tasks, placed, api, owner: null };
  }

  /** Milliseconds until it is this task's turn. */
  #waitOf({ job, task, tasks }: Run): number {
    const { ledger, clock, limits, order } = this.#deps;
    const nowMicros = clock.nowMicros();
    const started = ledger.task(task.taskId)?.started;
    // A try of this very job has ended in order, so nobody else is at it.
    if (started && job.tries === 0 && !this.#underWay.has(task.taskId)) {
      const youngMicros = started.atMicros + limits.takeoverMs * 1000 - nowMicros;
      return Math.min(limits.takeoverMs, youngMicros / 1000);
    }
    const untilDueMs = (task.dueAtMicros - nowMicros) / 1000;
    if (untilDueMs > 0) return untilDueMs;
    return !started && order.isHeld(task, tasks, ledger, clock.monotonicMs()) ? ORDER_LOOK_MS : 0;
  }

  async #attempt(run: Run): Promise<JobResult> {
    const { ledger, facts, limits } = this.#deps;
    const { task, placed, api } = run;
    const { failingSinceMs } = run.job;
    const read = await facts.read(api, task.action, placed.verdict, {
      failingForMs: failingSinceMs === 0 ? 0 : this.#deps.clock.nowMs() - failingSinceMs,
      boundMs: Math.min(OWNER_PATIENCE_MS, limits.retry.giveUpAfterMs / 2),
    });
    run.owner = read.pod && isSamePod(read.pod, placed.verdict.pod?.uid ?? '') ? ownerOf(read) : null;
    let state = ledger.task(task.taskId);
    if (state?.started) {
      // Begun before, here or elsewhere: only the whole stream tells whether it was ended as well.
      await this.#deps.log.caughtUp();
      if (ledger.isClosed(task.taskId)) return done;
      state = ledger.task(task.taskId);
    }
    if (state?.started) {
      const context = this.#context(run, state, read);
      const action = ACTION_OF[task.action];
      if (await action.tookEffect(context))
        return this.#end(run, 'succeeded', this.#underWay.has(task.taskId) ? DONE : FOUND_DONE);
      if (action.isUnderWay?.(context)) return await this.#act(run, state, read);
    }
    for (let attempt = 1; attempt <= MAX_RESERVATIONS; attempt++) {
      const beganMs = this.#deps.clock.monotonicMs();
      const judged = await this.#judgeAndStart(run, read, state);
      if (judged.kind !== 'go') {
        if (judged.kind === 'refuse' && (await this.#isElsewhere(task, state))) return later(run.job, CROWDED_MS);
        return this.#settle(run, judged);
      }
      if (judged.outcome === 'stored' || judged.outcome === 'held') {
        // Stored long ago, because the bus was slow to say so: another may take over by now.
        if (this.#deps.clock.monotonicMs() - beganMs > limits.takeoverMs - limits.apiTimeoutMs)
          return later(run.job, 0);
        return await this.#act(run, ledger.task(task.taskId) as TaskState, read);
      }
      await this.#deps.log.caughtUp();
      if (judged.outcome === 'exists') return later(run.job, Math.min(CROWDED_MS, limits.takeoverMs));
      this.#deps.metrics.reservationConflicts.inc();
      state = ledger.task(task.taskId);
      // What came first was this very task's own record, by another replica.
      if (state?.started) return later(run.job, CROWDED_MS);
    }
    return later(run.job, CROWDED_MS);
  }

  /**
   * What speaks against a task (its pod is going, say) may be the work of another replica at this very task, whose `started` has not
   * arrived here yet: a refusal is not written before all that the stream holds is folded.
   */
  async #isElsewhere(task: Task, known: TaskState | undefined): Promise<boolean> {
    if (known?.started) return false;
    await this.#deps.log.caughtUp();
    return this.#deps.ledger.task(task.taskId)?.started != null;
  }

  /** Judges and, when nothing objects, writes `started`: one task of this process at a time where a budget is at stake. */
  async #judgeAndStart(run: Run, read: ActionContext['facts'], state: TaskState | undefined): Promise<Judged> {
    const { ledger, log, clock, limits } = this.#deps;
    const { task, placed } = run;
    const judgeNow = () => this.#judge(run, read, state);
    if (state?.started) {
      const decision = judgeNow();
      return decision.kind === 'go' ? { kind: 'go', outcome: 'held' } : decision;
    }
    const reserving = needsReservation(task.action);
    const attempt = async (): Promise<Judged> => {
      const decision = judgeNow();
      if (decision.kind !== 'go') return decision;
      const recordedAt = clock.nowMicros();
      const started: Response = {
        ...recordOf(task, placed.verdict, 'started', 'started'),
        ...ownerFieldsOf(run),
        recordedAt,
        attempt: run.job.tries + 1,
        expiresAt: expiryOf(task.step, recordedAt, limits.longestExpiryMs),
      };
      const result = reserving ? await log.reserve(started, ledger.position) : await log.publish(started);
      if (result.outcome === 'stored') {
        ledger.applyOwn(started, { sequence: result.sequence, timestampMicros: recordedAt });
        await this.#deps.step('started', { verdictId: task.verdictId, action: task.action });
      }
      return { kind: 'go', outcome: result.outcome };
    };
    return reserving ? this.#oneAtATime(attempt) : attempt();
  }

  #judge(run: Run, facts: ActionContext['facts'], state: TaskState | undefined): Decision {
    const { ledger, policies: book, clock, limits } = this.#deps;
    const { task, placed } = run;
    const { verdict } = placed;
    // The bus's clock and this machine's may differ: the later one never lets a budget look emptier than it is by being behind.
    const nowMicros = Math.max(clock.nowMicros(), ledger.newestMicros);
    return checkGuards({
      task,
      verdict,
      policy: book.latest().byName.get(task.policy) ?? null,
      disarmed: book.disarmedFor(clock.nowMs(), {
        node: verdict.nodeName,
        namespace: verdict.pod?.namespace ?? null,
      }),
      facts,
      actions: ledger.actionsSince(nowMicros - ACTION_MEMORY_MICROS),
      reserved: state?.started != null,
      pendingAtMicros: state?.pendingAtMicros ?? null,
      approvedAtMicros: state?.approvedAtMicros ?? null,
      nowMicros,
      limits,
    });
  }

  /** What a decision other than `go` comes to. */
  async #settle(run: Run, decision: Exclude<Decision, { kind: 'go' }>): Promise<JobResult> {
    const { kind, code, reason } = decision;
    if (kind === 'wait') {
      this.#deps.metrics.waits.inc({ action: run.task.action, reason: code });
      return later(run.job, (decision.untilMicros - this.#deps.clock.nowMicros()) / 1000);
    }
    if (kind !== 'pending')
      return this.#end(run, kind === 'refuse' ? 'refused' : 'dryrun', { reasonCode: code, reason });
    await this.#record({
      ...recordOf(run.task, run.placed.verdict, 'pending', 'pending'),
      ...ownerFieldsOf(run),
      reasonCode: code,
      reason,
    });
    return done;
  }

  async #act(run: Run, state: TaskState, read: ActionContext['facts']): Promise<JobResult> {
    const outcome = await ACTION_OF[run.task.action].carryOut(this.#context(run, state, read));
    if (outcome.underWay) return this.#lookAgain(run);
    return this.#end(run, outcome.failed ? 'failed' : outcome.refused ? 'refused' : 'succeeded', outcome);
  }

  #lookAgain({ job, task, api }: Run): JobResult {
    const [oldest] = this.#underWay.keys();
    if (this.#underWay.size >= MAX_UNDER_WAY && oldest !== undefined) this.#underWay.delete(oldest);
    this.#underWay.set(task.taskId, api.trace ?? this.#underWay.get(task.taskId) ?? null);
    return later(job, REMOVAL_LOOK_MS);
  }

  #context(run: Run, state: TaskState, facts: ActionContext['facts']): ActionContext {
    const started = (state.started as NonNullable<TaskState['started']>).response;
    return {
      task: run.task,
      verdict: run.placed.verdict,
      facts,
      startedAtMicros: started.recordedAt,
      maxGraceSeconds: this.#deps.limits.maxGraceSeconds,
      expiresAtMicros: started.expiresAt,
      nowMs: this.#deps.clock.nowMs(),
      api: run.api,
      quarantine: this.#deps.quarantine,
      requestCapture: this.#deps.requestCapture,
    };
  }

  async #failed(job: Job, run: Run | null, error: unknown): Promise<JobResult> {
    const { clock, limits, metrics, onWait } = this.#deps;
    const failingSinceMs = job.failingSinceMs || clock.nowMs();
    const tries = job.tries + 1;
    const failingForMs = clock.nowMs() - failingSinceMs;
    const next = afterFailure(error, job.action, { tries, failingForMs }, limits.retry);
    if (next.kind === 'retry') {
      if (error instanceof BusError) onWait(error);
      metrics.retries.inc({ action: job.action, reason: next.code });
      const counted = next.countsAsTry ? { tries, failingSinceMs } : job;
      return { kind: 'later', delayMs: next.afterMs, tries: counted.tries, failingSinceMs: counted.failingSinceMs };
    }
    if (!run) throw error;
    try {
      return await this.#end(run, 'failed', { reasonCode: next.code, reason: next.reason });
    } catch (recording) {
      // Nothing is given up that cannot be recorded: the task is tried again. Asked only because it throws what is a bug.
      afterFailure(recording, job.action, { tries: 0, failingForMs: 0 }, limits.retry);
      if (recording instanceof BusError) onWait(recording);
      return { kind: 'later', delayMs: limits.retry.maxMs, tries: job.tries, failingSinceMs };
    }
  }

  /** Writes the terminal record. */
  async #end(run: Run, phase: 'succeeded' | 'dryrun' | 'refused' | 'failed', outcome: Outcome): Promise<JobResult> {
    const { task, placed, api, job } = run;
    const { ledger, step } = this.#deps;
    const trace = api.trace ?? this.#underWay.get(task.taskId) ?? null;
    const started = ledger.task(task.taskId)?.started?.response;
    const undoable = phase === 'succeeded' && !outcome.isForeign && ACTION_OF[task.action].undo !== undefined;
    await step('before-terminal', { verdictId: task.verdictId, action: task.action });
    await this.#record({
      ...recordOf(task, placed.verdict, phase, 'terminal'),
      ...ownerFieldsOf(run),
      reasonCode: outcome.reasonCode,
      reason: outcome.reason,
      attempt: job.tries + 1,
      apiVerb: trace?.verb ?? '',
      apiPath: trace?.path ?? '',
      apiStatus: trace?.status ?? 0,
      expiresAt: undoable ? (started?.expiresAt ?? null) : null,
      capture: outcome.capture ?? null,
    });
    this.#underWay.delete(task.taskId);
    return done;
  }

  async #record(response: Response): Promise<void> {
    const { log, ledger, clock, metrics } = this.#deps;
    const record = { ...response, recordedAt: clock.nowMicros() };
    const result = await log.publish(record);
    if (result.outcome !== 'stored') return;
    ledger.applyOwn(record, { sequence: result.sequence, timestampMicros: record.recordedAt });
    metrics.responses.inc({ action: record.action, phase: record.phase, reason: record.reasonCode });
  }

  #oneAtATime<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#reservation.then(work);
    this.#reservation = result.catch(() => {});
    return result;
  }

  #observeLatency({ verdict, atMicros }: StoredVerdict, task: Task): void {
    const { metrics, clock } = this.#deps;
    const nowMicros = clock.nowMicros();
    const action = task.action;
    metrics.callAfterTrigger.observe({ action }, Math.max(0, nowMicros - verdict.triggeredAt) / 1e6);
    metrics.callAfterVerdict.observe({ action }, Math.max(0, nowMicros - atMicros) / 1e6);
  }
}

interface Run {
  job: Job;
  task: Task;
  /** All of the verdict. */
  tasks: readonly Task[];
  placed: StoredVerdict;
  api: Api;
  owner: { kind: string; name: string; uid: string } | null;
}

type Judged = { kind: 'go'; outcome: 'stored' | 'exists' | 'moved' | 'held' } | Exclude<Decision, { kind: 'go' }>;

const FOUND_DONE: Outcome = { reasonCode: 'found-done', reason: 'begun before, and found done when looked at again' };

function later(job: Job, delayMs: number): JobResult {
  return { kind: 'later', delayMs: Math.max(0, delayMs), tries: job.tries, failingSinceMs: job.failingSinceMs };
}

function ownerFieldsOf({ owner }: Run): Pick<Response, 'ownerKind' | 'ownerName' | 'ownerUid'> {
  return { ownerKind: owner?.kind ?? '', ownerName: owner?.name ?? '', ownerUid: owner?.uid ?? '' };
}
