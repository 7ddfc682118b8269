/** Schemas of other versions, as the bus keeps them: `bailiff_schemas`, by fingerprint. */
import type { Bus } from '../connection/connect.ts';
import { openBucket } from './bucket.ts';

export const SCHEMAS_BUCKET = 'bailiff_schemas';

/** Key of a schema. @param fingerprint Rabin, in hex */
export const schemaKey = (fingerprint: string): string => `fp-${fingerprint}`;

/** For a reader's registry: the text of a schema, null where the bus does not know it. The function it answers throws BusError. */
export function schemaLookup(bus: Bus): (fingerprint: string) => Promise<string | null> {
  const bucket = openBucket(bus, SCHEMAS_BUCKET);
  return async (fingerprint) => (await bucket.get(schemaKey(fingerprint)))?.value.toString('utf8') ?? null;
}
