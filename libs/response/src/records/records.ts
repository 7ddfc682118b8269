/**
 * Records that the operator's commands write to RESPONSES: approval and denial of a pending task,
 * and release of a quarantine. Pure. The caller publishes each once, and the responder reads it
 * from the stream.
 */
import type { Response } from '@bailiff/schemas';
import { responseIdOf } from '../planning/ids.ts';

/** Maximum length of a person's name in a record. */
const MAX_BY = 128;

export interface Operator {
  /** Name of the person who decided. */
  by: string;
  nowMicros: number;
  /** Optional remark. */
  note?: string;
}

/** Approves the task of a `pending` record. The guards run again before the action. */
export function approvalOf(pending: Response, operator: Operator): Response {
  return follow(pending, 'approved', '', sentence('approved', operator), operator.nowMicros);
}

/** Denies the task of a `pending` record, which ends it. */
export function denialOf(pending: Response, operator: Operator): Response {
  return follow(pending, 'refused', 'approval-denied', sentence('denied', operator), operator.nowMicros);
}

/** Reason code of a release by a person: the responder then removes the visible record. */
export const RELEASED = 'released';

/**
 * Ends the quarantine of a `succeeded` or `started` record before its expiry. Remove the pod's
 * entry from the node's list first (`withRelease`): if the removal failed, this record would
 * prevent the responder from ending the quarantine.
 */
export function releaseOf(quarantine: Response, operator: Operator): Response {
  return follow(quarantine, 'undone', RELEASED, sentence('released', operator), operator.nowMicros);
}

function sentence(decision: string, { by, note }: Operator): string {
  const person = by.trim().slice(0, MAX_BY) || 'an operator';
  return note ? `${decision} by ${person}: ${note}` : `${decision} by ${person}`;
}

function follow(
  base: Response,
  phase: Response['phase'],
  reasonCode: string,
  reason: string,
  nowMicros: number,
): Response {
  const group = phase === 'refused' ? 'terminal' : phase === 'approved' ? 'approved' : 'undone';
  return {
    ...base,
    responseId: responseIdOf(base, group),
    phase,
    reasonCode,
    reason,
    recordedAt: nowMicros,
    apiVerb: '',
    apiPath: '',
    apiStatus: 0,
    expiresAt: null,
  };
}
