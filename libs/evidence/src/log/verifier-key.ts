/** Verifier keys of logs, witnesses and exporters. Pure. */
import { parseVerifierKey as parseKey, type VerifierKey, VerifierKeyError } from '@bailiff/policy/note';
import { EvidenceError } from '../error.ts';

/** @throws EvidenceError EVIDENCE_KEY */
export function parseVerifierKey(text: string): VerifierKey {
  try {
    return parseKey(text);
  } catch (cause) {
    if (!(cause instanceof VerifierKeyError)) throw cause;
    throw new EvidenceError('EVIDENCE_KEY', cause.message, { cause });
  }
}
