/**
 * Policy sets in the kernel, by the digest of their content: written once for all subjects that share one, freed when the last one left
 * and no program can still be reading it.
 *
 * Invariants: a set is written whole before anybody is told its number; a number is given out once. A set that did not fit is taken out
 * again, and the error says which map was full.
 */
import assert from 'node:assert/strict';
import type { EncodedRuntimeSet, RuntimeMaps } from '@bailiff/bpf';
import { compileSet, encodeSet, type PolicySet } from '@bailiff/runtime';

interface Known {
  readonly number: number;
  /** null: an earlier process wrote it. */
  readonly encoded: EncodedRuntimeSet | null;
  users: number;
}

export type SetMaps = Pick<RuntimeMaps, 'writeSet' | 'deleteSet' | 'deleteSetNumbers' | 'settings'>;

/** A set that another build wrote is not taken for one of ours: it may say the same in other bytes. */
const foreignKey = (digest: string, number: number): string => `${digest}@${number}`;

export class KernelSets {
  readonly #maps: SetMaps;
  readonly #allocateNumber: () => number;
  readonly #hashKey: Buffer;
  readonly #byDigest = new Map<string, Known>();

  constructor(maps: SetMaps, allocateNumber: () => number) {
    this.#maps = maps;
    this.#allocateNumber = allocateNumber;
    this.#hashKey = maps.settings().hashKey;
  }

  get size(): number {
    return this.#byDigest.size;
  }

  /** A set that an earlier process wrote and an account uses. */
  adopt(digest: string, number: number, isOurs: boolean): void {
    const ours = this.#byDigest.get(digest);
    const key = isOurs && (!ours || ours.number === number) ? digest : foreignKey(digest, number);
    const known = this.#byDigest.get(key);
    if (known) known.users += 1;
    else this.#byDigest.set(key, { number, encoded: null, users: 1 });
  }

  /** Takes out what is in the kernel and nobody's. */
  removeStrays(inKernel: readonly number[], isUsed: (number: number) => boolean): void {
    const strays = inKernel.filter((number) => !isUsed(number));
    if (strays.length > 0) this.#maps.deleteSetNumbers(new Set(strays));
  }

  /** Its number, after it was written if it was not there; one more user. @throws PolicyError, RuntimeError ERR_RUNTIME_MAP_FULL */
  acquire(set: PolicySet): number {
    const known = this.#byDigest.get(set.digest);
    if (known) {
      known.users += 1;
      return known.number;
    }
    const number = this.#allocateNumber();
    const encoded = encodeSet(compileSet(set, number, this.#hashKey));
    try {
      this.#maps.writeSet(encoded);
    } catch (error) {
      this.#maps.deleteSet(encoded);
      throw error;
    }
    this.#byDigest.set(set.digest, { number, encoded, users: 1 });
    return number;
  }

  /** One user less. To be called when no program can be reading it for that user any more. */
  release(digest: string, number: number): void {
    const key = this.#byDigest.get(digest)?.number === number ? digest : foreignKey(digest, number);
    const known = this.#byDigest.get(key);
    assert(known && known.users > 0, `set ${number} has no users`);
    known.users -= 1;
    if (known.users > 0) return;
    this.#byDigest.delete(key);
    if (known.encoded) this.#maps.deleteSet(known.encoded);
    else this.#maps.deleteSetNumbers(new Set([number]));
  }
}
