/**
 * A frame of which much was encoded before. What a violation says of its counter (kind to counterEpoch) and of whose interface it is (interfaceName to
 * pod) is more than half of its bytes, and the same each time a collector tells of the counter: it is written once and copied from then on.
 *
 * Place in the path: collector → here → publish. It is Avro's own encoder, with a schema in which these fields are one piece of bytes that is written as
 * it is; what goes over the bus is what encodeViolationFrame makes of the frame, byte for byte.
 */
import avro from 'avsc';
import { limitedType } from '../codec/bounded-types.ts';
import { encoderOf } from '../codec/codec.ts';
import { CURRENT } from '../codec/registry.ts';
import { CURRENT_SCHEMAS } from '../generated/schemas.gen.ts';
import type { Violation, ViolationFrame } from '../generated/types.gen.ts';

const OF_COUNTER = ['kind', 'vector', 'action', 'state', 'counterEpoch'] as const;
const OF_OWNER = ['interfaceName', 'ifindex', 'generation', 'pod'] as const;

/** A violation that may have the bytes of what it says of its counter and of whose interface it is; they must be those of its fields. */
export type ToldViolation = Violation & { toldCounter?: Buffer | null; toldOwner?: Buffer | null };

interface Field {
  name: string;
  type: unknown;
}

/** Written as it is, however long. */
class WrittenType extends avro.types.FixedType {
  _write(tap: { writeFixed(bytes: Buffer, length: number): void }, bytes: Buffer): void {
    tap.writeFixed(bytes, bytes.length);
  }
}

/** The fields with one piece of bytes in the place of some that follow one another. */
function replaced(fields: readonly Field[], names: readonly string[], by: string): Field[] {
  const first = fields.findIndex(({ name }) => name === names[0]);
  const found = fields.slice(first, first + names.length).map(({ name }) => name);
  if (found.join() !== names.join()) throw new Error(`the fields ${names.join()} do not follow one another`);
  const written = { name: by, type: { type: 'fixed', name: by, size: 1 } };
  return [...fields.slice(0, first), written, ...fields.slice(first + names.length)];
}

/** A schema of some fields of a violation by themselves. */
const partOf = (fields: readonly Field[], names: readonly string[]) =>
  limitedType({ type: 'record', name: 'Violation', fields: fields.filter(({ name }) => names.includes(name)) });

function makeTypes() {
  const text = CURRENT_SCHEMAS.find(({ name }) => name === 'ViolationFrame')?.text as string;
  const schema = JSON.parse(text) as { fields: { name: string; type: { items: { fields: Field[] } } }[] };
  const violation = schema.fields.find(({ name }) => name === 'violations')?.type.items as { fields: Field[] };
  const counter = partOf(violation.fields, OF_COUNTER);
  const owner = partOf(violation.fields, OF_OWNER);
  violation.fields = replaced(replaced(violation.fields, OF_COUNTER, 'toldCounter'), OF_OWNER, 'toldOwner');
  const frame = limitedType(schema, (part, options) =>
    (part as { type?: unknown } | null)?.type === 'fixed'
      ? new WrittenType(part as avro.Schema, options as never)
      : undefined,
  );
  return { counter, owner, frame };
}

let types: ReturnType<typeof makeTypes> | null = null;
function typesOnce() {
  types ??= makeTypes();
  return types;
}

/** `toldCounter` of a violation. */
export const tellCounter = (violation: Pick<Violation, (typeof OF_COUNTER)[number]>): Buffer =>
  typesOnce().counter.toBuffer(violation);
/** `toldOwner` of a violation. */
export const tellOwner = (violation: Pick<Violation, (typeof OF_OWNER)[number]>): Buffer =>
  typesOnce().owner.toBuffer(violation);

const encode = encoderOf('ViolationFrame', CURRENT.ViolationFrame.fingerprint, () => typesOnce().frame);

/**
 * Encodes a frame as encodeViolationFrame does; a violation that lacks written parts is given them. The Buffer is the caller's own.
 * @throws SchemaError INVALID_VALUE | TOO_LARGE
 */
export function encodeToldFrame(frame: Omit<ViolationFrame, 'violations'> & { violations: ToldViolation[] }): Buffer {
  for (const violation of frame.violations) {
    violation.toldCounter ??= tellCounter(violation);
    violation.toldOwner ??= tellOwner(violation);
  }
  return encode(frame);
}
