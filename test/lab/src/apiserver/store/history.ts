/**
 * Log of changes, which serves watches and snapshots of older versions. One monotonic version
 * covers the whole store, as in etcd. The log is bounded by `limit`; older changes are compacted. A
 * watch or exact list before that point gets 410 Expired.
 */
import assert from 'node:assert/strict';
import type { KubeObject } from '../types.ts';

export type ChangeType = 'ADDED' | 'MODIFIED' | 'DELETED';

export interface Change {
  /** The store's version after this change; also the object's own resourceVersion. */
  version: number;
  type: ChangeType;
  storage: string;
  key: string;
  /** The object after the change; for DELETED its last state with the version of the deletion. */
  object: KubeObject;
  /** The object before the change; absent for ADDED. */
  previous: KubeObject | undefined;
}

/** Enough for a test cluster of 10,000 pods with two writes each. */
export const defaultHistoryLimit = 20_000;

export class History {
  readonly limit: number;
  /** Changes after `#compacted`, oldest first. */
  #changes: Change[] = [];
  #compacted: number;

  constructor(limit: number, startVersion: number) {
    assert(Number.isInteger(limit) && limit > 0, 'the history limit is a positive whole number');
    this.limit = limit;
    this.#compacted = startVersion;
  }

  /** The newest compacted version: watches may start at it, not before it. */
  get compactedVersion(): number {
    return this.#compacted;
  }

  get length(): number {
    return this.#changes.length;
  }

  append(change: Change): void {
    const last = this.#changes.at(-1);
    assert(last === undefined || change.version > last.version, 'versions only grow');
    this.#changes.push(change);
    // Trimmed by an eighth at a time, so that appending stays cheap.
    if (this.#changes.length > this.limit + Math.ceil(this.limit / 8)) {
      this.#forgetFirst(this.#changes.length - this.limit);
    }
  }

  /** Drops everything up to and including `version`. */
  compact(version: number): void {
    this.#forgetFirst(this.#indexAfter(version));
    this.#compacted = Math.max(this.#compacted, version);
  }

  /** True if everything after `version` is known. */
  covers(version: number): boolean {
    return version >= this.#compacted;
  }

  /** Changes after `version`, oldest first. Asserts that they are covered. */
  since(version: number): Change[] {
    assert(this.covers(version), `history starts at ${this.#compacted}, not at ${version}`);
    return this.#changes.slice(this.#indexAfter(version));
  }

  #forgetFirst(count: number): void {
    const gone = this.#changes.splice(0, count);
    const last = gone.at(-1);
    if (last !== undefined) this.#compacted = last.version;
  }

  #indexAfter(version: number): number {
    let low = 0;
    let high = this.#changes.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#changes[middle]!.version <= version) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/**
 * The contents of one bucket as they were at `version`, by undoing newer changes (given oldest
 * first).
 */
export function rollBack(
  current: ReadonlyMap<string, KubeObject>,
  storage: string,
  newer: Change[],
): Map<string, KubeObject> {
  const past = new Map(current);
  for (let index = newer.length - 1; index >= 0; index -= 1) {
    const change = newer[index]!;
    if (change.storage !== storage) continue;
    if (change.previous === undefined) past.delete(change.key);
    else past.set(change.key, change.previous);
  }
  return past;
}
