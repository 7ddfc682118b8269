/**
 * Policy sets in the kernel, by the digest of their content. A set is written once for all its
 * subjects and removed after the last one, when no program can still read it.
 *
 * Invariants: a set is complete before any subject names its number; a number is allocated once. A
 * set that does not fit is removed again, and the error names the full map.
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

/**
 * Key of an adopted set that acquire() does not reuse. Another build compiled it, so its bytes may
 * differ although its content is the same; or the digest already has a set with another number.
 */
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

  /**
   * Adds a user of a set that an earlier process wrote.
   * @param isOwnBuild whether this build compiled it
   */
  adopt(digest: string, number: number, isOwnBuild: boolean): void {
    const own = this.#byDigest.get(digest);
    const key = isOwnBuild && (!own || own.number === number) ? digest : foreignKey(digest, number);
    const known = this.#byDigest.get(key);
    if (known) known.users += 1;
    else this.#byDigest.set(key, { number, encoded: null, users: 1 });
  }

  /** Removes sets from the kernel that have no user. */
  removeStrays(inKernel: readonly number[], isUsed: (number: number) => boolean): void {
    const strays = inKernel.filter((number) => !isUsed(number));
    if (strays.length > 0) this.#maps.deleteSetNumbers(new Set(strays));
  }

  /**
   * Adds a user, and writes the set first if the kernel does not have it.
   * @returns the number of the set
   * @throws PolicyError; RuntimeError ERR_RUNTIME_MAP_FULL
   */
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

  /** Removes a user. Call it when no program can read the set for that user any more. */
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
