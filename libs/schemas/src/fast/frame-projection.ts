/**
 * Decodes frames with only the fields that correlation reads (projected-types.ts). The correlator
 * reads every violation of a cluster, and half of a violation is for other readers.
 *
 * Data path: VIOLATIONS → here → CorrelationEngine. fast-frame-reader.ts reads frames of the current
 * schema, Avro's schema resolution all others. Both reject the messages that a full reader rejects,
 * except an invalid symbol or number in a skipped field.
 */
import { boundedType } from '../codec/bounded-types.ts';
import { decodeViolationFrame } from '../codec/codec.ts';
import { type SchemaLookup, SchemaRegistry } from '../codec/registry.ts';
import { CURRENT_SCHEMAS } from '../generated/schemas.gen.ts';
import { FastFrameReader, READ_FINGERPRINT } from './fast-frame-reader.ts';
import { KEPT, type ProjectedFrame } from './projected-types.ts';

type Json = { [key: string]: Json } | Json[] | string | number | boolean | null;

/** The schema with only the kept fields of each record. */
function reduced(schema: Json): Json {
  if (Array.isArray(schema)) return schema.map(reduced);
  if (typeof schema !== 'object' || schema === null) return schema;
  const kept: readonly string[] | undefined = KEPT[schema['name'] as keyof typeof KEPT];
  const fields = schema['fields'] as { name: string; type: Json }[] | undefined;
  return {
    ...schema,
    ...(fields && kept
      ? { fields: fields.filter(({ name }) => kept.includes(name)).map((f) => ({ ...f, type: reduced(f.type) })) }
      : {}),
    ...(schema['items'] === undefined ? {} : { items: reduced(schema['items']) }),
    ...(typeof schema['type'] === 'object' ? { type: reduced(schema['type']) } : {}),
  };
}

/** The reader's schema for frames of other versions. */
export function projectedFrameType() {
  const text = CURRENT_SCHEMAS.map((schema) => schema.text).find((t) => JSON.parse(t).name === 'ViolationFrame');
  return boundedType(reduced(JSON.parse(text as string)));
}

/** Reads frames of every version as ProjectedFrame. For decodeProjectedFrame only. */
export class ProjectedFrameRegistry extends SchemaRegistry {
  constructor(lookup: SchemaLookup | null = null, nowMs: () => number = Date.now) {
    super(lookup, nowMs, {
      types: { ViolationFrame: projectedFrameType() },
      readers: { [READ_FINGERPRINT]: new FastFrameReader() },
    });
  }
}

/** Decodes the fields for correlation. @throws SchemaError as decodeViolationFrame */
export function decodeProjectedFrame(message: Uint8Array, registry: ProjectedFrameRegistry): ProjectedFrame {
  return decodeViolationFrame(message, registry);
}
