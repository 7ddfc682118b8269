/**
 * The schemas that a reader knows, by fingerprint, and the reader of each as the current types.
 *
 * codec.ts calls it for every message. The current and all released schemas are built in. Others come
 * from a lookup (`bailiff_schemas`), once each, and only if the text has the requested fingerprint.
 * Bounds: MAX_SCHEMAS learned schemas, MAX_SCHEMA_BYTES per text; a failed lookup is not repeated
 * within RETRY_MS. A writer of random fingerprints causes MAX_LOOKUPS lookups a minute, because each
 * delays the messages of other writers.
 */
import type avro from 'avsc';
import { CURRENT_SCHEMAS, RELEASED_SCHEMAS } from '../generated/schemas.gen.ts';
import type { Response, Verdict, ViolationFrame } from '../generated/types.gen.ts';
import { boundedType } from './bounded-types.ts';
import { fingerprintHex } from './canonical.ts';
import { SchemaError } from './errors.ts';

export interface Messages {
  ViolationFrame: ViolationFrame;
  Verdict: Verdict;
  Response: Response;
}
export type MessageName = keyof Messages;

/** Limit of learned schemas. A fleet writes three kinds in a few versions. */
export const MAX_SCHEMAS = 128;
/** Limit of a schema text. Current ones are below 4 kB. */
export const MAX_SCHEMA_BYTES = 64 * 1024;
/** An unknown fingerprint is looked up again after this time. */
export const RETRY_MS = 10_000;

/**
 * Lookups that a writer may cause within LOOKUP_WINDOW_MS without finding a schema. A fleet has three
 * kinds of messages in a few versions.
 */
export const MAX_LOOKUPS = 6;
/** The same for all writers together. */
export const MAX_LOOKUPS_OF_ALL = 60;
export const LOOKUP_WINDOW_MS = 60_000;

/** Reads a message body: the common part of avsc's types and resolvers. */
export interface BodyReader {
  _read(tap: unknown, lazy?: boolean): unknown;
}

export interface KnownSchema {
  name: MessageName;
  fingerprint: string;
  reader: BodyReader;
}

/** Looks up a schema text by the hex of its fingerprint; null: none exists. */
export type SchemaLookup = (fingerprint: string) => Promise<string | null>;

interface CurrentType {
  readonly name: MessageName;
  readonly fingerprint: string;
  readonly type: avro.Type;
}

const shortName = (schema: unknown): string =>
  String((schema as { name?: unknown }).name)
    .split('.')
    .at(-1) ?? '';

/** Schemas that this build writes. A type is built on first use: a process writes one or two kinds. */
export const CURRENT: Readonly<Record<MessageName, CurrentType>> = Object.fromEntries(
  CURRENT_SCHEMAS.map(({ name, fingerprint, text }) => {
    let type: avro.Type | null = null;
    const current = {
      name: name as MessageName,
      fingerprint,
      get type() {
        type ??= boundedType(JSON.parse(text));
        return type;
      },
    };
    return [name, current];
  }),
) as Record<MessageName, CurrentType>;

/** Built-in texts by fingerprint: released ones, then those that this build writes. */
const BUILT_IN = new Map([...RELEASED_SCHEMAS, ...CURRENT_SCHEMAS].map((schema) => [schema.fingerprint, schema.text]));

/**
 * Overrides: types to read messages as instead of the current ones, and faster readers by the
 * fingerprint of the writer's schema.
 */
export interface ReadAs {
  types: Partial<Record<MessageName, avro.Type>>;
  readers: Readonly<Record<string, BodyReader>>;
}

/** Builds the reader of a foreign schema text. @throws SchemaError WRONG_SCHEMA */
function learn(text: string, expected: string, readAs: ReadAs): KnownSchema {
  if (text.length > MAX_SCHEMA_BYTES) throw new SchemaError('WRONG_SCHEMA', 'the schema text is too long', expected);
  try {
    const schema: unknown = JSON.parse(text);
    const fingerprint = fingerprintHex(schema);
    if (fingerprint !== expected) {
      throw new SchemaError('WRONG_SCHEMA', `the text stored for ${expected} has fingerprint ${fingerprint}`, expected);
    }
    return readerOf(schema, fingerprint, readAs);
  } catch (cause) {
    if (cause instanceof SchemaError) throw cause;
    throw new SchemaError('WRONG_SCHEMA', `invalid schema: ${(cause as Error).message}`, expected, { cause });
  }
}

function readerOf(schema: unknown, fingerprint: string, readAs: ReadAs): KnownSchema {
  const name = shortName(schema) as MessageName;
  const current = Object.hasOwn(CURRENT, name) ? CURRENT[name] : undefined;
  if (!current) throw new SchemaError('WRONG_SCHEMA', `"${name}" is not a Bailiff message`, fingerprint);
  const faster = readAs.readers[fingerprint];
  if (faster) return { name, fingerprint, reader: faster };
  const writer = current.fingerprint === fingerprint ? current.type : boundedType(schema);
  const wanted = readAs.types[name] ?? current.type;
  const reader = wanted === writer ? writer : wanted.createResolver(writer);
  return { name, fingerprint, reader: reader as unknown as BodyReader };
}

export class SchemaRegistry {
  readonly #known = new Map<string, KnownSchema>();
  readonly #pending = new Map<string, Promise<KnownSchema>>();
  readonly #missing = new Map<string, { error: SchemaError; until: number }>();
  #lookups = { sinceMs: Number.NEGATIVE_INFINITY, ofAll: 0, ofWriter: new Map<string, number>() };
  readonly #lookup: SchemaLookup | null;
  readonly #nowMs: () => number;
  readonly #readAs: ReadAs;
  /** Number of schemas learned from the lookup. */
  learned = 0;
  /** Messages with an unknown fingerprint for which no lookup was left. */
  withheld = 0;

  /**
   * @param lookup for unknown fingerprints; null: they stay unknown
   * @param readAs see frame-projection.ts
   */
  constructor(
    lookup: SchemaLookup | null = null,
    nowMs: () => number = Date.now,
    readAs: ReadAs = { types: {}, readers: {} },
  ) {
    this.#lookup = lookup;
    this.#nowMs = nowMs;
    this.#readAs = readAs;
  }

  /** A known schema, without a lookup. */
  peek(fingerprint: string): KnownSchema | undefined {
    const known = this.#known.get(fingerprint);
    if (known) return known;
    const text = BUILT_IN.get(fingerprint);
    if (text === undefined) return undefined;
    const schema = readerOf(JSON.parse(text), fingerprint, this.#readAs);
    this.#known.set(fingerprint, schema);
    return schema;
  }

  /**
   * Finds a schema, with at most one lookup at a time. @param writer of the message: has a share of
   * the lookups
   * @throws SchemaError UNKNOWN_FINGERPRINT | WRONG_SCHEMA; errors of the lookup
   */
  async resolve(fingerprint: string, writer = ''): Promise<KnownSchema> {
    const known = this.peek(fingerprint);
    if (known) return known;
    const missing = this.#missing.get(fingerprint);
    if (missing && missing.until > this.#nowMs()) throw missing.error;
    let pending = this.#pending.get(fingerprint);
    if (!pending) {
      if (this.#lookup !== null && !this.#mayLookUp(writer)) {
        this.withheld += 1;
        throw unknownFingerprint(fingerprint, `, and ${writer} has used up its lookups`);
      }
      pending = this.#ask(fingerprint, writer).finally(() => this.#pending.delete(fingerprint));
      this.#pending.set(fingerprint, pending);
    }
    return pending;
  }

  #mayLookUp(writer: string): boolean {
    const nowMs = this.#nowMs();
    // Also if the clock was set back.
    if (Math.abs(nowMs - this.#lookups.sinceMs) >= LOOKUP_WINDOW_MS) {
      this.#lookups = { sinceMs: nowMs, ofAll: 0, ofWriter: new Map() };
    }
    const { ofAll, ofWriter } = this.#lookups;
    return ofAll < MAX_LOOKUPS_OF_ALL && (ofWriter.get(writer) ?? 0) < MAX_LOOKUPS;
  }

  async #ask(fingerprint: string, writer: string): Promise<KnownSchema> {
    // A lookup that fails (the bus is away) says nothing about the schema, so its error passes and nothing is remembered.
    const text = this.#lookup ? await this.#lookup(fingerprint) : null;
    try {
      if (text === null) throw unknownFingerprint(fingerprint);
      const schema = learn(text, fingerprint, this.#readAs);
      if (this.learned >= MAX_SCHEMAS) throw new SchemaError('WRONG_SCHEMA', 'too many schemas', fingerprint);
      this.learned += 1;
      this.#known.set(fingerprint, schema);
      return schema;
    } catch (error) {
      this.#lookups.ofAll += 1;
      this.#lookups.ofWriter.set(writer, (this.#lookups.ofWriter.get(writer) ?? 0) + 1);
      if (this.#missing.size >= MAX_SCHEMAS) this.#missing.clear();
      if (error instanceof SchemaError) this.#missing.set(fingerprint, { error, until: this.#nowMs() + RETRY_MS });
      throw error;
    }
  }
}

export function unknownFingerprint(fingerprint: string, more = ''): SchemaError {
  const text = `no schema is known for fingerprint ${fingerprint}${more}`;
  return new SchemaError('UNKNOWN_FINGERPRINT', text, fingerprint);
}
