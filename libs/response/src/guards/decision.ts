/**
 * Types of the guards: their input, their decision and the refusal codes. Also which actions need a
 * reservation.
 */
import { DISRUPTIVE_ACTIONS, type ResponsePolicy } from '@bailiff/policy';
import type { Response } from '@bailiff/schemas';
import type { Task, VerdictSummary } from '../planning/plan.ts';
import type { Facts } from './facts.ts';

export type RefusalCode =
  /** The action needs a pod, and the verdict names only a node. */
  | 'no-pod'
  /** The pod does not exist any more. */
  | 'pod-gone'
  /** The node does not exist any more. */
  | 'node-gone'
  /** Another pod has this name now. */
  | 'uid-changed'
  /** The pod is not on the node that reported it. */
  | 'node-mismatch'
  /** Another user or program cordoned the node. */
  | 'already-cordoned'
  /** The verdict is too old for a response. */
  | 'stale-verdict'
  /** The response policy was deleted or disabled, or no longer has the action. */
  | 'policy-withdrawn'
  /** The policy protects the namespace, or it is that of Bailiff. */
  | 'protected-namespace'
  /** The policy protects pods of this kind of owner from removal; they are quarantined instead. */
  | 'protected-owner-kind'
  /** The kubelet restarts a static pod, so it can only be quarantined. */
  | 'static-pod'
  /**
   * The pod uses the network of its node: a quarantine would block nothing. A removal step of the
   * policy follows at once.
   */
  | 'host-network'
  /** The step would wait, but its namespace has used up its share of the verdicts that may wait. */
  | 'backlog-full'
  /** No approval within the time limit. */
  | 'approval-expired'
  /** The policy's budget of the window is used up. By default a removal becomes a quarantine. */
  | 'budget-exhausted'
  /** Too few healthy replicas would be left: the pod is quarantined instead. */
  | 'below-min-healthy'
  /**
   * Too many pods of one owner were removed in the window; further ones are quarantined instead.
   */
  | 'delete-storm';

export type Decision =
  | { kind: 'go' }
  | { kind: 'refuse'; code: RefusalCode; reason: string }
  | { kind: 'dryrun'; code: 'dry-run' | 'disarmed'; reason: string }
  | { kind: 'pending'; code: 'approval-required'; reason: string }
  | { kind: 'wait'; code: 'cooldown'; untilMicros: number; reason: string };

/** A started action. It uses budget, whatever its outcome. */
export interface ActionEntry {
  taskId: string;
  atMicros: number;
  action: Response['action'];
  policy: string;
  podUid: string;
  /** Empty without a confirmed owner. */
  ownerUid: string;
  /** Owner of a claimed member; empty for others. */
  claimedOwnerUid: string;
  namespace: string;
  nodeName: string;
}

export interface GuardInput {
  task: Task;
  verdict: VerdictSummary;
  /** Newest version of the task's policy. Null: deleted or disabled. */
  policy: ResponsePolicy | null;
  /** Text of the disarming that covers the verdict. Null: there is none. */
  disarmed: string | null;
  facts: Facts;
  /** Actions started within the last 24 h that a guard of this action may count, oldest first. */
  actions: readonly ActionEntry[];
  /** The task may have run before: RESPONSES has deleted the records of its verdict's time. */
  mayHaveRun?: boolean;
  /** The task has a `started` record, so limits do not apply to it again. */
  reserved: boolean;
  /** Time of the record that requests an approval. */
  pendingAtMicros: number | null;
  approvedAtMicros: number | null;
  nowMicros: number;
  limits: GuardLimits;
}

export interface GuardLimits {
  /** Longest time from a task's due time to its start. */
  maxOverdueMs: number;
  /** Time limit of an approval. */
  approvalTimeoutMs: number;
  /** Upper bound of the grace period if the step has none. */
  maxGraceSeconds: number;
  /** Every action is a dry run. */
  dryRun?: boolean;
  /** Namespace of Bailiff itself, protected from every policy; empty: none. */
  ownNamespace?: string;
}

/** One guard. Null: the next guard decides. */
export type Guard = (input: GuardInput) => Decision | null;

export const refuse = (code: RefusalCode, reason: string): Decision => ({ kind: 'refuse', code, reason });

/** True for actions whose `started` record reserves budget. */
export function needsReservation(action: string): boolean {
  return DISRUPTIVE_ACTIONS.has(action) || action === 'cordon';
}
