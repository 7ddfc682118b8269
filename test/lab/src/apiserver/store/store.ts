/**
 * In-memory store: objects by bucket and key, one version for all, a bounded history, and
 * listeners. Keys are `namespace/name` or `name`, listed in byte order like etcd. Stored objects
 * are frozen. Listeners receive changes in the order of versions; a change made by a listener is
 * queued.
 */
import assert from 'node:assert/strict';
import { deepFreeze, type KubeObject } from '../types.ts';
import { type Change, type ChangeType, defaultHistoryLimit, History, rollBack } from './history.ts';

export type ChangeListener = (change: Change) => void;

export interface StoreOptions {
  /** Changes kept for watches and snapshots; older ones are compacted. Default 20,000. */
  historyLimit?: number;
  /** Version before the first write. Default 1000, so that older versions exist from the start. */
  startVersion?: number;
}

/** `namespace/name`, or `name` for cluster-scoped objects. */
export function keyOf(namespace: string | undefined, name: string): string {
  return namespace === undefined || namespace === '' ? name : `${namespace}/${name}`;
}

export class Store {
  #version: number;
  #history: History;
  #buckets = new Map<string, Map<string, KubeObject>>();
  #sortedKeys = new Map<string, string[]>();
  #listeners = new Set<ChangeListener>();
  #undelivered: Change[] = [];
  #delivering = false;

  constructor(options: StoreOptions = {}) {
    this.#version = options.startVersion ?? 1000;
    this.#history = new History(options.historyLimit ?? defaultHistoryLimit, this.#version);
  }

  /** The version of the latest write. */
  get version(): number {
    return this.#version;
  }

  get compactedVersion(): number {
    return this.#history.compactedVersion;
  }

  get(storage: string, key: string): KubeObject | undefined {
    return this.#buckets.get(storage)?.get(key);
  }

  /** Names of all buckets ever used. */
  storages(): string[] {
    return [...this.#buckets.keys()];
  }

  /** Every object of a bucket, in key order. */
  list(storage: string): KubeObject[] {
    const bucket = this.#buckets.get(storage);
    if (bucket === undefined) return [];
    return this.keys(storage).map((key) => bucket.get(key)!);
  }

  /** Keys of a bucket in byte order. */
  keys(storage: string): string[] {
    let keys = this.#sortedKeys.get(storage);
    if (keys === undefined) {
      keys = [...(this.#buckets.get(storage)?.keys() ?? [])].sort(byteOrder);
      this.#sortedKeys.set(storage, keys);
    }
    return keys;
  }

  /**
   * A bucket at `version`, in key order; undefined if that is compacted. Asserts that the version
   * exists.
   */
  snapshot(storage: string, version: number): [string, KubeObject][] | undefined {
    assert(version <= this.#version, 'a snapshot of the future');
    if (!this.#history.covers(version)) return undefined;
    const current = this.#buckets.get(storage) ?? new Map<string, KubeObject>();
    if (version === this.#version) return this.keys(storage).map((key) => [key, current.get(key)!]);
    const past = rollBack(current, storage, this.#history.since(version));
    return [...past].sort(([a], [b]) => byteOrder(a, b));
  }

  /** Changes after `version`, or undefined when some of them are compacted. */
  changesSince(version: number): Change[] | undefined {
    return this.#history.covers(version) ? this.#history.since(version) : undefined;
  }

  /**
   * Stores an object under the next version and notifies listeners. Returns it as stored, frozen.
   */
  put(storage: string, key: string, object: KubeObject): KubeObject {
    const bucket = this.#bucket(storage);
    const previous = bucket.get(key);
    const stored = this.#stamp(object);
    bucket.set(key, stored);
    if (previous === undefined) this.#sortedKeys.delete(storage);
    this.#record(previous === undefined ? 'ADDED' : 'MODIFIED', storage, key, stored, previous);
    return stored;
  }

  /**
   * Removes an object; its last state is published with the version of the deletion. Asserts that
   * it exists.
   */
  remove(storage: string, key: string): KubeObject {
    const bucket = this.#bucket(storage);
    const previous = bucket.get(key);
    assert(previous !== undefined, `nothing stored as ${storage} ${key}`);
    const last = this.#stamp(previous);
    bucket.delete(key);
    this.#sortedKeys.delete(storage);
    this.#record('DELETED', storage, key, last, previous);
    return last;
  }

  /** Calls `listener` for every later change, until the returned function is called. */
  subscribe(listener: ChangeListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Drops the history up to `version` (default: all of it). */
  compact(version = this.#version): void {
    this.#history.compact(Math.min(version, this.#version));
  }

  #bucket(storage: string): Map<string, KubeObject> {
    let bucket = this.#buckets.get(storage);
    if (bucket === undefined) {
      bucket = new Map();
      this.#buckets.set(storage, bucket);
    }
    return bucket;
  }

  #stamp(object: KubeObject): KubeObject {
    this.#version += 1;
    return deepFreeze({ ...object, metadata: { ...object.metadata, resourceVersion: String(this.#version) } });
  }

  #record(type: ChangeType, storage: string, key: string, object: KubeObject, previous: KubeObject | undefined): void {
    const change: Change = { version: this.#version, type, storage, key, object, previous };
    this.#history.append(change);
    this.#undelivered.push(change);
    if (this.#delivering) return;
    this.#delivering = true;
    try {
      for (let next = this.#undelivered.shift(); next !== undefined; next = this.#undelivered.shift()) {
        for (const listener of [...this.#listeners]) listener(next);
      }
    } finally {
      this.#delivering = false;
    }
  }
}

function byteOrder(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
