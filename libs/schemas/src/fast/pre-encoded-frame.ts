/**
 * Encodes frames from parts that were encoded before. All violations of a counter repeat the fields
 * of the counter (kind to counterEpoch) and of its interface (interfaceName to pod). They are more
 * than half of the bytes, so the collector encodes them once and copies them into each frame.
 *
 * Data path: collector → here → publish. Invariant: the bytes are those of encodeViolationFrame.
 */
import avro from 'avsc';
import { limitedType } from '../codec/bounded-types.ts';
import { encoderOf } from '../codec/codec.ts';
import { CURRENT } from '../codec/registry.ts';
import { CURRENT_SCHEMAS } from '../generated/schemas.gen.ts';
import type { Violation, ViolationFrame } from '../generated/types.gen.ts';

const COUNTER_FIELDS = ['kind', 'vector', 'action', 'state', 'counterEpoch'] as const;
const OWNER_FIELDS = ['interfaceName', 'ifindex', 'generation', 'pod'] as const;

/** A violation with encoded parts. They must be the encoding of its fields; null: not encoded yet. */
export type PreEncodedViolation = Violation & { encodedCounter?: Buffer | null; encodedOwner?: Buffer | null };

interface Field {
  name: string;
  type: unknown;
}

/** Copies the bytes, whatever their length. */
class EncodedType extends avro.types.FixedType {
  _write(tap: { writeFixed(bytes: Buffer, length: number): void }, bytes: Buffer): void {
    tap.writeFixed(bytes, bytes.length);
  }
}

/** Replaces adjacent fields by one field of encoded bytes. */
function replaceFields(fields: readonly Field[], names: readonly string[], by: string): Field[] {
  const first = fields.findIndex(({ name }) => name === names[0]);
  const found = fields.slice(first, first + names.length).map(({ name }) => name);
  if (found.join() !== names.join()) throw new Error(`the fields ${names.join()} are not adjacent in the schema`);
  const encoded = { name: by, type: { type: 'fixed', name: by, size: 1 } };
  return [...fields.slice(0, first), encoded, ...fields.slice(first + names.length)];
}

/** A record of some fields of a violation. */
const partType = (fields: readonly Field[], names: readonly string[]) =>
  limitedType({ type: 'record', name: 'Violation', fields: fields.filter(({ name }) => names.includes(name)) });

function makeTypes() {
  const text = CURRENT_SCHEMAS.find(({ name }) => name === 'ViolationFrame')?.text as string;
  const schema = JSON.parse(text) as { fields: { name: string; type: { items: { fields: Field[] } } }[] };
  const violation = schema.fields.find(({ name }) => name === 'violations')?.type.items as { fields: Field[] };
  const counter = partType(violation.fields, COUNTER_FIELDS);
  const owner = partType(violation.fields, OWNER_FIELDS);
  violation.fields = replaceFields(violation.fields, COUNTER_FIELDS, 'encodedCounter');
  violation.fields = replaceFields(violation.fields, OWNER_FIELDS, 'encodedOwner');
  const frame = limitedType(schema, (part, options) =>
    (part as { type?: unknown } | null)?.type === 'fixed'
      ? new EncodedType(part as avro.Schema, options as never)
      : undefined,
  );
  return { counter, owner, frame };
}

let cachedTypes: ReturnType<typeof makeTypes> | null = null;
function types() {
  cachedTypes ??= makeTypes();
  return cachedTypes;
}

/** `encodedCounter` of a violation. */
export const encodeCounterPart = (violation: Pick<Violation, (typeof COUNTER_FIELDS)[number]>): Buffer =>
  types().counter.toBuffer(violation);
/** `encodedOwner` of a violation. */
export const encodeOwnerPart = (violation: Pick<Violation, (typeof OWNER_FIELDS)[number]>): Buffer =>
  types().owner.toBuffer(violation);

const encode = encoderOf('ViolationFrame', CURRENT.ViolationFrame.fingerprint, () => types().frame);

/**
 * Encodes a frame and sets the missing parts of its violations. The caller owns the Buffer.
 * @throws SchemaError INVALID_VALUE | TOO_LARGE
 */
export function encodePreEncodedFrame(
  frame: Omit<ViolationFrame, 'violations'> & { violations: PreEncodedViolation[] },
): Buffer {
  for (const violation of frame.violations) {
    violation.encodedCounter ??= encodeCounterPart(violation);
    violation.encodedOwner ??= encodeOwnerPart(violation);
  }
  return encode(frame);
}
