/**
 * Schemas of messages, as anyone can store them under any fingerprint. Pure.
 *
 * A fingerprint has 64 bits and no secret: another schema with the same one is made within a second. So a schema that this
 * version knows must be that schema. Another one is the word of the exporter, and what it reads is not checked.
 */
import { CURRENT_SCHEMAS, canonicalForm, fingerprintHex, MAX_SCHEMA_BYTES, RELEASED_SCHEMAS } from '@bailiff/schemas';

const KNOWN = new Map([...RELEASED_SCHEMAS, ...CURRENT_SCHEMAS].map(({ fingerprint, text }) => [fingerprint, text]));

/** Whether this version knows the schema of a fingerprint. */
export const isKnownSchema = (fingerprint: string): boolean => KNOWN.has(fingerprint);

/** Whether a text is an Avro schema with this fingerprint, and the one that is known for it, if one is. */
export function hasFingerprint(text: string, fingerprint: string): boolean {
  if (text.length > MAX_SCHEMA_BYTES) return false;
  try {
    const schema: unknown = JSON.parse(text);
    const known = KNOWN.get(fingerprint);
    if (known !== undefined) return canonicalForm(schema) === canonicalForm(JSON.parse(known));
    return fingerprintHex(schema) === fingerprint;
  } catch {
    // Not JSON, no schema, too long, or nested too deep.
    return false;
  }
}
