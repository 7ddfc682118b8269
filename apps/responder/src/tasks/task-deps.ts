/** Dependencies and limits of tasks and undos. */

import type { BusError } from '@bailiff/bus';
import type { KubeApi } from '@bailiff/kube';
import type { GuardLimits, Ledger, PolicyHistory } from '@bailiff/response';
import type { Clock } from '@bailiff/service';
import type { ActionContext } from '../actions/action.ts';
import type { Metrics } from '../metrics.ts';
import type { Planner } from '../planning/planner.ts';
import type { ResponseLog, StepHook } from '../ports.ts';
import type { OrderGate } from '../scheduling/order-gate.ts';
import type { RetryLimits } from './failures.ts';
import type { FactReader } from './read-facts.ts';

export interface TaskDeps {
  ledger: Ledger;
  policies: PolicyHistory;
  log: ResponseLog;
  kube: KubeApi;
  quarantine: ActionContext['quarantine'];
  requestCapture: ActionContext['requestCapture'];
  facts: FactReader;
  order: OrderGate;
  /** Whether a verdict has a place in the backlog where its tasks may wait. */
  mayWait(verdictId: string): boolean;
  /** A job of a task has run, and waits again. @returns its turn */
  waitedTurn(verdictId: string, taskId: string): number;
  planner: Pick<Planner, 'find' | 'isOrphan'>;
  clock: Clock;
  metrics: Metrics;
  limits: RunLimits;
  step: StepHook;
  /** Called when a job waits for the bus; the job is retried. */
  onWait(error: BusError): void;
  signal?: AbortSignal;
}

export interface RunLimits extends GuardLimits {
  apiTimeoutMs: number;
  /**
   * Age of a `started` record from which another replica takes over. Until then the replica that
   * wrote it may still act. At least twice `apiTimeoutMs`.
   */
  takeoverMs: number;
  /** Longest expiry: the retention of RESPONSES less a margin. */
  longestExpiryMs: number;
  retry: RetryLimits;
}
