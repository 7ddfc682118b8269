/**
 * Policy sets in the kernel, by the digest of their content. A set is written once for all its
 * subjects and removed after the last one, when no program can still read it.
 *
 * Invariants: a set is complete before any subject names its number; a number is allocated once. A
 * set that does not fit is removed again, and the error names the full map. Of a set in the kernel,
 * memory has only the keys. Limits: the maps, of which namespaces have shares (set-shares.ts) for the
 * sets that a subject of them has; a set of the grace period does not count.
 */
import assert from 'node:assert/strict';
import { keysOfSet, type RuntimeMaps, type RuntimeSetKeys } from '@bailiff/bpf';
import { type CompiledSet, compileSet, encodeSet, PolicyError, type PolicySet } from '@bailiff/runtime';
import { RecentMap } from '@bailiff/service';
import { type SetEntries, SetShares } from './set-shares.ts';

/** Remembered sizes, and reasons: as many as a node has subjects. */
const MAX_REFUSED = 4096;

interface Known {
  readonly number: number;
  readonly keys: RuntimeSetKeys;
  /** Namespace whose share it uses. null: no subject has it any more. */
  owner: string | null;
  /** Subjects that have it, and those that left it within their grace period. */
  users: number;
  /** Subjects that left it. */
  left: number;
}

export type SetMaps = Pick<
  RuntimeMaps,
  'writeSet' | 'deleteSet' | 'setKeys' | 'setEntries' | 'setCapacities' | 'settings'
>;

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
  readonly #shares: SetShares;
  /** Sizes of sets that did not fit into the share of a namespace: each pass asks for them again. */
  readonly #refused = new RecentMap<string, SetEntries>(MAX_REFUSED);
  /** Why sets cannot be compiled, by their digests: a tenant can have many pods that need one. */
  readonly #impossible = new RecentMap<string, PolicyError>(MAX_REFUSED);
  /** Sets of earlier processes that no subject was adopted with; null: not read yet. */
  #found: Map<number, RuntimeSetKeys> | null = null;

  constructor(maps: SetMaps, allocateNumber: () => number) {
    this.#maps = maps;
    this.#allocateNumber = allocateNumber;
    this.#hashKey = maps.settings().hashKey;
    this.#shares = new SetShares(maps.setCapacities);
  }

  get size(): number {
    return this.#byDigest.size;
  }

  /**
   * Adds a user of a set that an earlier process wrote.
   * @param isOwnBuild whether this build compiled it
   */
  adopt(digest: string, number: number, isOwnBuild: boolean, namespace: string): void {
    const own = this.#byDigest.get(digest);
    const key = isOwnBuild && (!own || own.number === number) ? digest : foreignKey(digest, number);
    const known = this.#byDigest.get(key);
    if (known) {
      known.users += 1;
      return;
    }
    this.#found ??= this.#maps.setKeys();
    const keys = this.#found.get(number) ?? NO_KEYS;
    this.#found.delete(number);
    this.#shares.add(namespace, this.#maps.setEntries(keys));
    this.#byDigest.set(key, { number, keys, owner: namespace, users: 1, left: 0 });
  }

  /** Removes sets from the kernel that have no user. Call it after the last `adopt`. */
  removeStrays(isUsed: (number: number) => boolean): void {
    for (const [number, keys] of this.#found ?? this.#maps.setKeys()) if (!isUsed(number)) this.#maps.deleteSet(keys);
    this.#found = null;
  }

  /**
   * Adds a user, and writes the set first if the kernel does not have it.
   * @param isExempt the share does not hold: the subject has the same policies with an older content, and both
   *   are in the kernel for a moment, or no label selects them. Otherwise an edit would never be in force in a
   *   namespace that has its share
   * @returns the number of the set
   * @throws PolicyError; RuntimeError ERR_RUNTIME_MAP_FULL; Error: the namespace has its share
   */
  acquire(set: PolicySet, namespace: string, isExempt = false): number {
    const known = this.#byDigest.get(set.digest);
    if (known) {
      this.#own(known, namespace, isExempt);
      known.users += 1;
      return known.number;
    }
    const impossible = this.#impossible.get(set.digest);
    if (impossible) throw impossible;
    const size = this.#refused.get(set.digest);
    if (size && !isExempt) this.#shares.check(namespace, size);
    const number = this.#allocateNumber();
    const encoded = encodeSet(this.#compile(set, number));
    const created: Known = { number, keys: keysOfSet(encoded), owner: null, users: 1, left: 0 };
    // Until it is written, its size is known without compiling it again.
    this.#refused.set(set.digest, this.#maps.setEntries(created.keys));
    this.#own(created, namespace, isExempt);
    this.#refused.delete(set.digest);
    try {
      this.#maps.writeSet(encoded);
    } catch (error) {
      this.#maps.deleteSet(created.keys);
      this.#disown(created);
      throw error;
    }
    this.#byDigest.set(set.digest, created);
    return number;
  }

  #compile(set: PolicySet, number: number): CompiledSet {
    try {
      return compileSet(set, number, this.#hashKey);
    } catch (error) {
      if (error instanceof PolicyError) this.#impossible.set(set.digest, error);
      throw error;
    }
  }

  /** A subject has another set. Programs may read this one until `release`. */
  leave(digest: string, number: number): void {
    const [, known] = this.#find(digest, number);
    known.left += 1;
    if (known.left === known.users) this.#disown(known);
  }

  /**
   * Removes a user, after `leave` if it was a subject. Call it when no program can read the set for
   * that user any more.
   */
  release(digest: string, number: number): void {
    const [key, known] = this.#find(digest, number);
    known.users -= 1;
    known.left = Math.max(0, known.left - 1);
    if (known.users > 0) return;
    this.#disown(known);
    this.#byDigest.delete(key);
    this.#maps.deleteSet(known.keys);
  }

  #find(digest: string, number: number): [key: string, known: Known] {
    const key = this.#byDigest.get(digest)?.number === number ? digest : foreignKey(digest, number);
    const known = this.#byDigest.get(key);
    assert(known && known.users > 0, `set ${number} has no users`);
    return [key, known];
  }

  #own(known: Known, namespace: string, isExempt: boolean): void {
    if (known.owner !== null) return;
    const entries = this.#maps.setEntries(known.keys);
    if (!isExempt) this.#shares.check(namespace, entries);
    this.#shares.add(namespace, entries);
    known.owner = namespace;
  }

  #disown(known: Known): void {
    if (known.owner === null) return;
    this.#shares.free(known.owner, this.#maps.setEntries(known.keys));
    known.owner = null;
  }
}

const EMPTY = Buffer.alloc(0);
/** Of a set that is not in the kernel: the maps were made again. */
const NO_KEYS: RuntimeSetKeys = { head: EMPTY, paths: EMPTY, addresses: EMPTY, values: EMPTY, sources: EMPTY };
