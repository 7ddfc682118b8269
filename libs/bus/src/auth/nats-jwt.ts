/**
 * NATS JSON web tokens, signed by an nkey (Ed25519, algorithm `ed25519-nkey`). auth-callout.ts
 * interprets the claims.
 *
 * Node's Ed25519 takes 50 µs a signature. The NATS packages sign in JavaScript, which takes 5 ms,
 * and after a restart of the bus a whole fleet waits for its signatures.
 */
import { createPrivateKey, createPublicKey, type KeyObject, randomUUID, sign, verify } from 'node:crypto';

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
/** RFC 8410: DER prefix of the 32 bytes of a private and a public Ed25519 key. */
const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex');
const SPKI = Buffer.from('302a300506032b6570032100', 'hex');
const RAW_BYTES = 32;
const CHECKSUM_BYTES = 2;
const ALGORITHM = 'ed25519-nkey';

const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** The 32 key bytes of an nkey after its prefix. @throws Error if it is not an nkey */
function rawOf(text: string, prefixBytes: number): Buffer {
  const bytes: number[] = [];
  let [held, bits] = [0, 0];
  for (const letter of text) {
    const value = BASE32.indexOf(letter);
    if (value < 0) throw new Error('not base32');
    held = ((held << 5) | value) & 0xfff;
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push((held >> bits) & 0xff);
  }
  if (bytes.length !== prefixBytes + RAW_BYTES + CHECKSUM_BYTES) throw new Error(`an nkey has ${bytes.length} bytes`);
  return Buffer.from(bytes.slice(prefixBytes, prefixBytes + RAW_BYTES));
}

/** Private key of a seed (S…). */
export function signingKeyOf(seed: string): KeyObject {
  return createPrivateKey({ key: Buffer.concat([PKCS8, rawOf(seed, 2)]), format: 'der', type: 'pkcs8' });
}

/** Public key of an nkey (N…, A…). @throws Error */
function verifyingKeyOf(publicKey: string): KeyObject {
  return createPublicKey({ key: Buffer.concat([SPKI, rawOf(publicKey, 1)]), format: 'der', type: 'spki' });
}

export interface NatsClaims {
  iss: string;
  sub: string;
  aud?: string;
  iat: number;
  exp?: number;
  jti: string;
  name?: string;
  nats: Record<string, unknown>;
}

/** Signs claims and adds their time and id. */
export function signClaims(claims: Omit<NatsClaims, 'iat' | 'jti'>, key: KeyObject): string {
  const complete = { ...claims, iat: Math.floor(Date.now() / 1000), jti: randomUUID() };
  const text = `${encode({ typ: 'JWT', alg: ALGORITHM })}.${encode(complete)}`;
  return `${text}.${sign(null, Buffer.from(text), key).toString('base64url')}`;
}

/**
 * Verifies that the claims are signed by their `iss`. The caller decides whether to trust that
 * issuer. @throws Error
 */
export function readClaims(token: string): Partial<NatsClaims> {
  const [head = '', payload = '', signature = '', ...more] = token.split('.');
  if (more.length > 0 || signature === '') throw new Error('the JWT does not have three parts');
  const parse = (part: string) => JSON.parse(Buffer.from(part, 'base64url').toString('utf8')) as unknown;
  if ((parse(head) as { alg?: unknown } | null)?.alg !== ALGORITHM)
    throw new Error(`the JWT is not signed with ${ALGORITHM}`);
  const claims = parse(payload) as Partial<NatsClaims> | null;
  if (typeof claims?.iss !== 'string') throw new Error('the JWT has no issuer');
  const signed = Buffer.from(`${head}.${payload}`);
  if (!verify(null, signed, verifyingKeyOf(claims.iss), Buffer.from(signature, 'base64url'))) {
    throw new Error('the signature of the JWT is not by its issuer');
  }
  return claims;
}
