/**
 * Signatures of configuration changes. Pure.
 *
 * A signer signs the key, the value or the deletion, the time, and its own name (ADR 36). The time orders
 * the signed values of a key, so an old one cannot return. The name keeps a key that two clusters
 * share from being valid in both. The value is hashed in a canonical form without `revision`, because
 * writers number a value, and the API server reorders the fields of a resource.
 *
 * Form of a signature: `<time> <name> <base64>`, one line. The last two fields are those of a signed note.
 */
import { createHash, type KeyObject } from 'node:crypto';
import { ConfigError } from '../configuration/keys.ts';
import { openNote, signNote, type VerifierKey } from './note.ts';

/** Header of a stored value or deletion. */
export const SIGNATURE_HEADER = 'Bailiff-Signature';
/** Annotation of a custom resource; ipam-sync copies it into the header. */
export const SIGNATURE_ANNOTATION = 'bailiff.dev/signature';

/** More than the longest name with a signature. */
const MAX_SIGNATURE = 512;
/** Values of the schemas have fewer levels. */
const MAX_DEPTH = 64;

const SIGNATURE = /^(\S+) (([!-*,-~]+) [A-Za-z0-9+/]+={0,2})$/;

/** A change of a key as the bus stores it. */
export interface SignedChange {
  key: string;
  /** null: the key is deleted. */
  json: string | null;
  /** Empty: unsigned. */
  signature: string;
}

/** A signature before it is verified. */
export interface SignatureParts {
  atMs: number;
  name: string;
  line: string;
}

/** null: not a signature in its only valid form. */
export function parseSignature(signature: string): SignatureParts | null {
  if (signature.length > MAX_SIGNATURE) return null;
  const [, at = '', line = '', name = ''] = SIGNATURE.exec(signature) ?? [];
  const atMs = Date.parse(at);
  return line !== '' && timeOf(atMs) === at ? { atMs, name, line: `— ${line}\n` } : null;
}

const timeOf = (ms: number): string => (Number.isFinite(ms) ? new Date(ms).toISOString() : '');

const refused = (message: string) => new ConfigError('CONFIG_SIGNATURE', message);

function sorted(value: unknown, depth: number): unknown {
  if (depth > MAX_DEPTH) throw refused(`a signed value has at most ${MAX_DEPTH} levels`);
  if (typeof value === 'number' && !Number.isFinite(value)) throw refused('a signed value has no infinite numbers');
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((one) => sorted(one, depth + 1));
  const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(fields.map(([name, field]) => [name, sorted(field, depth + 1)]));
}

/** The digest of a deletion. */
export const DELETED = 'deleted';

/**
 * Hash of what a change stores: `deleted`, or `sha256:<hex>` of the value. @throws ConfigError
 * CONFIG_SIGNATURE if the value has no canonical form
 */
export function contentDigest(json: string | null): string {
  if (json === null) return DELETED;
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    throw new ConfigError('CONFIG_SIGNATURE', `not JSON: ${(cause as Error).message}`, [], { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw refused('not an object of fields');
  const { revision: _renewed, ...signed } = value as Record<string, unknown>;
  return `sha256:${createHash('sha256')
    .update(JSON.stringify(sorted(signed, 0)))
    .digest('hex')}`;
}

const textOf = (key: string, digest: string, name: string, atMs: number): string =>
  `bailiff.dev/config-signature/v1\n${name}\n${timeOf(atMs)}\n${key}\n${digest}\n`;

/** A private key and the name that it signs as. */
export interface ConfigSigner {
  name: string;
  key: KeyObject;
}

/**
 * Signs a change at a time in whole milliseconds. @throws ConfigError CONFIG_SIGNATURE if the value has no canonical
 * form
 */
export function signChange(
  { key, json }: Omit<SignedChange, 'signature'>,
  { name, key: privateKey }: ConfigSigner,
  atMs: number,
): string {
  const text = textOf(key, contentDigest(json), name, atMs);
  const note = signNote(text, name, privateKey);
  return `${timeOf(atMs)} ${note.slice(text.length + '\n— '.length, -1)}`;
}

/**
 * A stored signature is not verified here. If its time is further ahead than clocks differ, an administrator of the
 * bus made it up: signing later than that would make readers refuse other changes of the key until then.
 */
const MAX_AHEAD_MS = 600_000;

/** Signs a change later than the stored signature, whose clock may be ahead. @throws as signChange */
export function signLater(
  change: Omit<SignedChange, 'signature'>,
  signer: ConfigSigner,
  nowMs: number,
  stored: string,
): string {
  const storedMs = parseSignature(stored)?.atMs ?? 0;
  return signChange(change, signer, storedMs < nowMs + MAX_AHEAD_MS ? Math.max(nowMs, storedMs + 1) : nowMs);
}

/** Whether one of the keys made the signature for this key and content. */
export function isSignedBy(
  key: string,
  digest: string,
  { atMs, name, line }: SignatureParts,
  keys: readonly VerifierKey[],
): boolean {
  return openNote(`${textOf(key, digest, name, atMs)}\n${line}`, keys) !== null;
}
