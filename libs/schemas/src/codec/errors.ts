/**
 * The one error of the codec. Callers branch on `code`: what a sender did wrong ends in the dead letters with the code as the
 * reason, what this process did wrong (INVALID_VALUE, TOO_LARGE) is a bug of the caller.
 */

/**
 * NOT_SINGLE_OBJECT: no `C3 01` marker, or shorter than the 10-byte head. UNKNOWN_FINGERPRINT: no schema is known for it.
 * WRONG_SCHEMA: the schema is known, but is not the one asked for, or cannot be resolved to it. TRUNCATED: the body ends early.
 * TRAILING_BYTES: the body ends late. MALFORMED: an enum or union index out of range, a negative length. LONG_RANGE: a `long`
 * beyond 2^53 - 2, which a number cannot hold. INVALID_VALUE: a value handed to encode does not fit the schema.
 * TOO_LARGE: above MAX_MESSAGE_BYTES. FIELD_TOO_LONG: a string or a list is above its limit (limits.ts); the message names the field.
 */
export type SchemaErrorCode =
  | 'NOT_SINGLE_OBJECT'
  | 'UNKNOWN_FINGERPRINT'
  | 'WRONG_SCHEMA'
  | 'TRUNCATED'
  | 'TRAILING_BYTES'
  | 'MALFORMED'
  | 'LONG_RANGE'
  | 'INVALID_VALUE'
  | 'TOO_LARGE'
  | 'FIELD_TOO_LONG';

export class SchemaError extends Error {
  readonly code: SchemaErrorCode;
  /** Fingerprint of the message, 16 hex digits; null when the message had none. */
  readonly fingerprint: string | null;
  constructor(code: SchemaErrorCode, message: string, fingerprint: string | null = null, options?: ErrorOptions) {
    super(message, options);
    this.name = 'SchemaError';
    this.code = code;
    this.fingerprint = fingerprint;
  }
}
