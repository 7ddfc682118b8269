/** Requests of admitted visitors: their rights, while a response takes time, and their share of what is bounded. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FairCounts } from '@bailiff/service/fair-counts';
import { type Door, type Guest, Refused } from '../access/door.ts';
import { sendJson } from './replies.ts';

/** For metrics and logs. */
export interface ServerReports {
  /** A request that is not answered, although the door admits its visitor, or before it is asked. */
  onRefused(status: 403 | 421 | 503, reason: string): void;
  /** A request that failed for no fault of the visitor. */
  onFailed(error: unknown): void;
  /** A connection was closed, because a new one is beyond MAX_CONNECTIONS. */
  onDisplaced(): void;
}

export const NO_REPORTS: ServerReports = { onRefused: () => {}, onFailed: () => {}, onDisplaced: () => {} };

export interface Visit {
  request: IncomingMessage;
  response: ServerResponse;
  query: URLSearchParams;
  guest: Guest;
}

/** Whether the visitor still has the scope. */
export async function isStill(door: Door, { request, guest }: Pick<Visit, 'request' | 'guest'>): Promise<boolean> {
  try {
    const { name, scope } = await door.admit(request);
    return name === guest.name && scope.key === guest.scope.key;
  } catch (error) {
    if (error instanceof Refused) return false;
    throw error;
  }
}

/** A quarter is for those who may see everything: visitors with other rights may have many names. */
export const hasRoom = (counts: FairCounts, { name, scope }: Guest): boolean =>
  counts.roomFor(name, scope.isAll ? 0 : counts.most / 4) > 0;

export function tooMany({ response }: Pick<Visit, 'response'>, reports: ServerReports, what: string): void {
  const error = `too many ${what} already`;
  reports.onRefused(503, error);
  sendJson(response, 503, { error, remedy: 'close a page, or try again in a moment' });
}

/** Aborted when the page is closed. */
export function goneWith(response: ServerResponse): AbortSignal {
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  return gone.signal;
}
