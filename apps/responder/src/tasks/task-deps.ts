/** What tasks and their undoing work with, and their limits. */

import type { BusError } from '@bailiff/bus';
import type { KubeApi } from '@bailiff/kube';
import type { GuardLimits, Ledger, PolicyHistory } from '@bailiff/response';
import type { Clock } from '@bailiff/service';
import type { ActionContext } from '../actions/action.ts';
import type { Metrics } from '../metrics.ts';
import type { ResponseLog, StepHook, StoredVerdict } from '../ports.ts';
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
  /** By its sequence; null when the stream no longer has it. */
  readVerdict(sequence: number): Promise<StoredVerdict | null>;
  clock: Clock;
  metrics: Metrics;
  limits: RunLimits;
  step: StepHook;
  /** A record, or what it is made of, waits for the bus: the job is tried again. */
  onWait(error: BusError): void;
  signal?: AbortSignal;
}

export interface RunLimits extends GuardLimits {
  apiTimeoutMs: number;
  /** A `started` record younger than this may belong to a process that is still at it. Above `apiTimeoutMs`. */
  takeoverMs: number;
  /** Longest expiry: what RESPONSES keeps, less a margin. */
  longestExpiryMs: number;
  retry: RetryLimits;
}
