/**
 * Key pairs of the bus as text: the seed is the secret, the public key stands in the server's configuration. An account's key (A…)
 * signs the rights of users, a curve key (X…) opens what was sealed for it.
 */
import type { KeyObject } from 'node:crypto';
import { createAccount, createCurve, fromCurveSeed, fromSeed, type KeyPair } from '@nats-io/nkeys';
import { BusError } from '../connection/errors.ts';
import { signingKeyOf } from './nats-jwt.ts';

export type SeedKind = 'issuer' | 'xkey';

/** How a seed of the kind begins: S, then the kind of key. */
const PREFIX: Readonly<Record<SeedKind, string>> = { issuer: 'SA', xkey: 'SX' };

/** A new seed. */
export function newSeed(kind: SeedKind): string {
  const pair = kind === 'issuer' ? createAccount() : createCurve();
  return new TextDecoder().decode(pair.getSeed());
}

/** The pair of a seed. @throws BusError BUS_MESSAGE when it is none of the kind; the seed is not in the message */
export function keyPairOf(kind: SeedKind, seed: string): KeyPair {
  try {
    if (!seed.startsWith(PREFIX[kind])) throw new Error(`does not begin with ${PREFIX[kind]}`);
    const bytes = new TextEncoder().encode(seed);
    return kind === 'issuer' ? fromSeed(bytes) : fromCurveSeed(bytes);
  } catch (cause) {
    throw new BusError('BUS_MESSAGE', `not a seed of an ${kind}: ${(cause as Error).message}`);
  }
}

/** What others may know of a seed. @throws BusError BUS_MESSAGE */
export const publicKeyOf = (kind: SeedKind, seed: string): string => keyPairOf(kind, seed).getPublicKey();

export interface IssuerKey {
  publicKey: string;
  signing: KeyObject;
}

/** By seed: a public key takes milliseconds to derive. A rotation has two. */
const issuers = new Map<string, IssuerKey>();
const MAX_ISSUERS = 8;

/** Key of an issuer's seed, ready for use. @throws BusError BUS_MESSAGE */
export function issuerKeyOf(seed: string): IssuerKey {
  const known = issuers.get(seed);
  if (known) return known;
  const made = { publicKey: publicKeyOf('issuer', seed), signing: signingKeyOf(seed) };
  if (issuers.size >= MAX_ISSUERS) issuers.clear();
  issuers.set(seed, made);
  return made;
}
