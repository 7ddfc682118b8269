/**
 * Avro single-object encoding of bus messages: `C3 01`, the CRC-64-AVRO fingerprint (little endian),
 * the body.
 *
 * Collector, correlator and responder encode; every reader decodes. Invariants: the caller owns an
 * encoded message. `decode` returns a value of the current type for every version of the writer, or
 * throws a SchemaError, and never reads past the message. Times are microseconds; longs are numbers.
 */
import type avro from 'avsc';
import { BoundedTap } from './bounded-tap.ts';
import { SchemaError } from './errors.ts';
import {
  CURRENT,
  type KnownSchema,
  type MessageName,
  type Messages,
  SchemaRegistry,
  unknownFingerprint,
} from './registry.ts';
import { MAX_MESSAGE_BYTES, ScratchBuffer } from './scratch-buffer.ts';

export type Decoded = { [N in MessageName]: { name: N; value: Messages[N] } }[MessageName];

const HEAD_BYTES = 10;
const scratch = new ScratchBuffer();
const tap = new BoundedTap();
/** The current and the released schemas: default of `decode`. */
const builtin = new SchemaRegistry();

function headOf(fingerprint: string): Buffer {
  const head = Buffer.from([0xc3, 0x01, 0, 0, 0, 0, 0, 0, 0, 0]);
  head.writeBigUInt64LE(BigInt(`0x${fingerprint}`), 2);
  return head;
}

/** Error that names the invalid fields. Slow; only for an encode that failed. */
function invalidValue<N extends MessageName>(name: N, value: Messages[N], cause: unknown): SchemaError {
  const wrong: string[] = [];
  try {
    CURRENT[name].type.isValid(value, {
      errorHook: (path, found) => wrong.push(`${path.join('.')} = ${String(found).slice(0, 80)}`),
    });
  } catch {
    // A getter or proxy threw: a bug of the caller, which the cause below shows.
  }
  const text = wrong.length > 0 ? wrong.slice(0, 8).join(', ') : (cause as Error).message;
  return new SchemaError('INVALID_VALUE', `${name} cannot be encoded: ${text}`, null, { cause });
}

/** Encoder for a schema's fingerprint. @param typeOf called for each message: type of the body */
export function encoderOf<N extends MessageName>(
  name: N,
  fingerprint: string,
  typeOf: () => avro.Type,
): (value: Messages[N]) => Buffer {
  const head = headOf(fingerprint);
  return (value) => {
    const type = typeOf();
    let message: Buffer | null;
    try {
      message = scratch.fill((buffer) => {
        head.copy(buffer);
        return type.encode(value, buffer, HEAD_BYTES);
      });
    } catch (cause) {
      if (cause instanceof SchemaError) throw cause;
      throw invalidValue(name, value, cause);
    }
    if (message === null) throw new SchemaError('TOO_LARGE', `${name} is above ${MAX_MESSAGE_BYTES} bytes`);
    return message;
  };
}

const encoder = <N extends MessageName>(name: N) =>
  encoderOf(name, CURRENT[name].fingerprint, () => CURRENT[name].type);

/** Encodes a frame. The caller owns the Buffer. @throws SchemaError INVALID_VALUE | TOO_LARGE | FIELD_TOO_LONG */
export const encodeViolationFrame = encoder('ViolationFrame');
/** Encodes a verdict. The caller owns the Buffer. @throws SchemaError INVALID_VALUE | TOO_LARGE | FIELD_TOO_LONG */
export const encodeVerdict = encoder('Verdict');
/** Encodes a response. The caller owns the Buffer. @throws SchemaError INVALID_VALUE | TOO_LARGE | FIELD_TOO_LONG */
export const encodeResponse = encoder('Response');

/** Fingerprint of a message, 16 hex digits. @throws SchemaError NOT_SINGLE_OBJECT */
export function fingerprintIn(message: Uint8Array): string {
  if (message.length < HEAD_BYTES || message[0] !== 0xc3 || message[1] !== 0x01) {
    throw new SchemaError('NOT_SINGLE_OBJECT', 'the message does not begin with C3 01 and a fingerprint');
  }
  let hex = '';
  for (let at = 9; at >= 2; at -= 1) hex += HEX[message[at] as number];
  return hex;
}
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

function bodyError(cause: unknown, schema: KnownSchema): SchemaError {
  if (cause instanceof SchemaError) {
    return new SchemaError(cause.code, `${schema.name}: ${cause.message}`, schema.fingerprint, { cause });
  }
  const { message } = cause as Error;
  // avsc throws plain errors with this text.
  const code = message === 'potential precision loss' ? 'LONG_RANGE' : 'MALFORMED';
  return new SchemaError(code, `${schema.name}: ${message}`, schema.fingerprint, { cause });
}

function readBody(schema: KnownSchema, message: Uint8Array): unknown {
  const buffer = Buffer.isBuffer(message)
    ? message
    : Buffer.from(message.buffer, message.byteOffset, message.byteLength);
  tap.reset(buffer, HEAD_BYTES);
  let value: unknown;
  try {
    value = schema.reader._read(tap, false);
  } catch (cause) {
    throw bodyError(cause, schema);
  }
  if (!tap.isValid())
    throw new SchemaError('TRUNCATED', `${schema.name}: the message ends within a field`, schema.fingerprint);
  if (tap.pos !== buffer.length) {
    throw new SchemaError(
      'TRAILING_BYTES',
      `${schema.name}: ${buffer.length - tap.pos} bytes too many`,
      schema.fingerprint,
    );
  }
  return value;
}

/**
 * Decodes a message of any kind whose schema is known. Values have the current types.
 * @throws SchemaError NOT_SINGLE_OBJECT | UNKNOWN_FINGERPRINT | TRUNCATED | TRAILING_BYTES |
 * MALFORMED | LONG_RANGE | FIELD_TOO_LONG
 */
export function decode(message: Uint8Array, registry: SchemaRegistry = builtin): Decoded {
  const fingerprint = fingerprintIn(message);
  const schema = registry.peek(fingerprint);
  if (!schema) throw unknownFingerprint(fingerprint);
  return { name: schema.name, value: readBody(schema, message) } as Decoded;
}

/**
 * Decodes a message and looks up an unknown schema. For speed, call `decode` first and this only after
 * UNKNOWN_FINGERPRINT. @param writer has a share of the lookups
 * @throws SchemaError as decode, or WRONG_SCHEMA; errors of the lookup
 */
export async function decodeWithLookup(
  message: Uint8Array,
  registry: SchemaRegistry,
  writer?: string,
): Promise<Decoded> {
  const schema = await registry.resolve(fingerprintIn(message), writer);
  return { name: schema.name, value: readBody(schema, message) } as Decoded;
}

function decoder<N extends MessageName>(name: N) {
  return (message: Uint8Array, registry: SchemaRegistry = builtin): Messages[N] => {
    const fingerprint = fingerprintIn(message);
    const schema = registry.peek(fingerprint);
    if (!schema) throw unknownFingerprint(fingerprint);
    if (schema.name !== name) {
      throw new SchemaError('WRONG_SCHEMA', `expected a ${name}, found a ${schema.name}`, fingerprint);
    }
    return readBody(schema, message) as Messages[N];
  };
}

/** Decodes a frame. @throws SchemaError as decode, or WRONG_SCHEMA for another kind of message */
export const decodeViolationFrame = decoder('ViolationFrame');
/** Decodes a verdict. @throws SchemaError as decode, or WRONG_SCHEMA for another kind of message */
export const decodeVerdict = decoder('Verdict');
/** Decodes a response. @throws SchemaError as decode, or WRONG_SCHEMA for another kind of message */
export const decodeResponse = decoder('Response');
