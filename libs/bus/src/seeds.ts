/**
 * Key pairs of the bus as text: the seed is the secret, the public key stands in the server's configuration. An account's key (A…)
 * signs the rights of users, a curve key (X…) opens what was sealed for it.
 */
import { createAccount, createCurve, fromCurveSeed, fromSeed, type KeyPair } from '@nats-io/nkeys';
import { BusError } from './errors.ts';

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
