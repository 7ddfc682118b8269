/**
 * The value of a key of `bailiff_pods`: JSON or compressed JSON, distinguished by the first byte.
 *
 * Only a large snapshot is compressed, so ordinary ones stay readable for every client of the bus.
 * Bounds: MAX_SNAPSHOT_BYTES as stored, and MAX_SNAPSHOT_JSON_BYTES of JSON, also for a reader that
 * decompresses.
 */
import { deflateRawSync, inflateRawSync } from 'node:zlib';

/** Limit of a stored value in bytes; a larger one is refused and counted. */
export const MAX_SNAPSHOT_BYTES = 512 * 1024;
/** Limit of a snapshot in bytes of JSON: 10,000 nodes have 2 MB, 500 pods with sidecars 1 MB. */
export const MAX_SNAPSHOT_JSON_BYTES = 4 * 1024 * 1024;
/** JSON up to this size is not compressed. */
export const PLAIN_SNAPSHOT_BYTES = 256 * 1024;

/** Marks raw DEFLATE. No JSON text begins with this byte. */
const DEFLATED = 0x01;
/** Higher levels save 5 % and take three times as long. */
const LEVEL = 3;

/** @param json of a snapshot */
export function encodeSnapshotValue(json: string): Buffer {
  const plain = Buffer.from(json);
  if (plain.length <= PLAIN_SNAPSHOT_BYTES) return plain;
  return Buffer.concat([Buffer.of(DEFLATED), deflateRawSync(plain, { level: LEVEL })]);
}

/** JSON of a stored value. A value that exceeds the limit returns the reason, which is not JSON. */
export function decodeSnapshotValue(value: Uint8Array): string {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (bytes[0] !== DEFLATED) return bytes.toString('utf8');
  try {
    return inflateRawSync(bytes.subarray(1), { maxOutputLength: MAX_SNAPSHOT_JSON_BYTES }).toString('utf8');
  } catch (error) {
    return `compressed, cannot be inflated: ${(error as Error).message}`;
  }
}
