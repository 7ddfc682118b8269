/**
 * Signed notes (C2SP signed-note) with Ed25519 keys, and the verifier keys that name them. Pure.
 *
 * A note is a text, an empty line and one line a signature. Signatures of unknown keys are ignored, as
 * the specification requires. A key of type COSIGNATURE belongs to a witness (cosignature.ts). Limit:
 * MAX_SIGNATURES lines.
 */
import { createHash, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';

/** Types of signatures. */
const ED25519 = 1;
/** Timestamped cosignatures of checkpoints (C2SP tlog-cosignature). */
export const COSIGNATURE = 4;
type SignatureType = typeof ED25519 | typeof COSIGNATURE;

const KEY_ID_BYTES = 4;
export const SIGNATURE_BYTES = 64;
/** A log and its witnesses. */
export const MAX_SIGNATURES = 16;
const LINE = /^— ([!-*,-~]+) ([A-Za-z0-9+/]+={0,2})$/;

/** A public key with the name of its owner. */
export interface VerifierKey {
  name: string;
  id: Buffer;
  key: KeyObject;
  type: SignatureType;
}

const publicOf = (key: KeyObject): KeyObject => (key.type === 'private' ? createPublicKey(key) : key);

const rawKey = (key: KeyObject): Buffer => Buffer.from(publicOf(key).export({ format: 'jwk' }).x ?? '', 'base64url');

const idOf = (name: string, type: SignatureType, raw: Uint8Array): Buffer =>
  createHash('sha256').update(`${name}\n`).update(Buffer.of(type)).update(raw).digest().subarray(0, KEY_ID_BYTES);

/** @param key public or private @param type COSIGNATURE: of a witness */
export function verifierKey(name: string, key: KeyObject, type: SignatureType = ED25519): VerifierKey {
  return { name, id: idOf(name, type, rawKey(key)), key: publicOf(key), type };
}

/** `<name>+<id>+<base64>`: the form in which a verifier key is handed over. */
export function formatVerifierKey({ name, id, key, type }: VerifierKey): string {
  return `${name}+${id.toString('hex')}+${Buffer.concat([Buffer.of(type), rawKey(key)]).toString('base64')}`;
}

/** A text is not the verifier key of an Ed25519 key. */
export class VerifierKeyError extends Error {
  override readonly name = 'VerifierKeyError';
}

/** @param type COSIGNATURE: of a witness @throws VerifierKeyError */
export function parseVerifierKey(text: string, type: SignatureType = ED25519): VerifierKey {
  const [, name = '', id = '', encoded = ''] =
    /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})$/.exec(text.trim()) ?? [];
  const bytes = Buffer.from(encoded, 'base64');
  const raw = bytes.subarray(1);
  if (bytes[0] !== type || raw.length !== 32) {
    const of = type === COSIGNATURE ? 'of a witness' : 'of Ed25519';
    throw new VerifierKeyError(`not a verifier key ${of}: <name>+<8 hex digits>+<base64>`);
  }
  if (idOf(name, type, raw).toString('hex') !== id) {
    throw new VerifierKeyError(`the verifier key of ${name} does not match its id ${id}`);
  }
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: raw.toString('base64url') };
  return verifierKey(name, createPublicKey({ key: jwk, format: 'jwk' }), type);
}

/** A signature line. */
export const signatureLine = ({ name, id }: Pick<VerifierKey, 'name' | 'id'>, signature: Uint8Array): string =>
  `— ${name} ${Buffer.concat([id, signature]).toString('base64')}\n`;

/** @param text ends with a line break */
export function signNote(text: string, name: string, key: KeyObject): string {
  return `${text}\n${signatureLine(verifierKey(name, key), sign(null, Buffer.from(text), key))}`;
}

export interface NoteSignature {
  name: string;
  id: Buffer;
  bytes: Buffer;
}

/** Signature lines, each with its line break; null if one is not. */
export function parseSignatures(lines: string): NoteSignature[] | null {
  if (!lines.endsWith('\n')) return null;
  const all: NoteSignature[] = [];
  for (const line of lines.slice(0, -1).split('\n')) {
    const [, name, encoded = ''] = LINE.exec(line) ?? [];
    const bytes = Buffer.from(encoded, 'base64');
    if (name === undefined || bytes.toString('base64') !== encoded || all.length === MAX_SIGNATURES) return null;
    all.push({ name, id: bytes.subarray(0, KEY_ID_BYTES), bytes: bytes.subarray(KEY_ID_BYTES) });
  }
  return all;
}

export const isBy = ({ name, id }: NoteSignature, key: VerifierKey): boolean => name === key.name && id.equals(key.id);

/** Text and signatures of a note, which are not verified; null if it is none. */
export function parseNote(note: string): { text: string; signatures: NoteSignature[] } | null {
  const end = note.lastIndexOf('\n\n');
  const signatures = end < 0 ? null : parseSignatures(note.slice(end + 2));
  return signatures && { text: note.slice(0, end + 1), signatures };
}

/**
 * The text of a note that one of the keys signed; null if none did, or if the signature of a known key is wrong.
 */
export function openNote(note: string, keys: readonly VerifierKey[]): string | null {
  const parsed = parseNote(note);
  if (!parsed) return null;
  const { text, signatures } = parsed;
  const known = signatures.flatMap((signature) => {
    const key = keys.find((one) => one.type === ED25519 && isBy(signature, one));
    return key
      ? [signature.bytes.length === SIGNATURE_BYTES && verify(null, Buffer.from(text), key.key, signature.bytes)]
      : [];
  });
  return known.length > 0 && known.every(Boolean) ? text : null;
}
