/**
 * Runs the guards of a task and, if they pass, writes its `started` record.
 *
 * For an action with a budget, `started` is the reservation. It is stored only if RESPONSES still
 * ends where the ledger of the guards ended. If two replicas compete for the rest of a budget, the
 * bus stores one record, and the other replica runs its guards again. There are no locks.
 */
import { isSetBack } from '@bailiff/policy';
import {
  ACTION_MEMORY_MICROS,
  checkGuards,
  type Decision,
  earliestMicros,
  expiryOf,
  type Facts,
  needsReservation,
  recordOf,
  type Task,
  type TaskState,
} from '@bailiff/response';
import type { Response } from '@bailiff/schemas';
import { CONTENDED_MS, ownerFieldsOf, type Run } from './run.ts';
import type { TaskDeps } from './task-deps.ts';

/** Lost races for a reservation before the task returns to the queue. */
const MAX_RESERVATIONS = 64;

type Objection = Exclude<Decision, { kind: 'go' }>;
type GuardResult = { kind: 'go'; outcome: 'stored' | 'exists' | 'moved' | 'held' } | Objection;

/**
 * - started: this process may act now.
 * - later: another process works on the task, or may take it over.
 * - otherwise: the guard that objects.
 */
export type StartResult = { kind: 'started' } | { kind: 'later'; delayMs: number } | Objection;

export class GuardedStart {
  readonly #deps: TaskDeps;
  #reservation: Promise<unknown> = Promise.resolve();

  constructor(deps: TaskDeps) {
    this.#deps = deps;
  }

  /** @param known state of the task in the ledger when its facts were read */
  async start(run: Run, facts: Facts, known: TaskState | undefined): Promise<StartResult> {
    const { ledger, limits, log, clock, metrics } = this.#deps;
    const { task } = run;
    let state = known;
    for (let attempt = 1; attempt <= MAX_RESERVATIONS; attempt++) {
      const startMs = clock.monotonicMs();
      const result = await this.#checkAndStart(run, facts, state);
      if (result.kind !== 'go') {
        const isContended = result.kind === 'refuse' && (await this.#isStartedElsewhere(task, state));
        return isContended ? { kind: 'later', delayMs: CONTENDED_MS } : result;
      }
      if (result.outcome === 'stored' || result.outcome === 'held') {
        // The acknowledgement was so late that another replica may take over by now.
        const isLate = clock.monotonicMs() - startMs > limits.takeoverMs - limits.apiTimeoutMs;
        return isLate ? { kind: 'later', delayMs: 0 } : { kind: 'started' };
      }
      await log.caughtUp();
      if (result.outcome === 'exists') return { kind: 'later', delayMs: Math.min(CONTENDED_MS, limits.takeoverMs) };
      metrics.reservationConflicts.inc();
      state = ledger.task(task.taskId);
      // Another replica stored the `started` record of this task.
      if (state?.started) break;
    }
    return { kind: 'later', delayMs: CONTENDED_MS };
  }

  /**
   * Whether another replica started this task. Its work may be the cause of a refusal (the pod is
   * terminating), so a refusal is written only after the ledger has caught up.
   */
  async #isStartedElsewhere(task: Task, known: TaskState | undefined): Promise<boolean> {
    if (known?.started) return false;
    await this.#deps.log.caughtUp();
    return this.#deps.ledger.task(task.taskId)?.started != null;
  }

  /**
   * Runs the guards and, if they pass, writes `started`. With a budget, one task of this process at
   * a time.
   */
  async #checkAndStart(run: Run, facts: Facts, state: TaskState | undefined): Promise<GuardResult> {
    const { ledger, log, clock, limits } = this.#deps;
    const { task, stored } = run;
    const checkNow = () => this.#check(run, facts, state);
    if (state?.started) {
      const decision = checkNow();
      return decision.kind === 'go' ? { kind: 'go', outcome: 'held' } : decision;
    }
    const reserving = needsReservation(task.action);
    const attempt = async (): Promise<GuardResult> => {
      const decision = checkNow();
      if (decision.kind !== 'go') return decision;
      const recordedAt = clock.nowMicros();
      const started: Response = {
        ...recordOf(task, stored.verdict, 'started', 'started'),
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

  #check(run: Run, facts: Facts, state: TaskState | undefined): Decision {
    const { ledger, policies, clock, limits } = this.#deps;
    const { task, stored } = run;
    const { verdict } = stored;
    const clockMicros = clock.nowMicros();
    const { newestMicros } = ledger;
    // Our bound of the bus's time may be behind that of the newest record, if that is not of the future.
    const nowMicros = isSetBack(clockMicros, newestMicros) ? clockMicros : Math.max(clockMicros, newestMicros);
    return checkGuards({
      task,
      verdict,
      policy: policies.latest(nowMicros).byName.get(task.policy) ?? null,
      disarmed: policies.disarmedFor(clock.nowMs(), {
        node: verdict.nodeName,
        namespace: verdict.pod?.namespace ?? null,
      }),
      facts,
      actions: ledger.actionsFor(task.action, nowMicros - ACTION_MEMORY_MICROS),
      mayHaveRun: ledger.mayHaveRun(task.taskId, earliestMicros(stored)),
      reserved: state?.started != null,
      pendingAtMicros: state?.pendingAtMicros ?? null,
      approvedAtMicros: state?.approvedAtMicros ?? null,
      nowMicros,
      limits,
    });
  }

  #oneAtATime<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#reservation.then(work);
    this.#reservation = result.catch(() => {});
    return result;
  }
}
