/**
 * The error of the codec. Callers branch on `code`. A message with an error of its sender is
 * published as a dead letter, with the code as the reason. INVALID_VALUE and TOO_LARGE are bugs of
 * the caller.
 */

/**
 * NOT_SINGLE_OBJECT: no `C3 01` marker, or shorter than the 10-byte head. UNKNOWN_FINGERPRINT: no
 * schema is known for it. WRONG_SCHEMA: the schema is known, but is not the requested one, or
 * cannot be resolved to it. TRUNCATED: the message ends within the body. TRAILING_BYTES: bytes
 * follow the body. MALFORMED: an enum or union index is out of range, or a length is negative.
 * LONG_RANGE: a `long` is above 2^53 - 2, the largest that avsc decodes. INVALID_VALUE: a value to
 * encode does not fit the schema. TOO_LARGE: above MAX_MESSAGE_BYTES. FIELD_TOO_LONG: a string or a
 * list exceeds its limit (limits.ts); the message names the field.
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
  /** Fingerprint of the message, 16 hex digits; null without one. */
  readonly fingerprint: string | null;
  constructor(code: SchemaErrorCode, message: string, fingerprint: string | null = null, options?: ErrorOptions) {
    super(message, options);
    this.name = 'SchemaError';
    this.code = code;
    this.fingerprint = fingerprint;
  }
}
