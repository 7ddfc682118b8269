/**
 * A bundle: a header, records in the order of STREAMS, and an in-toto statement in a DSSE envelope, one line
 * each. Pure. The writer needs the memory of one record, whatever the number of frames.
 */
import { createHash, type KeyObject } from 'node:crypto';
import { isName } from '@bailiff/bus';
import * as z from 'zod';
import { EvidenceError } from '../error.ts';
import { type Envelope, seal } from './envelope.ts';
import {
  base64,
  type EvidenceRecord,
  formatRecord,
  parseLine,
  recordHash,
  SCHEMAS,
  STREAMS,
  sha256,
} from './record.ts';

export const FORMAT = 'bailiff-evidence/1';
export const PAYLOAD_TYPE = 'application/vnd.in-toto+json';
const STATEMENT_TYPE = 'https://in-toto.io/Statement/v1';
export const PREDICATE_TYPE = 'https://bailiff.dev/evidence/v1';
/** A pod list of 4 MiB in base64, with its proof. */
export const MAX_LINE_BYTES = 8 * 1024 * 1024;

const whole = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);
const stream = z.string().refine((name) => name === SCHEMAS || STREAMS.includes(name), 'no stream of a bundle');

const headerSchema = z.strictObject({
  format: z.literal(FORMAT),
  verdictId: z.string().regex(/^[0-9a-f]{32}$/),
  /** Version of the fold that judged: FOLD_VERSION of libs/correlation. */
  fold: whole,
  /** Nodes whose frames, pod lists and dead letters are included; null: all. */
  nodes: z.array(z.string().refine(isName, 'not a name')).nullable(),
  /** Frames that the bus stored in this range, microseconds. */
  from: whole,
  until: whole,
  /** Dead letters of older frames may have been deleted. */
  lettersSince: whole,
  /** When each stream was created, microseconds. */
  created: z.record(stream, whole),
  exportedAt: whole,
  exporter: z.string(),
});
export type Header = z.infer<typeof headerSchema>;

const positionSchema = z.strictObject({ first: whole, last: whole });
const statementSchema = z.strictObject({
  _type: z.literal(STATEMENT_TYPE),
  subject: z
    .array(z.strictObject({ name: z.string(), digest: z.strictObject({ sha256: z.string().regex(/^[0-9a-f]{64}$/) }) }))
    .length(1),
  predicateType: z.literal(PREDICATE_TYPE),
  predicate: z.strictObject({
    /** Records by stream. */
    records: z.record(stream, whole),
    /** Sequences of the streams at the time of the export. */
    positions: z.record(stream, positionSchema),
    /** Head of the log whose proofs the records have; null: there is no log. */
    log: z.strictObject({ origin: z.string(), size: whole, root: z.string() }).nullable(),
  }),
});
export type Statement = z.infer<typeof statementSchema>;
export type Predicate = Statement['predicate'];

const envelopeSchema = z.strictObject({
  payloadType: z.string(),
  payload: base64,
  signatures: z.array(z.strictObject({ keyid: z.string(), sig: base64 })).max(16),
});

export const subjectName = (verdictId: string): string => `bailiff-verdict-${verdictId}`;

/** The hash of a bundle's content, record by record. */
export class BundleDigest {
  readonly #hash = createHash('sha256');
  readonly #created: Header['created'];

  constructor(header: Header, line: string) {
    this.#created = header.created;
    this.#hash.update(sha256(line));
  }

  /** When the stream of a record was created; 0 if the header does not name it. */
  createdOf = (stream: string): number => (Object.hasOwn(this.#created, stream) ? (this.#created[stream] ?? 0) : 0);

  add(record: EvidenceRecord): void {
    this.#hash.update(recordHash(record, this.createdOf(record.stream)));
  }

  end(): string {
    return this.#hash.digest('hex');
  }
}

export class BundleWriter {
  readonly #write: (line: string) => void;
  readonly #header: Header;
  readonly #digest: BundleDigest;
  readonly #records: Record<string, number> = {};

  constructor(header: Header, write: (line: string) => void) {
    const line = JSON.stringify(header);
    this.#write = write;
    this.#header = header;
    this.#digest = new BundleDigest(header, line);
    write(line);
  }

  add(record: EvidenceRecord): void {
    this.#digest.add(record);
    this.#records[record.stream] = (this.#records[record.stream] ?? 0) + 1;
    this.#write(formatRecord(record));
  }

  /** @param key null: the statement is not signed */
  end(predicate: Omit<Predicate, 'records'>, key: KeyObject | null): void {
    const statement: Statement = {
      _type: STATEMENT_TYPE,
      subject: [{ name: subjectName(this.#header.verdictId), digest: { sha256: this.#digest.end() } }],
      predicateType: PREDICATE_TYPE,
      predicate: { records: this.#records, ...predicate },
    };
    this.#write(formatEnvelope(seal(PAYLOAD_TYPE, Buffer.from(JSON.stringify(statement)), key)));
  }
}

const formatEnvelope = ({ payloadType, payload, signatures }: Envelope): string =>
  JSON.stringify({ payloadType, payload, signatures: signatures.map(({ keyid, sig }) => ({ keyid, sig })) });

export const isEnvelope = (line: string): boolean => line.startsWith('{"payloadType":');

/** @throws EvidenceError EVIDENCE_FORMAT if the line is not exactly what a writer makes */
export const parseHeader = (line: string): Header => parseLine(line, headerSchema, (header) => JSON.stringify(header));

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** @throws EvidenceError EVIDENCE_FORMAT if the line, or its payload, is not exactly what a writer makes */
export function parseEnvelope(line: string): { envelope: Envelope; statement: Statement } {
  const envelope = parseLine(line, envelopeSchema, formatEnvelope);
  let text: string;
  try {
    text = utf8.decode(Buffer.from(envelope.payload, 'base64'));
  } catch (cause) {
    throw new EvidenceError('EVIDENCE_FORMAT', 'the payload is not UTF-8', { cause });
  }
  return { envelope, statement: parseLine(text, statementSchema, (statement) => JSON.stringify(statement)) };
}
