/** Requests of admitted visitors: their rights, while a response takes time, and their share of what is bounded. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FairCounts } from '@bailiff/service/fair-counts';
import { type Door, type Guest, Refused } from '../access/door.ts';
import type { ConfirmedChange, ConsoleData } from '../data.ts';
import type { ErrorView } from '../wire.ts';
import { sendJson } from './replies.ts';

/** For metrics and logs. */
export interface ServerReports {
  /** A request that is not answered, although the door admits its visitor, or before it is asked. */
  onRefused(status: 403 | 421 | 503, reason: string): void;
  /** A request that failed for no fault of the visitor. */
  onFailed(error: unknown): void;
  /** A connection was closed, because a new one is beyond MAX_CONNECTIONS. */
  onDisplaced(): void;
  /** A visitor changed the configuration. */
  onChanged(name: string, change: ConfirmedChange): void;
}

export const NO_REPORTS: ServerReports = {
  onRefused: () => {},
  onFailed: () => {},
  onDisplaced: () => {},
  onChanged: () => {},
};

export interface Visit {
  request: IncomingMessage;
  response: ServerResponse;
  query: URLSearchParams;
  guest: Guest;
  /** The request has a place: a new connection does not displace its own. */
  keep(): void;
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

/** Why a reading or a change failed, for its visitor; for the log, if that is no fault of the visitor. */
export function sendFailure({ response }: Visit, error: unknown, data: ConsoleData, reports: ServerReports): void {
  if (error instanceof Refused) {
    if (error.status !== 401) reports.onRefused(error.status, error.message);
    sendJson(response, error.status, { error: error.message, remedy: error.remedy });
    return;
  }
  const { status, ...described } = data.describe(error);
  if (status >= 500) reports.onFailed(error);
  sendJson(response, status, described satisfies ErrorView);
}

/** Aborted when the page is closed. */
export function goneWith(response: ServerResponse): AbortSignal {
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  return gone.signal;
}
