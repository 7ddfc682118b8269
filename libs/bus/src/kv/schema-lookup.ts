/** Looks up Avro schemas of other Bailiff versions in `bailiff_schemas`, by fingerprint. */
import type { Bus } from '../connection/connect.ts';
import { openBucket } from './bucket.ts';

export const SCHEMAS_BUCKET = 'bailiff_schemas';

/** Key of a schema. @param fingerprint Rabin fingerprint in hex */
export const schemaKey = (fingerprint: string): string => `fp-${fingerprint}`;

/**
 * Returns a look-up for a reader's registry: the text of a schema, or null if the bus does not have
 * it. The look-up throws BusError.
 */
export function schemaLookup(bus: Bus): (fingerprint: string) => Promise<string | null> {
  const bucket = openBucket(bus, SCHEMAS_BUCKET);
  return async (fingerprint) => (await bucket.get(schemaKey(fingerprint)))?.value.toString('utf8') ?? null;
}
