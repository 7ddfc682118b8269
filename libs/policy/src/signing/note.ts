/**
 * Signed notes (C2SP signed-note) with Ed25519 keys, and the verifier keys that name them. Pure.
 *
 * A note is a text, an empty line and one line a signature. Signatures of unknown keys are ignored, as
 * the specification requires. Limit: MAX_SIGNATURES lines.
 */
import { createHash, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';

const ED25519 = 1;
const KEY_ID_BYTES = 4;
const SIGNATURE_BYTES = 64;
/** A log and its witnesses. */
const MAX_SIGNATURES = 16;
const LINE = /^— ([!-*,-~]+) ([A-Za-z0-9+/]+={0,2})$/;

/** A public key with the name of its owner. */
export interface VerifierKey {
  name: string;
  id: Buffer;
  key: KeyObject;
}

const publicOf = (key: KeyObject): KeyObject => (key.type === 'private' ? createPublicKey(key) : key);

const rawKey = (key: KeyObject): Buffer => Buffer.from(publicOf(key).export({ format: 'jwk' }).x ?? '', 'base64url');

const idOf = (name: string, raw: Uint8Array): Buffer =>
  createHash('sha256').update(`${name}\n`).update(Buffer.of(ED25519)).update(raw).digest().subarray(0, KEY_ID_BYTES);

/** @param key public or private */
export function verifierKey(name: string, key: KeyObject): VerifierKey {
  return { name, id: idOf(name, rawKey(key)), key: publicOf(key) };
}

/** `<name>+<id>+<base64>`: the form in which a verifier key is handed over. */
export function formatVerifierKey({ name, id, key }: VerifierKey): string {
  return `${name}+${id.toString('hex')}+${Buffer.concat([Buffer.of(ED25519), rawKey(key)]).toString('base64')}`;
}

/** A text is not the verifier key of an Ed25519 key. */
export class VerifierKeyError extends Error {
  override readonly name = 'VerifierKeyError';
}

/** @throws VerifierKeyError */
export function parseVerifierKey(text: string): VerifierKey {
  const [, name = '', id = '', encoded = ''] =
    /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})$/.exec(text.trim()) ?? [];
  const bytes = Buffer.from(encoded, 'base64');
  const raw = bytes.subarray(1);
  if (bytes[0] !== ED25519 || raw.length !== 32) {
    throw new VerifierKeyError('not a verifier key of Ed25519: <name>+<8 hex digits>+<base64>');
  }
  if (idOf(name, raw).toString('hex') !== id) {
    throw new VerifierKeyError(`the verifier key of ${name} does not match its id ${id}`);
  }
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: raw.toString('base64url') };
  return verifierKey(name, createPublicKey({ key: jwk, format: 'jwk' }));
}

/** @param text ends with a line break */
export function signNote(text: string, name: string, key: KeyObject): string {
  const signature = Buffer.concat([verifierKey(name, key).id, sign(null, Buffer.from(text), key)]);
  return `${text}\n— ${name} ${signature.toString('base64')}\n`;
}

/** The text of a note that one of the keys signed; null if none did. */
export function openNote(note: string, keys: readonly VerifierKey[]): string | null {
  const end = note.lastIndexOf('\n\n');
  if (end < 0 || !note.endsWith('\n')) return null;
  const text = note.slice(0, end + 1);
  const lines = note.slice(end + 2, -1).split('\n');
  if (lines.length > MAX_SIGNATURES) return null;
  for (const line of lines) {
    const [, name, encoded = ''] = LINE.exec(line) ?? [];
    if (name === undefined) return null;
    const bytes = Buffer.from(encoded, 'base64');
    if (bytes.toString('base64') !== encoded) return null;
    const key = keys.find((one) => one.name === name && one.id.equals(bytes.subarray(0, KEY_ID_BYTES)));
    if (!key) continue;
    const signature = bytes.subarray(KEY_ID_BYTES);
    return signature.length === SIGNATURE_BYTES && verify(null, Buffer.from(text), key.key, signature) ? text : null;
  }
  return null;
}
