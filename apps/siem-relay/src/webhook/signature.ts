/**
 * Signatures of Standard Webhooks (https://www.standardwebhooks.com, specification 1.0): HMAC-SHA-256
 * (`v1`, secrets `whsec_…`) and Ed25519 (`v1a`, private keys `whsk_…`) of `<id>.<timestamp>.<body>`.
 * Pure.
 */
import { createHmac, createPrivateKey, type KeyObject, sign } from 'node:crypto';
import { DeliveryError } from '../outputs/output.ts';

/** Two, so that a receiver can change from one to the other at any time. */
export const MAX_SECRETS = 2;
const MIN_HMAC_BYTES = 24;
/** PKCS #8 of an Ed25519 private key, before its 32 bytes (RFC 8410, section 7). */
const PKCS8_HEAD = Buffer.from('302e020100300506032b657004220420', 'hex');
const SEED_BYTES = 32;

type Secret = { kind: 'hmac'; key: Buffer } | { kind: 'ed25519'; key: KeyObject };

const invalid = (why: string) => new DeliveryError('OUTPUT_MISCONFIGURED', `the signing secret ${why}`);

/** The secrets of a file, one a line. @throws DeliveryError OUTPUT_MISCONFIGURED */
export function parseSecrets(text: string): Secret[] {
  const lines = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  if (lines.length === 0) throw invalid('is empty');
  if (lines.length > MAX_SECRETS) throw invalid(`has ${lines.length} lines, and at most ${MAX_SECRETS} can sign`);
  return lines.map(parseSecret);
}

function parseSecret(line: string): Secret {
  const [, prefix, encoded = ''] = /^(whsec_|whsk_)([A-Za-z0-9+/]+=*)$/.exec(line) ?? [];
  if (prefix === undefined) throw invalid('must be whsec_ or whsk_ and base64');
  const bytes = Buffer.from(encoded, 'base64');
  if (prefix === 'whsec_') {
    if (bytes.length < MIN_HMAC_BYTES) throw invalid(`has ${bytes.length} bytes, and needs ${MIN_HMAC_BYTES}`);
    return { kind: 'hmac', key: bytes };
  }
  // The seed, or the seed and the public key.
  if (bytes.length !== SEED_BYTES && bytes.length !== 2 * SEED_BYTES)
    throw invalid('is no Ed25519 key of 32 or 64 bytes');
  const der = Buffer.concat([PKCS8_HEAD, bytes.subarray(0, SEED_BYTES)]);
  return { kind: 'ed25519', key: createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }) };
}

/** Headers of a message. All secrets sign, so that the receiver may know either. */
export function signedHeaders(
  secrets: readonly Secret[],
  id: string,
  timestampSeconds: number,
  body: Uint8Array,
): Record<string, string> {
  const content = Buffer.concat([Buffer.from(`${id}.${timestampSeconds}.`, 'utf8'), body]);
  const signatures = secrets.map(({ kind, key }) =>
    kind === 'hmac'
      ? `v1,${createHmac('sha256', key).update(content).digest('base64')}`
      : `v1a,${sign(null, content, key).toString('base64')}`,
  );
  return {
    'webhook-id': id,
    'webhook-timestamp': String(timestampSeconds),
    ...(signatures.length > 0 ? { 'webhook-signature': signatures.join(' ') } : {}),
  };
}
