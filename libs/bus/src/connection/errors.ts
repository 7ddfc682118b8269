/**
 * The one error of the bus, and how the client's and the server's errors become it. Callers branch on `code`; `apiCode` is
 * JetStream's own number when the server gave one.
 */
import { JetStreamApiError } from '@nats-io/jetstream';
import { errors } from '@nats-io/nats-core';

/**
 * BUS_UNREACHABLE: no connection. BUS_TIMEOUT: connected, no answer in time; what was asked may have happened. BUS_PERMISSION: this
 * identity may not. BUS_AUTHENTICATION: the server does not know this identity, or its secret cannot be read. BUS_NO_STREAM: no such stream, or JetStream is not
 * up yet. BUS_CONFLICT: somebody wrote first (compare and set). BUS_EXISTS: create-only, and it is there. BUS_FULL: the stream is
 * at a limit and discards new, or the server's disk has no space. BUS_TOO_LARGE: above the server's or the bucket's largest message. BUS_REFUSED: any other refusal
 * by JetStream. BUS_CAPACITY: the publisher's window is full. BUS_CLOSED: closed by this process. BUS_HORIZON: verdicts or
 * responses are kept too short. BUS_TOPOLOGY: a stream exists with what cannot be changed. BUS_SHRINK: a stream would keep less
 * than it does, and nobody said that it may. BUS_MESSAGE: a message lacks what JetStream puts on it.
 */
export type BusErrorCode =
  | 'BUS_UNREACHABLE'
  | 'BUS_TIMEOUT'
  | 'BUS_PERMISSION'
  | 'BUS_AUTHENTICATION'
  | 'BUS_NO_STREAM'
  | 'BUS_CONFLICT'
  | 'BUS_EXISTS'
  | 'BUS_FULL'
  | 'BUS_TOO_LARGE'
  | 'BUS_REFUSED'
  | 'BUS_CAPACITY'
  | 'BUS_CLOSED'
  | 'BUS_HORIZON'
  | 'BUS_TOPOLOGY'
  | 'BUS_SHRINK'
  | 'BUS_MESSAGE';

export class BusError extends Error {
  readonly code: BusErrorCode;
  /** JetStream's `err_code`, or 0. */
  readonly apiCode: number;
  constructor(code: BusErrorCode, message: string, options: ErrorOptions & { apiCode?: number } = {}) {
    super(message, options);
    this.name = 'BusError';
    this.code = code;
    this.apiCode = options.apiCode ?? 0;
  }
}

/** nats-server/server/errors.json: numbers that mean something to us. */
const API_CODES: Readonly<Record<number, BusErrorCode>> = {
  10014: 'BUS_NO_STREAM', // consumer not found
  10059: 'BUS_NO_STREAM', // stream not found
  10039: 'BUS_NO_STREAM', // JetStream not enabled for account
  10008: 'BUS_NO_STREAM', // JetStream system temporarily unavailable
  10071: 'BUS_CONFLICT', // wrong last sequence
  10164: 'BUS_CONFLICT', // wrong last sequence, unknown
  10047: 'BUS_FULL', // insufficient storage resources
  10023: 'BUS_FULL', // insufficient resources
  10054: 'BUS_TOO_LARGE', // message size exceeds maximum allowed
};

/** Words of a limit of the stream, and of the operating system about the disk (ENOSPC, EDQUOT). */
const NO_ROOM = /maximum (bytes|messages)|no space left on device|disk quota exceeded/;

/** Code for a refusal by JetStream. 10077 (message could not be stored) says why in words only. */
export function codeOfRefusal(apiCode: number, description: string): BusErrorCode {
  if (apiCode === 10077 && NO_ROOM.test(description)) return 'BUS_FULL';
  return API_CODES[apiCode] ?? 'BUS_REFUSED';
}

/** Makes a BusError of anything that the client throws; a BusError passes through. `doing` begins the message. */
export function toBusError(error: unknown, doing: string): BusError {
  if (error instanceof BusError) return error;
  const cause = error instanceof Error ? error : new Error(String(error));
  const make = (code: BusErrorCode, apiCode = 0) =>
    new BusError(code, `${doing}: ${cause.message}`, { cause, apiCode });
  if (cause instanceof JetStreamApiError) return make(codeOfRefusal(cause.code, cause.message), cause.code);
  if (cause.name === 'JetStreamNotEnabled') return make('BUS_NO_STREAM');
  // The client wraps what happened to a request; what counts is inside.
  const inner = cause instanceof errors.RequestError && cause.cause instanceof Error ? cause.cause : cause;
  if (inner instanceof errors.PermissionViolationError) return make('BUS_PERMISSION');
  if (inner instanceof errors.AuthorizationError || inner instanceof errors.UserAuthenticationExpiredError) {
    return make('BUS_AUTHENTICATION');
  }
  if (inner instanceof errors.NoRespondersError) return make('BUS_NO_STREAM');
  if (inner instanceof errors.TimeoutError) return make('BUS_TIMEOUT');
  if (inner instanceof errors.ClosedConnectionError || inner instanceof errors.DrainingConnectionError) {
    return make('BUS_CLOSED');
  }
  if (inner instanceof errors.InvalidArgumentError && /max_payload/.test(inner.message)) return make('BUS_TOO_LARGE');
  if (inner instanceof errors.ConnectionError || /ECONNREFUSED|ENOTFOUND|EAI_AGAIN|ECONNRESET/.test(inner.message)) {
    return make('BUS_UNREACHABLE');
  }
  return make('BUS_REFUSED');
}
