/**
 * Records that an operator's command writes into RESPONSES: an approval or denial of a task that waits for one, and the release of a
 * quarantine before its time. Pure: the caller publishes them once, under the subject of the response, and the responder's fold
 * of the stream does the rest.
 */
import type { Response } from '@bailiff/schemas';
import { responseIdOf } from '../planning/ids.ts';

/** Longest name of a person that is kept in a record. */
const MAX_BY = 128;

export interface Operator {
  /** Who decided, as they call themselves. */
  by: string;
  nowMicros: number;
  /** Their words; may be empty. */
  note?: string;
}

/** Lets the task of a `pending` record go on. The guards are judged again before anything is done. */
export function approvalOf(pending: Response, operator: Operator): Response {
  return follow(pending, 'approved', '', sentence('approved', operator), operator.nowMicros);
}

/** Ends the task of a `pending` record: nothing will be done. */
export function denialOf(pending: Response, operator: Operator): Response {
  return follow(pending, 'refused', 'approval-denied', sentence('denied', operator), operator.nowMicros);
}

/** Reason code by which the responder knows that a person ended a quarantine, and that its visible record is still to be removed. */
export const RELEASED = 'released';

/**
 * Ends the quarantine of a `succeeded` record, or of a `started` one whose end is still to come, before its time. Take the pod's entry out
 * of the node's list first (`withRelease`): a record of a release that did not happen would keep the responder from ending it.
 */
export function releaseOf(begun: Response, operator: Operator): Response {
  return follow(begun, 'undone', RELEASED, sentence('released', operator), operator.nowMicros);
}

function sentence(what: string, { by, note }: Operator): string {
  const who = by.trim().slice(0, MAX_BY) || 'an operator';
  return note ? `${what} by ${who}: ${note}` : `${what} by ${who}`;
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
