/**
 * What an action is. Each stands in a file of its own beside this one. All are safe to carry out again: names of what they create are a
 * function of the task, changes carry the pod's UID as a precondition, and a second call finds what the first has made.
 */
import type { Facts, QuarantineBucket, Task } from '@bailiff/response';
import type { CaptureAnswer, CaptureRequest, PodCapture, Response, Verdict } from '@bailiff/schemas';
import type { Api } from './api.ts';

export interface ActionContext {
  task: Task;
  verdict: Verdict;
  facts: Facts;
  /** When the `started` record was written (microseconds): the same at every try. */
  startedAtMicros: number;
  /** Longest grace period of a removal whose step names none. */
  maxGraceSeconds: number;
  /** When the effect ends; null when it does not. */
  expiresAtMicros: number | null;
  nowMs: number;
  api: Api;
  quarantine: QuarantineBucket;
  /** Asks a node's collector. @throws BusError, Error for an answer that is none */
  requestCapture(node: string, request: CaptureRequest): Promise<CaptureAnswer>;
}

/** What came of it; a failure is thrown, unless no further try could mend it. */
export interface Outcome {
  /** Empty for plain success. */
  reasonCode: string;
  reason: string;
  /** True when the effect is another's and so not to be undone at this task's time. */
  isForeign?: boolean;
  /** A person decided meanwhile that it is not to be. */
  refused?: boolean;
  /** Nothing came of it, and trying again would not help. */
  failed?: boolean;
  capture?: PodCapture;
  /** Asked for and under way: the task is looked at again, and has not ended. */
  underWay?: boolean;
}

export interface UndoContext {
  /** The `succeeded` record that is to be undone. */
  done: Response;
  nowMs: number;
  api: Api;
  quarantine: QuarantineBucket;
}

export interface Action {
  /** Of a task that was started by a process that may have died: has it had its effect? */
  tookEffect(context: ActionContext): Promise<boolean> | boolean;
  /** Accepted by the API server and not over yet: only `carryOut` says what comes of it, and no guard can take it back. */
  isUnderWay?(context: ActionContext): boolean;
  carryOut(context: ActionContext): Promise<Outcome>;
  /** Ends the effect, unless a later verdict has taken it over. */
  undo?(context: UndoContext): Promise<Outcome>;
}

/** How a task signs what it has changed. */
export function markOf({ verdictId, policy }: { verdictId: string; policy: string }): string {
  return `${verdictId}/${policy}`;
}

export const DONE: Outcome = { reasonCode: '', reason: '' };
export const POD_GONE: Outcome = { reasonCode: 'pod-gone', reason: 'the pod is gone and its marks with it' };
export const SUPERSEDED: Outcome = { reasonCode: 'superseded', reason: 'a later verdict has taken it over' };
