/**
 * Errors of the API server stand-in, each a Kubernetes Status object on the wire. Reasons, HTTP
 * codes and texts follow a 1.32 API server, because clients branch on them. `code` is the stable
 * reason; `httpStatus` is the number.
 */
import type { JsonObject } from './types.ts';

export interface StatusCause {
  reason: string;
  message: string;
  field?: string;
}

export interface StatusDetails {
  name?: string;
  group?: string;
  kind?: string;
  uid?: string;
  causes?: StatusCause[];
  retryAfterSeconds?: number;
}

export interface StatusObject extends JsonObject {
  kind: 'Status';
  apiVersion: 'v1';
  metadata: JsonObject;
  status: 'Success' | 'Failure';
  message?: string;
  reason?: string;
  details?: StatusDetails;
  code?: number;
}

/** The resource of an error: the part of its definition that names it. */
export interface Subject {
  group: string;
  plural: string;
  kind: string;
}

/**
 * A rejection sent to the client as a Status. `code` is the Kubernetes reason ('' where a real
 * server has none).
 */
export class ApiError extends Error {
  readonly code: string;
  readonly httpStatus: number;
  readonly details: StatusDetails | undefined;
  /** Continues an expired list without a snapshot. */
  readonly continueToken: string | undefined;

  constructor(httpStatus: number, reason: string, message: string, details?: StatusDetails, continueToken?: string) {
    super(message);
    this.name = 'ApiError';
    this.httpStatus = httpStatus;
    this.code = reason;
    this.details = details;
    this.continueToken = continueToken;
  }

  toStatus(): StatusObject {
    return {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: this.continueToken === undefined ? {} : { continue: this.continueToken },
      status: 'Failure',
      message: this.message,
      ...(this.code === '' ? {} : { reason: this.code }),
      ...(this.details === undefined ? {} : { details: this.details }),
      code: this.httpStatus,
    };
  }
}

/** Name of a resource in messages: `pods`, or `leases.coordination.k8s.io`. */
export function qualified(subject: Subject): string {
  return subject.group === '' ? subject.plural : `${subject.plural}.${subject.group}`;
}

function about(subject: Subject, name: string): StatusDetails {
  return { name, ...(subject.group === '' ? {} : { group: subject.group }), kind: subject.plural };
}

export function notFound(subject: Subject, name: string): ApiError {
  return new ApiError(404, 'NotFound', `${qualified(subject)} "${name}" not found`, about(subject, name));
}

export function resourceNotFound(): ApiError {
  return new ApiError(404, 'NotFound', 'the server could not find the requested resource', {});
}

export function alreadyExists(subject: Subject, name: string, beingDeleted = false): ApiError {
  const message = `${qualified(subject)} "${name}" already exists`;
  return new ApiError(
    409,
    'AlreadyExists',
    beingDeleted ? `object is being deleted: ${message}` : message,
    about(subject, name),
  );
}

export function conflict(subject: Subject, name: string, why: string): ApiError {
  const message = `Operation cannot be fulfilled on ${qualified(subject)} "${name}": ${why}`;
  return new ApiError(409, 'Conflict', message, about(subject, name));
}

export const staleUpdate =
  'the object has been modified; please apply your changes to the latest version and try again';

export function badRequest(message: string): ApiError {
  return new ApiError(400, 'BadRequest', message);
}

export function invalid(subject: Subject, name: string, causes: StatusCause[]): ApiError {
  const parts = causes.map((cause) => (cause.field ? `${cause.field}: ${cause.message}` : cause.message));
  const list = parts.length === 1 ? parts[0] : `[${parts.join(', ')}]`;
  const kind = subject.group === '' ? subject.kind : `${subject.kind}.${subject.group}`;
  return new ApiError(422, 'Invalid', `${kind} "${name}" is invalid: ${list}`, {
    name,
    ...(subject.group === '' ? {} : { group: subject.group }),
    kind: subject.kind,
    causes,
  });
}

export function unauthorized(): ApiError {
  return new ApiError(401, 'Unauthorized', 'Unauthorized');
}

/** The continue token or resource version is older than the history. */
export function expired(message: string, continueToken?: string): ApiError {
  return new ApiError(410, 'Expired', message, undefined, continueToken);
}

export function methodNotAllowed(): ApiError {
  return new ApiError(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource', {});
}

export function unsupportedMediaType(given: string, allowed: string[]): ApiError {
  const list = allowed.join(', ');
  return new ApiError(
    415,
    'UnsupportedMediaType',
    `the body of the request was in an unknown format ("${given}") - accepted media types include: ${list}`,
    {},
  );
}

export function notAcceptable(allowed: string[]): ApiError {
  return new ApiError(406, 'NotAcceptable', `only the following media types are accepted: ${allowed.join(', ')}`, {});
}

/** The requested version does not exist yet. */
export function versionTooLarge(asked: number, current: number): ApiError {
  return new ApiError(504, 'Timeout', `Timeout: Too large resource version: ${asked}, current: ${current}`, {
    causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
    retryAfterSeconds: 1,
  });
}

/** A Status of success, as returned by a delete without object. */
export function success(subject?: Subject, name?: string, uid?: string): StatusObject {
  const status: StatusObject = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success' };
  if (subject !== undefined && name !== undefined) {
    status.details = { ...about(subject, name), ...(uid === undefined ? {} : { uid }) };
  }
  return status;
}
