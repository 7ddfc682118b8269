/**
 * A record of a bundle: one message of the bus with its place in its stream. Pure.
 *
 * The bytes of a message are cut into parts. A part with an argument or an address has a salt, so that it can
 * be redacted later: its hash stays, and guesses of its content cannot be compared with the hash. Equal
 * contents have equal hashes within a bundle, because rules count distinct values.
 * docs/evidence-format.md specifies all bytes.
 */
import { createHash, createHmac } from 'node:crypto';
import * as z from 'zod';
import { EvidenceError } from '../error.ts';
import { leafHash } from '../log/merkle.ts';

/** What can be redacted. `unreadable`: a message that no schema reads, and the end of one behind a list or text beyond its limit. */
export const CLASSES = ['argument', 'address', 'unreadable'] as const;
export type SensitiveClass = (typeof CLASSES)[number];

/** Streams of a bundle, in the order of its records. A schema precedes the first message that needs it. */
export const STREAMS: readonly string[] = [
  ...['CONFIG_LOG', 'KV_bailiff_pods', 'DEAD_LETTERS', 'VERDICTS', 'VIOLATIONS', 'RESPONSES'],
];
export const SCHEMAS = 'KV_bailiff_schemas';
/** Most records of a stream: what the bus keeps of it, or more than one verdict has. */
export const MOST_RECORDS: Readonly<Record<string, number>> = {
  [SCHEMAS]: 512,
  CONFIG_LOG: 131_072,
  DEAD_LETTERS: 50_000,
  VERDICTS: 10_000,
  RESPONSES: 10_000,
};

export const bytesOf = (text: string): Buffer => Buffer.from(text, 'base64');

const SALT_BYTES = 16;
export const base64 = z
  .string()
  .refine((text) => Buffer.from(text, 'base64').toString('base64') === text, 'not base64 in its canonical form');
/** Of one length: otherwise bytes could be moved between a salt and its content, and the hash would be the same. */
const salt = base64.refine((text) => bytesOf(text).length === SALT_BYTES, `not ${SALT_BYTES} bytes`);
const hex = z.string().regex(/^[0-9a-f]{64}$/);
const whole = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);

const part = z.union([
  base64,
  z.strictObject({ class: z.enum(CLASSES), salt, data: base64 }),
  z.strictObject({ class: z.enum(CLASSES), hash: hex }),
]);
export type Part = z.infer<typeof part>;

const recordSchema = z.strictObject({
  stream: z.string(),
  sequence: whole,
  /** Microseconds since 1970. */
  storedAt: whole,
  subject: z.string().regex(/^[!-~]+$/),
  /** The raw header block; absent without headers. */
  headers: base64.optional(),
  /** Of the bytes of the message. */
  sha256: hex,
  parts: z.array(part),
  /** tlog-proof@v1; absent without a log. */
  proof: z.string().optional(),
});
export type EvidenceRecord = z.infer<typeof recordSchema>;

export const sha256 = (...parts: readonly (Uint8Array | string)[]): Buffer => {
  const hash = createHash('sha256');
  for (const one of parts) hash.update(one);
  return hash.digest();
};

/** A message before it is cut into parts. */
export interface StoredMessage {
  stream: string;
  sequence: number;
  storedAtMicros: number;
  subject: string;
  headers: Uint8Array | undefined;
  data: Uint8Array;
}

/** Bytes `start` to `end` of a message can be redacted. Ranges are in order and do not overlap. */
export interface SensitiveRange {
  start: number;
  end: number;
  class: SensitiveClass;
}

/** @param saltKey random key of the bundle, which is not stored */
export function makeRecord(
  message: StoredMessage,
  ranges: readonly SensitiveRange[],
  saltKey: Uint8Array,
): EvidenceRecord {
  const { stream, sequence, storedAtMicros, subject, headers } = message;
  const data = Buffer.from(message.data.buffer, message.data.byteOffset, message.data.byteLength);
  const parts: Part[] = [];
  let at = 0;
  for (const { start, end, class: kind } of ranges) {
    if (start > at) parts.push(data.subarray(at, start).toString('base64'));
    const content = data.subarray(start, end);
    const salt = createHmac('sha256', saltKey).update(`${kind}\n`).update(content).digest().subarray(0, SALT_BYTES);
    parts.push({ class: kind, salt: salt.toString('base64'), data: content.toString('base64') });
    at = end;
  }
  if (at < data.length) parts.push(data.subarray(at).toString('base64'));
  return {
    stream,
    sequence,
    storedAt: storedAtMicros,
    subject,
    ...(headers ? { headers: Buffer.from(headers).toString('base64') } : {}),
    sha256: sha256(data).toString('hex'),
    parts,
  };
}

const hashOfPart = (one: Part): string => {
  if (typeof one === 'string') return `open ${sha256(bytesOf(one)).toString('hex')}`;
  const hash = 'hash' in one ? one.hash : sha256(bytesOf(one.salt), bytesOf(one.data)).toString('hex');
  return `${one.class} ${hash}`;
};

/** The record without the content of parts of these classes. Its hash does not change. */
export function redact(record: EvidenceRecord, classes: readonly SensitiveClass[]): EvidenceRecord {
  const parts = record.parts.map((one): Part => {
    if (typeof one === 'string' || 'hash' in one || !classes.includes(one.class)) return one;
    return { class: one.class, hash: hashOfPart(one).slice(one.class.length + 1) };
  });
  return { ...record, parts };
}

export const isRedacted = ({ parts }: EvidenceRecord): boolean =>
  parts.some((one) => typeof one !== 'string' && 'hash' in one);

/** Whether the content of a message that no schema reads, or the end of one beyond the limits, is redacted. */
export const isHidden = ({ parts }: EvidenceRecord): boolean =>
  parts.some((one) => typeof one !== 'string' && 'hash' in one && one.class === 'unreadable');

/**
 * What the log hashes for a message, and the first part of a record's hash.
 * @param createdMicros of the stream: sequences restart if it is created again
 */
export function logEntry(record: Omit<EvidenceRecord, 'parts' | 'proof'>, createdMicros: number): Buffer {
  const { stream, sequence, storedAt, subject, headers, sha256: data } = record;
  const block = sha256(headers === undefined ? '' : bytesOf(headers)).toString('hex');
  const lines = ['bailiff-log-entry/1', stream, createdMicros, sequence, storedAt, subject, block, data];
  return Buffer.from(`${lines.join('\n')}\n`);
}

/** The leaf of a message in the log. */
export function leafOf(
  place: Pick<EvidenceRecord, 'stream' | 'sequence' | 'storedAt' | 'subject'>,
  headers: Uint8Array | undefined,
  data: Uint8Array,
  createdMicros: number,
): Buffer {
  const block = headers ? { headers: Buffer.from(headers).toString('base64') } : {};
  return leafHash(logEntry({ ...place, ...block, sha256: sha256(data).toString('hex') }, createdMicros));
}

/** The hash that the statement of a bundle covers. */
export function recordHash(record: EvidenceRecord, createdMicros: number): Buffer {
  const parts = record.parts.map((one) => `${hashOfPart(one)}\n`).join('');
  return sha256('bailiff-record/1\n', logEntry(record, createdMicros), parts);
}

/**
 * The bytes of a record for a reader. A redacted part reads as `r:` and 12 digits of its hash. In Avro it is a
 * string or bytes with its length before it; in JSON it is what is between two quotes.
 */
export function contentOf({ stream, parts }: EvidenceRecord): Buffer {
  return Buffer.concat(
    parts.map((one) => {
      if (typeof one === 'string') return bytesOf(one);
      if ('data' in one) return bytesOf(one.data);
      const text = `r:${one.hash.slice(0, 12)}`;
      return Buffer.from(stream === 'KV_bailiff_pods' ? text : `${String.fromCharCode(text.length * 2)}${text}`);
    }),
  );
}

/** Whether the parts are the bytes that `sha256` names; null if a part is redacted. */
export function isWhole(record: EvidenceRecord): boolean | null {
  if (isRedacted(record)) return null;
  return sha256(contentOf(record)).toString('hex') === record.sha256;
}

/** One line, without its end. Fields have the order of the schema. */
export const formatRecord = (record: EvidenceRecord): string => {
  const { stream, sequence, storedAt, subject, headers, sha256: data, parts, proof } = record;
  return JSON.stringify({ stream, sequence, storedAt, subject, headers, sha256: data, parts, proof });
};

/** @throws EvidenceError EVIDENCE_FORMAT if the line is not exactly what `formatRecord` writes */
export const parseRecord = (line: string): EvidenceRecord => parseLine(line, recordSchema, formatRecord);

/** An escape of half a surrogate pair, which has no UTF-8. `JSON.stringify` writes it, other encoders do not. */
const HALF_PAIR = /(?:^|[^\\])(?:\\\\)*\\ud/;

/** @throws EvidenceError EVIDENCE_FORMAT if the line is not exactly what `format` writes of its value */
export function parseLine<T>(line: string, schema: z.ZodType<T>, format: (value: T) => string): T {
  const value = parseJson(line, schema);
  if (format(value) !== line || HALF_PAIR.test(line)) {
    throw new EvidenceError('EVIDENCE_FORMAT', 'not in the canonical form');
  }
  return value;
}

function parseJson<T>(line: string, schema: z.ZodType<T>): T {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new EvidenceError('EVIDENCE_FORMAT', `not JSON: ${(cause as Error).message}`, { cause });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new EvidenceError(
    'EVIDENCE_FORMAT',
    `${issue?.path.join('.') || 'the line'}: ${issue?.message ?? 'not valid'}`,
  );
}
