/**
 * DSSE envelopes with Ed25519 signatures. Pure. The payload is signed as bytes, so it needs no canonical
 * form. A key is named by the SHA-256 of its SubjectPublicKeyInfo.
 */
import { createHash, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';

export interface Envelope {
  payloadType: string;
  /** Base64. */
  payload: string;
  signatures: readonly { keyid: string; sig: string }[];
}

export const keyIdOf = (key: KeyObject): string =>
  createHash('sha256')
    .update((key.type === 'private' ? createPublicKey(key) : key).export({ format: 'der', type: 'spki' }))
    .digest('hex');

/** The pre-authentication encoding: what is signed. */
function signedBytes(type: string, payload: Uint8Array): Buffer {
  const head = `DSSEv1 ${Buffer.byteLength(type)} ${type} ${payload.length} `;
  return Buffer.concat([Buffer.from(head), payload]);
}

/** @param key null: without a signature */
export function seal(payloadType: string, payload: Uint8Array, key: KeyObject | null): Envelope {
  const sealed = { payloadType, payload: Buffer.from(payload).toString('base64') };
  if (!key) return { ...sealed, signatures: [] };
  const sig = sign(null, signedBytes(payloadType, payload), key).toString('base64');
  return { ...sealed, signatures: [{ keyid: keyIdOf(key), sig }] };
}

/** Whether the envelope has a valid signature of the key. */
export function isSignedBy({ payloadType, payload, signatures }: Envelope, key: KeyObject): boolean {
  const keyid = keyIdOf(key);
  const bytes = signedBytes(payloadType, Buffer.from(payload, 'base64'));
  return signatures.some((one) => one.keyid === keyid && verify(null, bytes, key, Buffer.from(one.sig, 'base64')));
}
