/**
 * Avro types for untrusted messages: memory is bounded by the size of the message, and strings and
 * lists by limits.ts.
 *
 * avsc allocates as many items as a message announces before it reads one: twenty bytes can request
 * hundreds of megabytes. These types compare the number with the remaining bytes first, because an
 * item has at least one. Schemas with empty items or with maps are rejected.
 */
import avro from 'avsc';
import type { BoundedTap } from './bounded-tap.ts';
import { SchemaError } from './errors.ts';
import { isTooLong, type ListLimit, listLimit, listTooLong, type TextLimit, textLimit, textTooLong } from './limits.ts';

interface ItemReader {
  _read(tap: BoundedTap): unknown;
  _skip(tap: BoundedTap): void;
}

/** avsc binds reading methods to a type or to a resolver of it. Both have the reader of the items. */
interface ArrayReader {
  itemsType: unknown;
}

/** Reading methods of an array. @param limit null: only the bytes of the message limit it */
function arrayReading(limit: ListLimit | null) {
  const next = (tap: BoundedTap, before: number) => (limit === null ? tap.readCount() : tap.readItems(limit, before));
  return {
    read(this: ArrayReader, tap: BoundedTap): unknown[] {
      const items = this.itemsType as ItemReader;
      const values: unknown[] = [];
      for (let count = next(tap, 0); count > 0; count = next(tap, values.length)) {
        while (count-- > 0) values.push(items._read(tap));
      }
      return values;
    },
    skip(this: ArrayReader, tap: BoundedTap): void {
      const items = this.itemsType as ItemReader;
      let skipped = 0;
      for (let count = next(tap, 0); count > 0; count = next(tap, skipped)) {
        skipped += count;
        while (count-- > 0) items._skip(tap);
      }
    },
  };
}

function arrayType(schema: avro.Schema, limit: ListLimit | null, options: unknown): avro.Type {
  const { read, skip } = arrayReading(limit);
  // The limit is in a closure, because avsc freezes its types.
  class BoundedArrayType extends avro.types.ArrayType {
    _write(tap: Writer, value: unknown): void {
      if (limit !== null && Array.isArray(value) && value.length > limit.items) throw listTooLong(limit, value.length);
      (avro.types.ArrayType.prototype as unknown as Writing)._write.call(this, tap, value);
    }
  }
  Object.assign(BoundedArrayType.prototype, { _read: read, _skip: skip });
  return new BoundedArrayType(schema, options as never);
}

interface Writer {
  writeString(text: string): void;
  writeBytes(bytes: Buffer): void;
}
interface Writing {
  _write(this: unknown, tap: Writer, value: unknown): void;
}

const { _write: writeString } = avro.types.StringType.prototype as unknown as Writing;

function stringType(limit: TextLimit): avro.Type {
  /** UTF-16 units that never exceed the limit. */
  const short = Math.floor(limit.bytes / 3);
  class LimitedStringType extends avro.types.StringType {
    _read(tap: BoundedTap): string {
      return tap.readText(limit);
    }
    _skip(tap: BoundedTap): void {
      tap.skipText(limit);
    }
    _write(tap: Writer, value: unknown): void {
      // avsc rejects a value that is no string, with its own message.
      if (typeof value !== 'string') {
        writeString.call(this, tap, value);
        return;
      }
      if (value.length > short && isTooLong(value, limit.bytes)) throw textTooLong(limit, Buffer.byteLength(value));
      tap.writeString(value);
    }
  }
  return new LimitedStringType();
}

function bytesType(limit: TextLimit): avro.Type {
  class LimitedBytesType extends avro.types.BytesType {
    _read(tap: BoundedTap): Buffer {
      return tap.readLimitedBytes(limit);
    }
    _skip(tap: BoundedTap): void {
      tap.skipText(limit);
    }
    _write(tap: Writer, value: unknown): void {
      if (Buffer.isBuffer(value) && value.length > limit.bytes) throw textTooLong(limit, value.length);
      (avro.types.BytesType.prototype as unknown as Writing)._write.call(this, tap, value);
    }
  }
  return new LimitedBytesType();
}

interface Part {
  type?: unknown;
  name?: unknown;
  items?: unknown;
  fields?: { name: string; type: unknown }[];
  [LIMIT]?: TextLimit | ListLimit;
}
/** Key under which `limited` passes a limit to `limitHook`. */
const LIMIT = Symbol('limit');

/** Adds the limits of limits.ts to the strings and lists of a schema. */
function limited(schema: unknown, record = '', field = ''): unknown {
  if (Array.isArray(schema)) return schema.map((part) => limited(part, record, field));
  if (schema === 'string' || schema === 'bytes') {
    const limit = textLimit(record, field);
    return limit === undefined ? schema : { type: schema, [LIMIT]: limit };
  }
  if (typeof schema !== 'object' || schema === null) return schema;
  const part = schema as Part;
  if (part.type === 'array') {
    const limit = listLimit(record, field);
    return { ...part, items: limited(part.items, record, field), ...(limit === undefined ? {} : { [LIMIT]: limit }) };
  }
  if (part.type !== 'record' || part.fields === undefined) return schema;
  const name = String(part.name).split('.').at(-1) as string;
  return { ...part, fields: part.fields.map((one) => ({ ...one, type: limited(one.type, name, one.name) })) };
}

function limitHook(schema: unknown, options: unknown): avro.Type | undefined {
  const part = schema as Part | null;
  const limit = part?.[LIMIT];
  if (part?.type === 'array') return arrayType(part as avro.Schema, (limit as ListLimit | undefined) ?? null, options);
  if (limit === undefined) return undefined;
  return part?.type === 'bytes' ? bytesType(limit as TextLimit) : stringType(limit as TextLimit);
}

function takesNoBytes(schema: unknown): boolean {
  if (schema === 'null') return true;
  if (typeof schema !== 'object' || schema === null || Array.isArray(schema)) return false;
  const record = schema as { type?: unknown; fields?: unknown; size?: unknown };
  if (record.type === 'fixed') return record.size === 0;
  if (record.type !== 'record') return takesNoBytes(record.type);
  return (record.fields as { type: unknown }[]).every((field) => takesNoBytes(field.type));
}

/** @throws SchemaError WRONG_SCHEMA if a value may announce more items than it has bytes */
function refuseUnbounded(schema: unknown, named: Set<string>): void {
  if (Array.isArray(schema)) {
    for (const part of schema) refuseUnbounded(part, named);
    return;
  }
  if (typeof schema !== 'object' || schema === null) return;
  const record = schema as Record<string, unknown>;
  if (record['type'] === 'map') throw new SchemaError('WRONG_SCHEMA', 'maps are not supported');
  if (takesNoBytes(record) && typeof record['name'] === 'string') named.add(record['name']);
  const items = record['items'];
  if (record['type'] === 'array' && (takesNoBytes(items) || (typeof items === 'string' && named.has(items)))) {
    throw new SchemaError('WRONG_SCHEMA', 'arrays of empty items are not supported');
  }
  for (const [key, part] of Object.entries(record)) if (key !== 'default') refuseUnbounded(part, named);
}

/** Creates a type for a part of a schema; undefined: avsc creates it. */
type TypeHook = (schema: unknown, options: unknown) => avro.Type | undefined;

/**
 * Type of a parsed schema that writes within the limits. For schemas of this build.
 * @param hook called first
 */
export function limitedType(schema: unknown, hook: TypeHook = () => undefined): avro.Type {
  return avro.Type.forSchema(
    limited(schema) as avro.Schema,
    {
      wrapUnions: 'never',
      typeHook: (part, options) => hook(part, options) ?? limitHook(part, options),
    } as Partial<avro.ForSchemaOptions>,
  );
}

/**
 * Type of a parsed schema, safe for untrusted messages. @throws SchemaError WRONG_SCHEMA; avsc's
 * Error
 */
export function boundedType(schema: unknown): avro.Type {
  refuseUnbounded(schema, new Set());
  return limitedType(schema);
}
