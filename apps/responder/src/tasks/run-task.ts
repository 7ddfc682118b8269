/**
 * Runs a task from its job to its terminal record. All state comes from the streams and the API
 * server, so any replica can continue after a crash:
 *
 *   terminal record exists → nothing to do
 *   only `started` exists  → wait `takeoverMs` for its process; then check the effect; if absent, act
 *   neither                → guards, `started` record (guarded-start.ts), act
 *
 * Data path: scheduling/queues.ts → here → guarded-start.ts → actions/ → run.ts.
 */
import { BusError } from '@bailiff/bus';
import {
  claimedOwnerUidOf,
  type Decision,
  mayHaveSubstitute,
  ownerOf,
  podOfVerdict,
  type QuarantineInForce,
  type RefusalCode,
  recordOf,
  responseIdOf,
  type Task,
  type TaskState,
} from '@bailiff/response';
import { RecentMap } from '@bailiff/service';
import { type ActionContext, DONE, type Outcome } from '../actions/action.ts';
import { Api, type ApiTrace } from '../actions/api.ts';
import { REMOVAL_POLL_MS } from '../actions/delete.ts';
import { ACTION_OF } from '../actions/index.ts';
import type { Job, JobResult, StoredVerdict } from '../ports.ts';
import { ORDER_POLL_MS } from '../scheduling/order-gate.ts';
import { afterFailure } from './failures.ts';
import { GuardedStart } from './guarded-start.ts';
import { OWNER_PATIENCE_MS } from './read-facts.ts';
import { CONTENDED_MS, done, later, ownerFieldsOf, type Run, writeRecord } from './run.ts';
import type { TaskDeps } from './task-deps.ts';

/** Removals in progress whose request this process keeps, and tasks whose owner it failed to read. */
const MAX_IN_PROGRESS = 10_000;

export class TaskRunner {
  readonly #deps: TaskDeps;
  readonly #guardedStart: GuardedStart;
  #running = new Set<string>();
  /**
   * Removals in progress, with the request for the record, and since when on the monotonic clock: later
   * attempts only poll metadata.
   */
  readonly #inProgress = new RecentMap<string, { trace: ApiTrace | null; hostNetwork: boolean; sinceMs: number }>(
    MAX_IN_PROGRESS,
  );
  /**
   * First failure of each task to read its owner here, on the monotonic clock: after a while, the owner
   * protects its pod no longer. Others can write the time in a job.
   */
  readonly #unreadableSince = new RecentMap<string, number>(MAX_IN_PROGRESS);

  constructor(deps: TaskDeps) {
    this.#deps = deps;
    this.#guardedStart = new GuardedStart(deps);
  }

  /** Runs a `do` job. Rejects only on a bug. */
  async run(job: Job): Promise<JobResult> {
    if (this.#deps.ledger.isClosed(job.taskId)) return done;
    // After Redis was emptied, the same job can be in the queue twice.
    if (this.#running.has(job.taskId)) return later(job, CONTENDED_MS);
    this.#running.add(job.taskId);
    try {
      const result = await this.#run(job);
      // With the turn that it had, it would run before new tasks of others.
      return result.kind === 'later' ? { ...result, turn: this.#deps.waitedTurn(job.verdictId, job.taskId) } : result;
    } finally {
      this.#running.delete(job.taskId);
    }
  }

  async #run(job: Job): Promise<JobResult> {
    let run: Run | null = null;
    const sinceMs = this.#deps.clock.nowMs();
    try {
      run = await this.#prepare(job);
      if (!run) return done;
      const waitMs = this.#waitOf(run);
      if (waitMs <= 0) return await this.#attempt(run);
      const isDelayed = run.task.dueAtMicros > Math.max(this.#deps.clock.nowMicros(), run.stored.atMicros);
      return isDelayed ? await this.#wait(run, waitMs) : later(job, waitMs);
    } catch (error) {
      return await this.#failed(job, run, error, sinceMs);
    }
  }

  async #prepare(job: Job): Promise<Run | null> {
    const { planner, metrics, kube, limits, step, signal } = this.#deps;
    const planned = await planner.find(job);
    if (!planned) {
      metrics.orphanJobs.inc();
      await this.#endOrphan(job);
      return null;
    }
    const { stored, task } = planned;
    const names = { verdictId: job.verdictId, action: job.action };
    const api = new Api(kube, {
      timeoutMs: limits.apiTimeoutMs,
      ...(signal ? { signal } : {}),
      beforeFirstChange: () => this.#observeLatency(stored, task),
      afterChange: () => step('called', names),
    });
    return { ...planned, job, api, owner: null, claimedOwnerUid: '' };
  }

  /** Ends an open task whose verdict VERDICTS no longer holds. */
  async #endOrphan({ taskId, tries }: Job): Promise<void> {
    const { ledger, planner } = this.#deps;
    const state = ledger.task(taskId);
    if (!state || state.terminal || !(await planner.isOrphan(taskId, state.first))) return;
    await writeRecord(this.#deps, {
      ...state.first,
      responseId: responseIdOf(state.first, 'terminal'),
      phase: 'failed',
      reasonCode: 'verdict-gone',
      reason: 'VERDICTS no longer holds the verdict: it was deleted before the task ended',
      attempt: tries + 1,
      expiresAt: null,
    });
  }

  /** Milliseconds until the task may run. */
  #waitOf({ job, stored, task, tasks }: Run): number {
    const { ledger, clock, limits, order } = this.#deps;
    const nowMicros = Math.max(clock.nowMicros(), stored.atMicros);
    const started = ledger.task(task.taskId)?.started;
    // After an attempt of this job, no other process works on the task.
    if (started && job.tries === 0 && !this.#inProgress.has(task.taskId)) {
      const youngMicros = started.atMicros + limits.takeoverMs * 1000 - nowMicros;
      return Math.min(limits.takeoverMs, youngMicros / 1000);
    }
    const untilDueMs = (task.dueAtMicros - nowMicros) / 1000;
    if (untilDueMs > 0) return untilDueMs;
    return !started && order.isHeld(task, tasks, ledger, clock.monotonicMs()) ? ORDER_POLL_MS : 0;
  }

  async #attempt(run: Run): Promise<JobResult> {
    const { ledger, facts, limits } = this.#deps;
    const { task, stored, api } = run;
    const patience = {
      failingForMs: () => this.#ownerUnreadableForMs(task.taskId),
      boundMs: Math.min(OWNER_PATIENCE_MS, limits.retry.giveUpAfterMs / 2),
    };
    const readOf = (of: 'pod' | 'removal') => facts.read(api, task.action, stored.verdict, patience, of);
    const isPolled = this.#inProgress.has(task.taskId);
    let read = await readOf(isPolled ? 'removal' : 'pod');
    if (read.owner) this.#unreadableSince.delete(task.taskId);
    run.owner = ownerOf(read);
    run.claimedOwnerUid = claimedOwnerUidOf(read);
    let state = ledger.task(task.taskId);
    if (state?.started) {
      // Started before, here or by another replica. The stream may contain its terminal record.
      await this.#deps.log.caughtUp();
      if (ledger.isClosed(task.taskId)) return done;
      state = ledger.task(task.taskId);
    }
    if (state?.started) {
      const context = this.#context(run, state, read);
      const action = ACTION_OF[task.action];
      if (await action.tookEffect(context))
        return this.#end(run, 'succeeded', this.#inProgress.has(task.taskId) ? DONE : FOUND_DONE);
      if (action.isInProgress?.(context)) return await this.#act(run, state, read);
    }
    // Guards need the whole pod.
    if (isPolled) read = await readOf('pod');
    const start = await this.#guardedStart.start(run, read, state);
    if (start.kind === 'later') return later(run.job, start.delayMs);
    if (start.kind !== 'started') return this.#settle(run, start);
    return await this.#act(run, ledger.task(task.taskId) as TaskState, read);
  }

  #ownerUnreadableForMs(taskId: string): number {
    const nowMs = this.#deps.clock.monotonicMs();
    const sinceMs = this.#unreadableSince.get(taskId) ?? nowMs;
    this.#unreadableSince.set(taskId, sinceMs);
    return nowMs - sinceMs;
  }

  /** Applies a decision other than `go`. */
  async #settle(run: Run, decision: Exclude<Decision, { kind: 'go' }>): Promise<JobResult> {
    const { kind, code, reason } = decision;
    if (kind === 'wait') {
      this.#deps.metrics.waits.inc({ action: run.task.action, reason: code });
      return this.#wait(run, (decision.untilMicros - this.#deps.clock.nowMicros()) / 1000);
    }
    if (kind !== 'pending')
      return this.#end(run, kind === 'refuse' ? 'refused' : 'dryrun', { reasonCode: code, reason });
    if (!this.#mayWait(run)) return this.#end(run, 'refused', BACKLOG_FULL);
    await writeRecord(this.#deps, {
      ...recordOf(run.task, run.stored.verdict, 'pending', 'pending'),
      ...ownerFieldsOf(run),
      reasonCode: code,
      reason,
    });
    return done;
  }

  /** Waits as long as a policy says: a delay or a cooldown. */
  async #wait(run: Run, waitMs: number): Promise<JobResult> {
    return this.#mayWait(run) ? later(run.job, waitMs) : this.#end(run, 'refused', BACKLOG_FULL);
  }

  /** A task with a record has waited or acted before. */
  #mayWait({ task }: Run): boolean {
    const { ledger, mayWait } = this.#deps;
    return mayWait(task.verdictId) || ledger.task(task.taskId) !== undefined;
  }

  async #act(run: Run, state: TaskState, read: ActionContext['facts']): Promise<JobResult> {
    const outcome = await ACTION_OF[run.task.action].carryOut(this.#context(run, state, read));
    if (outcome.inProgress) return this.#pollLater(run, read);
    return this.#end(run, outcome.failed ? 'failed' : outcome.refused ? 'refused' : 'succeeded', outcome);
  }

  #pollLater(run: Run, facts: ActionContext['facts']): JobResult {
    const { job, task, api } = run;
    const known = this.#inProgress.get(task.taskId);
    const trace = api.trace ?? known?.trace ?? null;
    const sinceMs = known?.sinceMs ?? this.#deps.clock.monotonicMs();
    this.#inProgress.set(task.taskId, { trace, hostNetwork: this.#isOnHostNetwork(run, facts), sinceMs });
    return later(job, REMOVAL_POLL_MS);
  }

  #isOnHostNetwork({ task, stored }: Run, { pod }: ActionContext['facts']): boolean {
    const known = this.#inProgress.get(task.taskId);
    return known?.hostNetwork ?? podOfVerdict(pod, stored.verdict)?.hostNetwork ?? false;
  }

  #context(run: Run, state: TaskState, facts: ActionContext['facts']): ActionContext {
    const started = (state.started as NonNullable<TaskState['started']>).response;
    const nowMs = this.#deps.clock.monotonicMs();
    return {
      task: run.task,
      verdict: run.stored.verdict,
      facts,
      hostNetwork: this.#isOnHostNetwork(run, facts),
      startedAtMicros: started.recordedAt,
      removingForMs: nowMs - (this.#inProgress.get(run.task.taskId)?.sinceMs ?? nowMs),
      maxGraceSeconds: this.#deps.limits.maxGraceSeconds,
      expiresAtMicros: started.expiresAt,
      otherQuarantine: () => this.#otherQuarantine(run),
      nowMs: this.#deps.clock.nowMs(),
      api: run.api,
      quarantine: this.#deps.quarantine,
      requestCapture: this.#deps.requestCapture,
    };
  }

  async #otherQuarantine({ task, stored }: Run): Promise<QuarantineInForce | null> {
    const { ledger, clock, log } = this.#deps;
    await log.caughtUp();
    const podUid = stored.verdict.pod?.uid;
    const others = [...ledger.quarantines()].filter(
      ({ taskId, untilMicros, response }) =>
        response.podUid === podUid && taskId !== task.taskId && untilMicros > clock.nowMicros(),
    );
    return others.sort((a, b) => b.untilMicros - a.untilMicros)[0] ?? null;
  }

  /** Ends a task after its last failure. Attempts may have left something in force. */
  async #giveUp(run: Run, code: string, reason: string): Promise<JobResult> {
    const { task } = run;
    const state = this.#deps.ledger.task(task.taskId);
    const isReplaced = mayHaveSubstitute(task.action, code);
    const left =
      state?.started && !isReplaced
        ? await ACTION_OF[task.action].leftBy?.(this.#context(run, state, NO_FACTS), reason)
        : null;
    if (left && !left.failed) return this.#end(run, 'succeeded', left);
    return this.#end(run, 'failed', { reasonCode: code, reason: left?.reason ?? reason });
  }

  async #failed(job: Job, run: Run | null, error: unknown, sinceMs: number): Promise<JobResult> {
    const { clock, limits, metrics, onWait } = this.#deps;
    const failingSinceMs = job.failingSinceMs || clock.nowMs();
    const tries = job.tries + 1;
    const failingForMs = clock.nowMs() - failingSinceMs;
    const hasAsked = run?.api.trace != null;
    const overdueForMs = run ? this.#overdueForMs(run) : 0;
    const next = afterFailure(error, job.action, { tries, failingForMs, overdueForMs, hasAsked }, limits.retry);
    if (next.kind === 'retry') {
      if (error instanceof BusError) onWait(error);
      metrics.retries.inc({ action: job.action, reason: next.code });
      const awayMs = clock.nowMs() - sinceMs + next.afterMs;
      return {
        kind: 'later',
        delayMs: next.afterMs,
        tries: next.countsAsTry ? tries : job.tries,
        failingSinceMs: next.isAway ? job.failingSinceMs && job.failingSinceMs + awayMs : failingSinceMs,
      };
    }
    if (!run) throw error;
    try {
      return await this.#giveUp(run, next.code, next.reason);
    } catch (recording) {
      // A failure that cannot be recorded is retried. Called for its side effect: it throws on a
      // bug.
      afterFailure(recording, job.action, { tries: 0, failingForMs: 0, overdueForMs: 0, hasAsked }, limits.retry);
      if (recording instanceof BusError) onWait(recording);
      return { kind: 'later', delayMs: limits.retry.maxMs, tries: job.tries, failingSinceMs };
    }
  }

  #overdueForMs({ task }: Run): number {
    const { ledger, clock } = this.#deps;
    const { approvedAtMicros, started } = ledger.task(task.taskId) ?? {};
    const sinceMicros = Math.max(task.dueAtMicros, approvedAtMicros ?? 0, started?.atMicros ?? 0);
    return (clock.nowMicros() - sinceMicros) / 1000;
  }

  /** Writes the terminal record. */
  async #end(run: Run, phase: 'succeeded' | 'dryrun' | 'refused' | 'failed', outcome: Outcome): Promise<JobResult> {
    const { task, stored, api, job } = run;
    const { ledger, step } = this.#deps;
    const trace = api.trace ?? this.#inProgress.get(task.taskId)?.trace ?? null;
    const state = ledger.task(task.taskId);
    const started = state?.started?.response;
    const hasNoEffect = phase === 'refused' || phase === 'dryrun' || mayHaveSubstitute(task.action, outcome.reasonCode);
    if (state?.started && hasNoEffect) await ACTION_OF[task.action].withdraw?.(this.#context(run, state, NO_FACTS));
    const undoable = phase === 'succeeded' && !outcome.isForeign && ACTION_OF[task.action].undo !== undefined;
    await step('before-terminal', { verdictId: task.verdictId, action: task.action });
    await writeRecord(this.#deps, {
      ...recordOf(task, stored.verdict, phase, 'terminal'),
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
    this.#inProgress.delete(task.taskId);
    this.#unreadableSince.delete(task.taskId);
    if (state?.started && undoable) await ACTION_OF[task.action].confirm?.(this.#context(run, state, NO_FACTS));
    return done;
  }

  #observeLatency({ verdict, atMicros }: StoredVerdict, task: Task): void {
    const { metrics, clock } = this.#deps;
    const nowMicros = clock.nowMicros();
    const action = task.action;
    metrics.callAfterTrigger.observe({ action }, Math.max(0, nowMicros - verdict.triggeredAt) / 1e6);
    metrics.callAfterVerdict.observe({ action }, Math.max(0, nowMicros - atMicros) / 1e6);
  }
}

/** Of the end of a task, which reads nothing. */
const NO_FACTS: ActionContext['facts'] = { pod: null, owner: null, node: null };
const BACKLOG_FULL: Outcome & { reasonCode: RefusalCode } = {
  reasonCode: 'backlog-full',
  reason: 'it would wait, but the namespace has used up its share of the verdicts that may wait',
};
const FOUND_DONE: Outcome = { reasonCode: 'found-done', reason: 'started before; the effect exists' };
