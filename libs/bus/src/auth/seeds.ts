/**
 * Key pairs of the bus as text. The seed is secret; the public key is in the server's
 * configuration. An account key (A…) signs user permissions, a curve key (X…) opens sealed
 * requests.
 */
import type { KeyObject } from 'node:crypto';
import { RecentMap } from '@bailiff/service/recent-map';
import { createAccount, createCurve, fromCurveSeed, fromSeed, type KeyPair } from '@nats-io/nkeys';
import { BusError } from '../connection/errors.ts';
import { signingKeyOf } from './nats-jwt.ts';

export type SeedKind = 'issuer' | 'xkey';

/** Prefix of a seed: S and the kind of key. */
const PREFIX: Readonly<Record<SeedKind, string>> = { issuer: 'SA', xkey: 'SX' };

/** Creates a seed. */
export function newSeed(kind: SeedKind): string {
  const pair = kind === 'issuer' ? createAccount() : createCurve();
  return new TextDecoder().decode(pair.getSeed());
}

/**
 * Key pair of a seed. @throws BusError BUS_MESSAGE if it is not a seed of this kind; the message
 * does not contain it
 */
export function keyPairOf(kind: SeedKind, seed: string): KeyPair {
  try {
    if (!seed.startsWith(PREFIX[kind])) throw new Error(`a seed starts with ${PREFIX[kind]}`);
    const bytes = new TextEncoder().encode(seed);
    return kind === 'issuer' ? fromSeed(bytes) : fromCurveSeed(bytes);
  } catch (cause) {
    throw new BusError('BUS_MESSAGE', `not a seed of an ${kind}: ${(cause as Error).message}`);
  }
}

/** Public key of a seed. @throws BusError BUS_MESSAGE */
export const publicKeyOf = (kind: SeedKind, seed: string): string => keyPairOf(kind, seed).getPublicKey();

export interface IssuerKey {
  publicKey: string;
  signing: KeyObject;
}

const MAX_ISSUERS = 8;
/** Cache by seed, because deriving a public key takes milliseconds. A rotation has two seeds. */
const issuers = new RecentMap<string, IssuerKey>(MAX_ISSUERS);

/** Signing key of an issuer's seed. @throws BusError BUS_MESSAGE */
export function issuerKeyOf(seed: string): IssuerKey {
  const known = issuers.get(seed);
  if (known) return known;
  const made = { publicKey: publicKeyOf('issuer', seed), signing: signingKeyOf(seed) };
  issuers.set(seed, made);
  return made;
}
