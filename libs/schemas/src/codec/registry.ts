/**
 * Which schemas a reader knows, by fingerprint, and how each is read as today's types.
 *
 * Place in the path: codec.ts asks it with the fingerprint of every message. The current and all released schemas are known from
 * the start; others come from a lookup (the bus's `bailiff_schemas`), once each, and only if the text has the fingerprint it
 * was asked for. Bounds: MAX_SCHEMAS learned, MAX_SCHEMA_BYTES a text; a failed lookup is not repeated within RETRY_MS.
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

/** Learned schemas that are kept. A fleet writes three kinds in a handful of versions; more than this is not a fleet. */
export const MAX_SCHEMAS = 128;
/** Largest schema text that is looked at. Ours are below 4 kB. */
export const MAX_SCHEMA_BYTES = 64 * 1024;
/** How long a fingerprint that could not be found is taken as unknown without asking again. */
export const RETRY_MS = 10_000;

/** Reads one message body: what avsc's types and resolvers have in common. */
export interface BodyReader {
  _read(tap: unknown, lazy?: boolean): unknown;
}

export interface KnownSchema {
  name: MessageName;
  fingerprint: string;
  reader: BodyReader;
}

/** Asks for the text of a schema by the hex of its fingerprint; null when there is none. */
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

/** What this build writes. A type is built when it is first used: a process mostly writes one kind and reads another. */
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

/** Texts whose fingerprints are known: released ones, then what this build writes. */
const BUILT_IN = new Map([...RELEASED_SCHEMAS, ...CURRENT_SCHEMAS].map((schema) => [schema.fingerprint, schema.text]));

/** What messages are read as, where that is not today's type; and by the fingerprint of their schema, readers that know how it is done faster. */
export interface ReadAs {
  types: Partial<Record<MessageName, avro.Type>>;
  readers: Readonly<Record<string, BodyReader>>;
}

/** Builds the reader of a schema text that comes from elsewhere. @throws SchemaError WRONG_SCHEMA */
function learn(text: string, expected: string, readAs: ReadAs): KnownSchema {
  if (text.length > MAX_SCHEMA_BYTES) throw new SchemaError('WRONG_SCHEMA', 'the schema text is too long', expected);
  try {
    const schema: unknown = JSON.parse(text);
    const fingerprint = fingerprintHex(schema);
    if (fingerprint !== expected) {
      throw new SchemaError('WRONG_SCHEMA', `the text found for ${expected} has fingerprint ${fingerprint}`, expected);
    }
    return readerOf(schema, fingerprint, readAs);
  } catch (cause) {
    if (cause instanceof SchemaError) throw cause;
    throw new SchemaError('WRONG_SCHEMA', `cannot be read: ${(cause as Error).message}`, expected, { cause });
  }
}

function readerOf(schema: unknown, fingerprint: string, readAs: ReadAs): KnownSchema {
  const name = shortName(schema) as MessageName;
  const current = Object.hasOwn(CURRENT, name) ? CURRENT[name] : undefined;
  if (!current) throw new SchemaError('WRONG_SCHEMA', `"${name}" is none of our messages`, fingerprint);
  const faster = readAs.readers[fingerprint];
  if (faster) return { name, fingerprint, reader: faster };
  const writer = current.fingerprint === fingerprint ? current.type : boundedType(schema);
  const wanted = readAs.types[name] ?? current.type;
  const reader = wanted === writer ? writer : wanted.createResolver(writer);
  return { name, fingerprint, reader: reader as unknown as BodyReader };
}

export class SchemaRegistry {
  private readonly known = new Map<string, KnownSchema>();
  private readonly pending = new Map<string, Promise<KnownSchema>>();
  private readonly missing = new Map<string, { error: SchemaError; until: number }>();
  private readonly lookup: SchemaLookup | null;
  private readonly nowMs: () => number;
  private readonly readAs: ReadAs;
  /** Schemas that were learned from the lookup. */
  learned = 0;

  /**
   * @param lookup where unknown fingerprints are asked for; without it they stay unknown.
   * @param readAs see frame-projection.ts
   */
  constructor(
    lookup: SchemaLookup | null = null,
    nowMs: () => number = Date.now,
    readAs: ReadAs = { types: {}, readers: {} },
  ) {
    this.lookup = lookup;
    this.nowMs = nowMs;
    this.readAs = readAs;
  }

  /** What is known now, without asking anybody. */
  peek(fingerprint: string): KnownSchema | undefined {
    const known = this.known.get(fingerprint);
    if (known) return known;
    const text = BUILT_IN.get(fingerprint);
    if (text === undefined) return undefined;
    const schema = readerOf(JSON.parse(text), fingerprint, this.readAs);
    this.known.set(fingerprint, schema);
    return schema;
  }

  /** Finds a schema, asking the lookup once. @throws SchemaError UNKNOWN_FINGERPRINT | WRONG_SCHEMA, or what the lookup throws */
  async resolve(fingerprint: string): Promise<KnownSchema> {
    const known = this.peek(fingerprint);
    if (known) return known;
    const missing = this.missing.get(fingerprint);
    if (missing && missing.until > this.nowMs()) throw missing.error;
    let pending = this.pending.get(fingerprint);
    if (!pending) {
      pending = this.ask(fingerprint).finally(() => this.pending.delete(fingerprint));
      this.pending.set(fingerprint, pending);
    }
    return pending;
  }

  private async ask(fingerprint: string): Promise<KnownSchema> {
    // A lookup that fails (the bus is away) says nothing about the schema, so its error passes and nothing is remembered.
    const text = this.lookup ? await this.lookup(fingerprint) : null;
    try {
      if (text === null) throw unknownFingerprint(fingerprint);
      const schema = learn(text, fingerprint, this.readAs);
      if (this.learned >= MAX_SCHEMAS) throw new SchemaError('WRONG_SCHEMA', 'too many schemas', fingerprint);
      this.learned += 1;
      this.known.set(fingerprint, schema);
      return schema;
    } catch (error) {
      if (this.missing.size >= MAX_SCHEMAS) this.missing.clear();
      if (error instanceof SchemaError) this.missing.set(fingerprint, { error, until: this.nowMs() + RETRY_MS });
      throw error;
    }
  }
}

export function unknownFingerprint(fingerprint: string): SchemaError {
  return new SchemaError('UNKNOWN_FINGERPRINT', `no schema is known for fingerprint ${fingerprint}`, fingerprint);
}
