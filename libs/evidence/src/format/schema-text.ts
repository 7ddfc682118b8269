/** Schemas of messages, as anyone can store them under any fingerprint. Pure. */
import { fingerprintHex, MAX_SCHEMA_BYTES } from '@bailiff/schemas';

/** Whether a text is an Avro schema with this fingerprint. */
export function hasFingerprint(text: string, fingerprint: string): boolean {
  if (text.length > MAX_SCHEMA_BYTES) return false;
  try {
    return fingerprintHex(JSON.parse(text)) === fingerprint;
  } catch {
    // Not JSON, no schema, or nested too deep.
    return false;
  }
}
