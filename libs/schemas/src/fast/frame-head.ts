/**
 * Reads how many violations a frame announces, without decoding them. For readers that skip frames of a
 * node beyond its share and report how many violations these contained.
 *
 * The beginning of a frame is the same in all built-in schemas. Only the first block of the list is
 * read: every encoder of Bailiff writes one, and another one can announce less than it has.
 */
import { BoundedTap } from '../codec/bounded-tap.ts';
import { fingerprintIn } from '../codec/codec.ts';
import { SchemaError } from '../codec/errors.ts';
import { MAX_LIST, MAX_TEXT } from '../codec/limits.ts';
import { CURRENT_SCHEMAS, RELEASED_SCHEMAS } from '../generated/schemas.gen.ts';

const HEAD_BYTES = 10;
const FRAMES = new Set(
  [...CURRENT_SCHEMAS, ...RELEASED_SCHEMAS].flatMap(({ name, fingerprint }) =>
    name === 'ViolationFrame' ? fingerprint : [],
  ),
);
const { nodeName, bootId, collectorVersion } = MAX_TEXT.ViolationFrame;
const tap = new BoundedTap();

/** Null if the schema is not built in or the beginning is malformed. */
export function announcedViolations({ buffer, byteOffset, length }: Uint8Array): number | null {
  const message = Buffer.from(buffer, byteOffset, length);
  try {
    if (!FRAMES.has(fingerprintIn(message))) return null;
    tap.reset(message, HEAD_BYTES);
    tap.skipText(nodeName);
    tap.skipText(bootId);
    tap.skipLongs(2); // frameSequence, publishedAt
    tap.skipText(collectorVersion);
    return tap.readItems(MAX_LIST.ViolationFrame.violations, 0);
  } catch (error) {
    if (error instanceof SchemaError) return null;
    throw error;
  }
}
