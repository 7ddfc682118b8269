/** Verifier keys of logs, witnesses and exporters. Pure. */
import {
  type COSIGNATURE,
  parseVerifierKey as parseKey,
  type VerifierKey,
  VerifierKeyError,
} from '@bailiff/policy/note';
import { EvidenceError } from '../error.ts';

/** @param type COSIGNATURE: of a witness @throws EvidenceError EVIDENCE_KEY */
export function parseVerifierKey(text: string, type?: typeof COSIGNATURE): VerifierKey {
  try {
    return parseKey(text, type);
  } catch (cause) {
    if (!(cause instanceof VerifierKeyError)) throw cause;
    throw new EvidenceError('EVIDENCE_KEY', cause.message, { cause });
  }
}
