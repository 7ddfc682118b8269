/**
 * Finds the bytes of a message that can be redacted: arguments of programs, and addresses of packets and
 * sockets. Pure. Avro is read by its schema without decoding it, so every version of a message is covered.
 *
 * A range holds a whole string or byte string with its length, so that a reader can decode what replaces it.
 * Bounds: MAX_DEPTH, and MAX_VALUES values, because a schema can be recursive and items can have no bytes; MAX_RANGES, so
 * that the line of a message is within MAX_LINE_BYTES.
 */
import { listLimit, textLimit } from '@bailiff/schemas';
import { EvidenceError } from '../error.ts';
import type { SensitiveClass, SensitiveRange } from './record.ts';

/** Fields by the name of their record. A list is redacted item by item. */
const FIELDS: Readonly<Record<string, Readonly<Record<string, SensitiveClass>>>> = {
  Violation: { detail: 'address' },
  PacketSample: {
    claimedMac: 'address',
    expectedMac: 'address',
    claimedAddress: 'address',
    expectedAddress: 'address',
    destinationAddress: 'address',
    head: 'address',
  },
  OperationSample: { address: 'address', arguments: 'argument', subject: 'argument' },
  EvidenceProcess: { subject: 'argument' },
  CapturedProcess: { args: 'argument' },
  CapturedSocket: { local: 'address', remote: 'address' },
};
/** Marker and fingerprint before the body of a single-object message. */
const SINGLE_OBJECT_HEAD = 10;

/** Values of a message; one of 1 MiB has fewer, except with a hostile schema. */
const MAX_VALUES = 2_000_000;
/** Of values in each other. */
const MAX_DEPTH = 64;
/** A capture has at most 256 arguments of 256 processes, and 512 addresses. Each range takes 70 bytes of the line. */
const MAX_RANGES = 256 * 256 + 512;

/** A string or a list that no reader takes: it stops there, whatever follows. */
class BeyondLimits extends Error {}

/** What a field may contain, and whether it is redacted. */
interface Field {
  kind: SensitiveClass | null;
  bytes: number;
  items: number;
}
const PLAIN: Field = { kind: null, bytes: Number.POSITIVE_INFINITY, items: Number.POSITIVE_INFINITY };

const fieldOf = (record: string, name: string): Field => ({
  kind: FIELDS[record]?.[name] ?? null,
  bytes: textLimit(record, name)?.bytes ?? Number.POSITIVE_INFINITY,
  items: listLimit(record, name)?.items ?? Number.POSITIVE_INFINITY,
});

type Schema = string | Schema[] | { type: Schema | string; [key: string]: unknown };

class Walk {
  readonly #bytes: Buffer;
  readonly #named = new Map<string, Schema>();
  readonly ranges: SensitiveRange[] = [];
  at = SINGLE_OBJECT_HEAD;
  #values = 0;
  #depth = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  #skip(count: number): void {
    if (count < 0 || this.at + count > this.#bytes.length) throw new EvidenceError('EVIDENCE_FORMAT', 'cut off');
    this.at += count;
  }

  #long(): number {
    let value = 0;
    for (let shift = 1; shift < 2 ** 70; shift *= 128) {
      const byte = this.#bytes[this.at] ?? 0;
      this.#skip(1);
      value += (byte & 127) * shift;
      if (byte < 128) return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
    }
    throw new EvidenceError('EVIDENCE_FORMAT', 'a number has more than ten bytes');
  }

  value(schema: Schema, field: Field = PLAIN): void {
    if (++this.#values > MAX_VALUES || this.#depth >= MAX_DEPTH) {
      throw new EvidenceError('EVIDENCE_FORMAT', 'too many values, or too deep');
    }
    this.#depth++;
    this.#any(schema, field);
    this.#depth--;
  }

  #any(schema: Schema, field: Field): void {
    if (typeof schema === 'string') this.#plain(schema, field);
    else if (Array.isArray(schema)) {
      const branch = schema[this.#long()];
      if (branch === undefined) throw new EvidenceError('EVIDENCE_FORMAT', 'a union has no such branch');
      this.value(branch, field);
    } else if (schema.type === 'record') this.#record(schema);
    else if (schema.type === 'array' || schema.type === 'map') this.#items(schema, field);
    else if (schema.type === 'fixed') this.#skip(Number(schema['size']));
    else if (schema.type === 'enum') this.#long();
    else this.value(schema.type, field);
  }

  #plain(type: string, field: Field): void {
    if (type === 'string' || type === 'bytes') {
      const start = this.at;
      const length = this.#long();
      const { kind, bytes } = field;
      if (kind !== null && (length > bytes || this.ranges.length >= MAX_RANGES)) throw new BeyondLimits();
      this.#skip(length);
      if (kind !== null && this.at > start + 1) this.ranges.push({ start, end: this.at, class: kind });
    } else if (type === 'boolean') this.#skip(1);
    else if (type === 'int' || type === 'long') this.#long();
    else if (type === 'float' || type === 'double') this.#skip(type === 'float' ? 4 : 8);
    else if (type !== 'null') {
      const named = this.#named.get(type.slice(type.lastIndexOf('.') + 1));
      if (named === undefined) throw new EvidenceError('EVIDENCE_FORMAT', `the schema does not define ${type}`);
      this.value(named, field);
    }
  }

  #record(schema: { [key: string]: unknown }): void {
    const name = String(schema['name']).slice(String(schema['name']).lastIndexOf('.') + 1);
    for (const { name: field, type } of schema['fields'] as { name: string; type: Schema }[]) {
      this.value(type, fieldOf(name, field));
    }
  }

  #items(schema: { type: Schema | string; [key: string]: unknown }, field: Field): void {
    for (let items = 0; ; ) {
      let count = this.#long();
      if (count === 0) return;
      if (count < 0) {
        count = -count;
        this.#long();
      }
      items += count;
      if (items > field.items) throw new BeyondLimits();
      for (let index = 0; index < count; index++) {
        if (schema.type === 'map') this.#plain('string', PLAIN);
        this.value((schema.type === 'map' ? schema['values'] : schema['items']) as Schema, field);
      }
    }
  }

  /** Named types, which may be used by name after their definition. */
  define(schema: unknown): void {
    if (Array.isArray(schema)) for (const one of schema) this.define(one);
    if (typeof schema !== 'object' || schema === null) return;
    const { name, fields, type, items, values } = schema as Record<string, unknown>;
    if (typeof name === 'string' && typeof type === 'string') {
      this.#named.set(name.slice(name.lastIndexOf('.') + 1), schema as Schema);
    }
    for (const inner of [fields, type, items, values]) this.define(inner);
  }
}

/** @param schema JSON text of the writer's schema; null: not known */
export function sensitiveRanges(message: Uint8Array, schema: string | null): SensitiveRange[] {
  const whole: SensitiveRange[] = message.length === 0 ? [] : [{ start: 0, end: message.length, class: 'unreadable' }];
  if (schema === null) return whole;
  const walk = new Walk(Buffer.from(message.buffer, message.byteOffset, message.byteLength));
  try {
    const parsed = JSON.parse(schema) as Schema;
    walk.define(parsed);
    walk.value(parsed);
  } catch (error) {
    // What is before it stays, so that a reader of the redacted message stops there too.
    if (error instanceof BeyondLimits && walk.at < message.length)
      return [...walk.ranges, { start: walk.at, end: message.length, class: 'unreadable' }];
    // Also if the text is no schema: any client that writes messages can store one.
    return whole;
  }
  return walk.at === message.length ? walk.ranges : whole;
}

/** An address or a prefix, or a MAC, between quotes. */
const QUOTED_ADDRESS = /"((?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f]*:[0-9a-f:.]*[0-9a-f:])(?:\/\d{1,3})?)"/gi;

/** Addresses in a pod list. A range is what is between two quotes. */
export function addressesInJson(json: string): SensitiveRange[] {
  let [read, bytes] = [0, 0];
  return [...json.matchAll(QUOTED_ADDRESS)].map((match) => {
    bytes += Buffer.byteLength(json.slice(read, match.index));
    read = match.index;
    const start = bytes + 1;
    return { start, end: start + (match[1] as string).length, class: 'address' as const };
  });
}
