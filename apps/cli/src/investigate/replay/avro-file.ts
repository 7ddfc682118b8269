/**
 * Frames as an Avro object container file
 * (https://avro.apache.org/docs/1.11.1/specification/#object-container-files). Pure. The sync
 * marker is a hash of the schema, so that the same frames produce the same bytes.
 */
import { createHash } from 'node:crypto';
import { CURRENT_SCHEMAS, encodeViolationFrame, type ViolationFrame } from '@bailiff/schemas';

/** Marker and fingerprint before the body of a single-object message. */
const SINGLE_OBJECT_HEAD = 10;
const schemaText = CURRENT_SCHEMAS.map(({ text }) => text).find(
  (text) => (JSON.parse(text) as { name: string }).name === 'ViolationFrame',
) as string;
const sync = createHash('sha256').update(schemaText).digest().subarray(0, 16);

/** Zigzag and base 128, Avro's encoding of a long. For counts and lengths up to 2^31. */
function long(value: number): Buffer {
  const bytes: number[] = [];
  for (let left = value * 2; ; left = Math.floor(left / 128)) {
    if (left < 128) return Buffer.from([...bytes, left]);
    bytes.push((left % 128) | 128);
  }
}

const text = (value: string): Buffer => Buffer.concat([long(Buffer.byteLength(value)), Buffer.from(value, 'utf8')]);

/** The file header. */
export function avroFileHead(): Buffer {
  const metadata = [text('avro.codec'), text('null'), text('avro.schema'), text(schemaText)];
  return Buffer.concat([Buffer.from('Obj\u0001', 'latin1'), long(2), ...metadata, long(0), sync]);
}

/** A block of one frame. */
export function avroFileBlock(frame: ViolationFrame): Buffer {
  const body = encodeViolationFrame(frame).subarray(SINGLE_OBJECT_HEAD);
  return Buffer.concat([long(1), long(body.length), body, sync]);
}
