/**
 * Cosignatures of checkpoints (C2SP tlog-cosignature, Ed25519). A witness states with one that, at a time, the head was
 * the largest consistent one that it had seen of the log. Pure.
 */
import { type KeyObject, sign, verify } from 'node:crypto';
import {
  COSIGNATURE,
  isBy,
  type NoteSignature,
  parseNote,
  SIGNATURE_BYTES,
  signatureLine,
  type VerifierKey,
  verifierKey,
} from '@bailiff/policy/note';

const TIME_BYTES = 8;
/** Of a Date. */
const MAX_DATE_MS = 8.64e15;

const messageOf = (text: string, seconds: bigint): Buffer => Buffer.from(`cosignature/v1\ntime ${seconds}\n${text}`);

/** The signature line of a witness. @param text of a checkpoint @param seconds since 1970 */
export function cosign(text: string, name: string, key: KeyObject, seconds: number): string {
  const time = Buffer.alloc(TIME_BYTES);
  time.writeBigUInt64BE(BigInt(seconds));
  const signature = sign(null, messageOf(text, BigInt(seconds)), key);
  return signatureLine(verifierKey(name, key, COSIGNATURE), Buffer.concat([time, signature]));
}

/** The time of a cosignature in seconds; null if it is not one of this key. */
function cosignedAt(text: string, { bytes }: NoteSignature, { key }: VerifierKey): number | null {
  if (bytes.length !== TIME_BYTES + SIGNATURE_BYTES) return null;
  const seconds = bytes.readBigUInt64BE(0);
  // 0: no statement about the time, which a witness must make.
  if (seconds === 0n || seconds > BigInt(Number.MAX_SAFE_INTEGER)) return null;
  return verify(null, messageOf(text, seconds), key, bytes.subarray(TIME_BYTES)) ? Number(seconds) : null;
}

/** A time of a cosignature for people. Its witness chose it: one beyond the dates is shown as the last of them. */
export const cosignedDate = (seconds: number): string => new Date(Math.min(seconds * 1000, MAX_DATE_MS)).toISOString();

/**
 * When a witness cosigned a note, in seconds. @returns null if it did not; 'wrong' if a signature under its key is not
 * valid
 */
export function cosignature(note: string, key: VerifierKey): number | 'wrong' | null {
  const parsed = parseNote(note);
  const own = parsed?.signatures.filter((signature) => isBy(signature, key)) ?? [];
  const times = own.map((signature) => cosignedAt(parsed?.text ?? '', signature, key));
  if (times.length === 0) return null;
  return times.includes(null) ? 'wrong' : Math.max(...(times as number[]));
}
