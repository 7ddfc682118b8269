/**
 * A frame with only what judging looks at. Half of a violation is for people and other readers; not building it makes reading a frame much
 * cheaper, and the reader of every violation of a cluster is where that counts.
 *
 * Place in the path: VIOLATIONS → here → the fold (libs/correlation). Frames of the schema that this build writes are read by fast-frame-reader.ts. All others are
 * read by Avro's own schema resolution with a reader's schema that has fewer fields, so what is left out is skipped. A message is refused by the same
 * rules as by a full reader; only a field that is skipped may hold a symbol or a number that it would refuse.
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

/** What the general way reads frames as. */
export function projectedFrameType() {
  const text = CURRENT_SCHEMAS.map((schema) => schema.text).find((t) => JSON.parse(t).name === 'ViolationFrame');
  return boundedType(reduced(JSON.parse(text as string)));
}

/** A registry that reads frames, of whatever version, as ProjectedFrame. For decodeProjectedFrame only. */
export class ProjectedFrameRegistry extends SchemaRegistry {
  constructor(lookup: SchemaLookup | null = null, nowMs: () => number = Date.now) {
    super(lookup, nowMs, {
      types: { ViolationFrame: projectedFrameType() },
      readers: { [READ_FINGERPRINT]: new FastFrameReader() },
    });
  }
}

/** Decodes what judging looks at. @throws SchemaError as decodeViolationFrame */
export function decodeProjectedFrame(message: Uint8Array, registry: ProjectedFrameRegistry): ProjectedFrame {
  return decodeViolationFrame(message, registry);
}
