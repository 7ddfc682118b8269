/**
 * avsc types whose arrays take no more memory than the message that claims them.
 *
 * avsc makes room for as many items as a message announces before it reads one: twenty bytes can ask for hundreds of megabytes.
 * Ours first compare the number with the bytes that are left, since each item takes at least one. Schemas with items that take
 * none, and with maps (which nobody here uses and which have the same hole), are refused before a type is made of them.
 */
import avro from 'avsc';
import type { BoundedTap } from './bounded-tap.ts';
import { SchemaError } from './errors.ts';

interface ItemReader {
  _read(tap: BoundedTap): unknown;
  _skip(tap: BoundedTap): void;
}

/** avsc's reading methods are bound either to a type or to a resolver of it; both have the reader of their items. */
class BoundedArrayType extends avro.types.ArrayType {
  _read(this: { itemsType: unknown }, tap: BoundedTap): unknown[] {
    const items = this.itemsType as ItemReader;
    const values: unknown[] = [];
    for (let count = tap.readCount(); count > 0; count = tap.readCount()) {
      while (count-- > 0) values.push(items._read(tap));
    }
    return values;
  }

  _skip(this: { itemsType: unknown }, tap: BoundedTap): void {
    const items = this.itemsType as ItemReader;
    for (let count = tap.readCount(); count > 0; count = tap.readCount()) {
      while (count-- > 0) items._skip(tap);
    }
  }
}

function takesNoBytes(schema: unknown): boolean {
  if (schema === 'null') return true;
  if (typeof schema !== 'object' || schema === null || Array.isArray(schema)) return false;
  const record = schema as { type?: unknown; fields?: unknown; size?: unknown };
  if (record.type === 'fixed') return record.size === 0;
  if (record.type !== 'record') return takesNoBytes(record.type);
  return (record.fields as { type: unknown }[]).every((field) => takesNoBytes(field.type));
}

/** @throws SchemaError WRONG_SCHEMA for what could claim more than it brings */
function refuseUnbounded(schema: unknown, named: Set<string>): void {
  if (Array.isArray(schema)) {
    for (const part of schema) refuseUnbounded(part, named);
    return;
  }
  if (typeof schema !== 'object' || schema === null) return;
  const record = schema as Record<string, unknown>;
  if (record['type'] === 'map') throw new SchemaError('WRONG_SCHEMA', 'maps are not read');
  if (takesNoBytes(record) && typeof record['name'] === 'string') named.add(record['name']);
  const items = record['items'];
  if (record['type'] === 'array' && (takesNoBytes(items) || (typeof items === 'string' && named.has(items)))) {
    throw new SchemaError('WRONG_SCHEMA', 'an array of items that take no bytes is not read');
  }
  for (const [key, part] of Object.entries(record)) if (key !== 'default') refuseUnbounded(part, named);
}

/** A type of a schema given as parsed JSON, safe to read untrusted messages with. @throws SchemaError WRONG_SCHEMA; avsc's Error */
export function boundedType(schema: unknown): avro.Type {
  refuseUnbounded(schema, new Set());
  return avro.Type.forSchema(
    schema as avro.Schema,
    {
      wrapUnions: 'never',
      typeHook: (part, options) =>
        (part as { type?: unknown } | null)?.type === 'array'
          ? new BoundedArrayType(part as avro.Schema, options)
          : undefined,
    } as Partial<avro.ForSchemaOptions>,
  );
}
