/**
 * Ends the effect of a task when it expires (`undo`), or removes the visible record after a release
 * (`clear`). Both are idempotent. An undo is never given up; after its bound the next scan adds it
 * again. A node left cordoned or a pod left in quarantine is an outage caused by Bailiff.
 */

import { BusError } from '@bailiff/bus';
import { responseIdOf, taskIdOf } from '@bailiff/response';
import type { Response } from '@bailiff/schemas';
import type { Outcome, UndoContext } from '../actions/action.ts';
import { Api } from '../actions/api.ts';
import { ACTION_OF } from '../actions/index.ts';
import { clearReleased } from '../actions/quarantine.ts';
import type { Job, JobResult } from '../ports.ts';
import { afterFailure } from './failures.ts';
import { writeRecord } from './run.ts';
import type { TaskDeps } from './task-deps.ts';

export class UndoRunner {
  readonly #deps: TaskDeps;
  readonly #cleared = new Set<string>();

  constructor(deps: TaskDeps) {
    this.#deps = deps;
  }

  /** Whether this process has removed the visible record of a released quarantine. */
  isCleared(taskId: string): boolean {
    return this.#cleared.has(taskId);
  }

  /** Runs an `undo` or `clear` job. Rejects only on a bug. */
  async run(job: Job): Promise<JobResult> {
    const { ledger, clock, limits, metrics, onWait } = this.#deps;
    const state = ledger.task(job.taskId);
    const expiresAt = state?.terminal?.response.expiresAt ?? null;
    try {
      if (job.kind === 'clear') {
        await this.#clear(job.taskId);
        return { kind: 'done' };
      }
      if (!state?.terminal || state.undone || expiresAt === null) return { kind: 'done' };
      const delayMs = (expiresAt - clock.nowMicros()) / 1000;
      if (delayMs > 0) return { ...job, kind: 'later', delayMs };
      await this.#undo(state.terminal.response);
      return { kind: 'done' };
    } catch (error) {
      const failingSinceMs = job.failingSinceMs || clock.nowMs();
      const tries = job.tries + 1;
      const failingForMs = clock.nowMs() - failingSinceMs;
      const next = afterFailure(
        error,
        job.action,
        { tries, failingForMs, overdueForMs: failingForMs, hasAsked: true },
        limits.retry,
      );
      if (error instanceof BusError) onWait(error);
      metrics.undoFailures.inc({ action: job.action, reason: next.code });
      if (next.kind === 'give-up') return { kind: 'done' };
      return { kind: 'later', delayMs: next.afterMs, tries, failingSinceMs };
    }
  }

  async #undo(succeeded: Response): Promise<void> {
    const context = this.#context(succeeded);
    const undo = ACTION_OF[succeeded.action].undo;
    const outcome: Outcome = undo
      ? await undo(context)
      : { reasonCode: 'not-undoable', reason: `${succeeded.action} cannot be undone` };
    const record: Response = {
      ...succeeded,
      responseId: responseIdOf(succeeded, 'undone'),
      phase: 'undone',
      reasonCode: outcome.reasonCode,
      reason: outcome.reason,
      apiVerb: context.api.trace?.verb ?? '',
      apiPath: context.api.trace?.path ?? '',
      apiStatus: context.api.trace?.status ?? 0,
      expiresAt: null,
    };
    await writeRecord(this.#deps, record);
  }

  async #clear(taskId: string): Promise<void> {
    const released = [...this.#deps.ledger.released()].find((one) => one.taskId === taskId);
    if (!released) return;
    await clearReleased(this.#context(released.response));
    this.#cleared.add(taskId);
  }

  #context(done: Response): UndoContext & { api: Api } {
    const { kube, ledger, limits, quarantine, clock, signal } = this.#deps;
    const api = new Api(kube, { timeoutMs: limits.apiTimeoutMs, ...(signal ? { signal } : {}) });
    const nowMicros = clock.nowMicros();
    const isQuarantinedToo = () =>
      [...ledger.quarantines()].some(
        ({ taskId, untilMicros, response }) =>
          response.podUid === done.podUid && taskId !== taskIdOf(done) && untilMicros > nowMicros,
      );
    return { done, nowMs: clock.nowMs(), isQuarantinedToo, api, quarantine };
  }
}
