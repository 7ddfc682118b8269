/**
 * The arithmetic of an append-only Merkle tree: RFC 6962, section 2.1, with SHA-256. Pure.
 *
 * Sizes and indexes are integers below 2^53, so they are halved by division, never by bit shifts. A proof
 * lists hashes from the leaves upwards. A reader takes them from the end, which is the root's side:
 * both directions then follow the same recursion, at most 53 levels deep.
 */
import { createHash } from 'node:crypto';

export const HASH_BYTES = 32;

const sha256 = (...parts: readonly Uint8Array[]): Buffer => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};

export const leafHash = (entry: Uint8Array): Buffer => sha256(Buffer.of(0), entry);
export const nodeHash = (left: Uint8Array, right: Uint8Array): Buffer => sha256(Buffer.of(1), left, right);
export const EMPTY_ROOT: Buffer = sha256();

/** Largest power of two below `size`, which is at least 2: the leaves of the left subtree. */
function splitOf(size: number): number {
  let left = 1;
  while (left * 2 < size) left *= 2;
  return left;
}

/** Hash of a complete subtree: the leaves `index * 2^level` to `(index + 1) * 2^level`. */
export type NodeReader = (level: number, index: number) => Uint8Array;

/** Root of the leaves `start` to `end` of a tree. */
function rangeRoot(start: number, end: number, at: NodeReader): Uint8Array {
  const size = end - start;
  const level = Math.log2(size);
  if (Number.isInteger(level) && start % size === 0) return at(level, start / size);
  const middle = start + splitOf(size);
  return nodeHash(rangeRoot(start, middle, at), rangeRoot(middle, end, at));
}

export const rootOf = (size: number, at: NodeReader): Uint8Array => (size === 0 ? EMPTY_ROOT : rangeRoot(0, size, at));

export function inclusionProof(index: number, size: number, at: NodeReader): Uint8Array[] {
  const proof: Uint8Array[] = [];
  const descend = (start: number, end: number): void => {
    if (end - start === 1) return;
    const middle = start + splitOf(end - start);
    descend(...(index < middle ? ([start, middle] as const) : ([middle, end] as const)));
    proof.push(index < middle ? rangeRoot(middle, end, at) : rangeRoot(start, middle, at));
  };
  descend(0, size);
  return proof;
}

/** Shows that a tree of `newSize` begins with the tree of `oldSize`. */
export function consistencyProof(oldSize: number, newSize: number, at: NodeReader): Uint8Array[] {
  const proof: Uint8Array[] = [];
  const descend = (start: number, end: number, isWhole: boolean): void => {
    if (oldSize === end) {
      if (!isWhole) proof.push(rangeRoot(start, end, at));
      return;
    }
    const middle = start + splitOf(end - start);
    if (oldSize <= middle) {
      descend(start, middle, isWhole);
      proof.push(rangeRoot(middle, end, at));
    } else {
      descend(middle, end, false);
      proof.push(rangeRoot(start, middle, at));
    }
  };
  if (oldSize > 0 && oldSize < newSize) descend(0, newSize, true);
  return proof;
}

export interface TreeHead {
  size: number;
  root: Uint8Array;
}

const isEqual = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

export function verifyInclusion(
  leaf: Uint8Array,
  index: number,
  { size, root }: TreeHead,
  proof: readonly Uint8Array[],
): boolean {
  if (!(index >= 0 && index < size)) return false;
  const left = [...proof];
  const climb = (at: number, count: number): Uint8Array | null => {
    if (count === 1) return leaf;
    const sibling = left.pop();
    if (!sibling) return null;
    const split = splitOf(count);
    const own = at < split ? climb(at, split) : climb(at - split, count - split);
    if (!own) return null;
    return at < split ? nodeHash(own, sibling) : nodeHash(sibling, own);
  };
  const computed = climb(index, size);
  return computed !== null && left.length === 0 && isEqual(computed, root);
}

export function verifyConsistency(older: TreeHead, newer: TreeHead, proof: readonly Uint8Array[]): boolean {
  if (older.size > newer.size) return false;
  if (older.size === newer.size) return proof.length === 0 && isEqual(older.root, newer.root);
  if (older.size === 0) return proof.length === 0 && isEqual(older.root, EMPTY_ROOT);
  const left = [...proof];
  /** The roots of the older and the newer tree, from the hashes that are left. */
  const climb = (old: number, count: number, isWhole: boolean): [Uint8Array, Uint8Array] | null => {
    if (old === count) {
      const own = isWhole ? older.root : left.pop();
      return own ? [own, own] : null;
    }
    const sibling = left.pop();
    if (!sibling) return null;
    const split = splitOf(count);
    const both = old <= split ? climb(old, split, isWhole) : climb(old - split, count - split, false);
    if (!both) return null;
    const [before, after] = both;
    if (old <= split) return [before, nodeHash(after, sibling)];
    return [nodeHash(sibling, before), nodeHash(sibling, after)];
  };
  const computed = climb(older.size, newer.size, true);
  return computed !== null && left.length === 0 && isEqual(computed[0], older.root) && isEqual(computed[1], newer.root);
}
