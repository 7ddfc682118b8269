/**
 * The error type of the bus, and the mapping from errors of the client and the server. Callers
 * branch on `code`; `apiCode` is JetStream's own number.
 */
import { JetStreamApiError } from '@nats-io/jetstream';
import { errors } from '@nats-io/nats-core';

/**
 * BUS_UNREACHABLE: no connection. BUS_TIMEOUT: connected, but no response in time, or no leader; the
 * operation may have happened. BUS_PERMISSION: this identity lacks the permission. BUS_AUTHENTICATION: the
 * server does not accept this identity, or its secret cannot be read. BUS_NO_STREAM: no such
 * stream, or JetStream is not up yet. BUS_CONFLICT: another client wrote first (compare and set).
 * BUS_EXISTS: create-only, and the key exists. BUS_FULL: the stream is at a limit and discards new
 * messages, or the server's disk has no space. BUS_TOO_LARGE: above the largest message of the
 * server or the bucket. BUS_REFUSED: any other refusal by JetStream. BUS_CAPACITY: the publisher's
 * window is full. BUS_CLOSED: closed by this process. BUS_HORIZON: verdicts or responses are kept
 * for too short a time. BUS_TOPOLOGY: a stream exists with a setting that cannot be changed.
 * BUS_SHRINK: a stream would keep less than now, and `shrink` is not set. BUS_MESSAGE: a message
 * lacks what JetStream adds to it.
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

const UNAVAILABLE: ReadonlySet<BusErrorCode> = new Set(['BUS_NO_STREAM', 'BUS_TIMEOUT', 'BUS_UNREACHABLE']);

/** The server, or its leader for the stream, does not respond now. */
export const isUnavailable = ({ code }: BusError): boolean => UNAVAILABLE.has(code);
/** Passes by itself: the bus is unavailable, or at a limit. */
export const isTransient = (error: BusError): boolean => isUnavailable(error) || error.code === 'BUS_FULL';

/** Numbers from nats-server/server/errors.json that need a code of their own. */
const API_CODES: Readonly<Record<number, BusErrorCode>> = {
  10014: 'BUS_NO_STREAM', // consumer not found
  10059: 'BUS_NO_STREAM', // stream not found
  10039: 'BUS_NO_STREAM', // JetStream not enabled for account
  10071: 'BUS_CONFLICT', // wrong last sequence
  10164: 'BUS_CONFLICT', // wrong last sequence, unknown
  // JetStream system temporarily unavailable: no leader. Whether the stream exists is not known.
  10008: 'BUS_TIMEOUT',
  // A message with this id is being stored: by another replica, or by an attempt without an ack. It
  // may fail when the leader of the stream changes.
  10158: 'BUS_TIMEOUT',
  10047: 'BUS_FULL', // insufficient storage resources
  10023: 'BUS_FULL', // insufficient resources
  10054: 'BUS_TOO_LARGE', // message size exceeds maximum allowed
};

/** Texts of a stream limit, and of the operating system when the disk is full (ENOSPC, EDQUOT). */
const NO_ROOM = /maximum (bytes|messages)|no space left on device|disk quota exceeded/;

/**
 * Code for a refusal by JetStream. 10077 (message could not be stored) gives its reason only as
 * text.
 */
export function codeOfRefusal(apiCode: number, description: string): BusErrorCode {
  if (apiCode === 10077 && NO_ROOM.test(description)) return 'BUS_FULL';
  return API_CODES[apiCode] ?? 'BUS_REFUSED';
}

/**
 * Converts any error of the client to a BusError. A BusError passes through. `doing` becomes the
 * start of the message.
 */
export function toBusError(error: unknown, doing: string): BusError {
  if (error instanceof BusError) return error;
  const cause = error instanceof Error ? error : new Error(String(error));
  const make = (code: BusErrorCode, apiCode = 0) =>
    new BusError(code, `${doing}: ${cause.message}`, { cause, apiCode });
  if (cause instanceof JetStreamApiError) return make(codeOfRefusal(cause.code, cause.message), cause.code);
  if (cause.name === 'JetStreamNotEnabled') return make('BUS_NO_STREAM');
  // The client wraps the error of a request; the inner error is the one to classify.
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
  if (/does not support 'tls'/.test(inner.message)) {
    return new BusError(
      'BUS_UNREACHABLE',
      `${doing}: the server offers no TLS, which a tls:// URL or a CA file requires`,
      {
        cause,
      },
    );
  }
  if (inner instanceof errors.ConnectionError || /ECONNREFUSED|ENOTFOUND|EAI_AGAIN|ECONNRESET/.test(inner.message)) {
    return make('BUS_UNREACHABLE');
  }
  return make('BUS_REFUSED');
}
