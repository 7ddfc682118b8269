/**
 * The interface of actions; each has a file in this folder. All actions are idempotent. The names
 * of created objects are derived from the task, and changes have the pod's UID as precondition. A
 * second call finds the result of the first.
 */
import type { Facts, QuarantineBucket, QuarantineInForce, Task } from '@bailiff/response';
import type { CaptureAnswer, CaptureRequest, PodCapture, Response, Verdict } from '@bailiff/schemas';
import type { Api } from './api.ts';

export interface ActionContext {
  task: Task;
  verdict: Verdict;
  facts: Facts;
  /** The pod was seen to use the network of its node, so an entry of the quarantine list blocks nothing. */
  hostNetwork: boolean;
  /** Time of the `started` record in microseconds: equal at every attempt. */
  startedAtMicros: number;
  /** Time since this process first saw a removal in progress, in milliseconds; 0 before. */
  removingForMs: number;
  /** Upper bound of the grace period if the step has none. */
  maxGraceSeconds: number;
  /** When the effect expires; null = never. */
  expiresAtMicros: number | null;
  nowMs: number;
  api: Api;
  quarantine: QuarantineBucket;
  /** The quarantine of the pod by another task that ends last, of those recorded by now. @throws BusError */
  otherQuarantine(): Promise<QuarantineInForce | null>;
  /** Requests a capture from a node's collector. @throws BusError; Error for an invalid reply */
  requestCapture(node: string, request: CaptureRequest): Promise<CaptureAnswer>;
}

/** Outcome of an action. A failure that a retry may fix is thrown instead. */
export interface Outcome {
  /** Empty for plain success. */
  reasonCode: string;
  reason: string;
  /** The effect belongs to another task, so this task does not undo it. */
  isForeign?: boolean;
  /** A person has refused it meanwhile, or the API server does for good, which is no failure. */
  refused?: boolean;
  /** Failed for good: a retry would not help. */
  failed?: boolean;
  capture?: PodCapture;
  /** Requested and in progress: the task is checked again later. */
  inProgress?: boolean;
}

export interface UndoContext {
  /** The `succeeded` record to undo. */
  done: Response;
  nowMs: number;
  /** Whether another task's quarantine of the pod is in force: looks at all of them. */
  isQuarantinedToo(): boolean;
  api: Api;
  quarantine: QuarantineBucket;
}

export interface Action {
  /** Whether the effect exists. For a started task whose process may have died. */
  tookEffect(context: ActionContext): Promise<boolean> | boolean;
  /**
   * Whether the API server has accepted the change but not completed it. Guards cannot stop it any
   * more.
   */
  isInProgress?(context: ActionContext): boolean;
  carryOut(context: ActionContext): Promise<Outcome>;
  /** After the record of a success: repairs what another task has taken back before it knew the record. */
  confirm?(context: ActionContext): Promise<void>;
  /** Takes back what failed attempts have left: the task has no effect, or another one replaces it. */
  withdraw?(context: ActionContext): Promise<void>;
  /** What failed attempts have left in force, of a task that is given up; null: nothing. */
  leftBy?(context: ActionContext, reason: string): Promise<Outcome | null>;
  /** Ends the effect unless a later verdict owns it. */
  undo?(context: UndoContext): Promise<Outcome>;
}

/** The mark by which a task recognizes its own changes. */
export function markOf({ verdictId, policy }: { verdictId: string; policy: string }): string {
  return `${verdictId}/${policy}`;
}

export const DONE: Outcome = { reasonCode: '', reason: '' };
export const POD_GONE: Outcome = { reasonCode: 'pod-gone', reason: 'the pod and its marks are gone' };
export const SUPERSEDED: Outcome = { reasonCode: 'superseded', reason: 'a later verdict owns the effect now' };
