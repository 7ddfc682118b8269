/**
 * The state of a reflector: one small value per object, by UID, with its resourceVersion. Pure:
 * lists and events in, changes out.
 *
 * A recreated pod with the same name has another UID and is another object. Each object is reported
 * by `add` before any `update` or `delete`. After `replace` the store equals the list. An event
 * older than the stored version changes nothing.
 */
import type { KubeObject } from './types.ts';

export type Change<T> =
  | { type: 'add'; uid: string; value: T }
  | { type: 'update'; uid: string; value: T; before: T }
  | { type: 'delete'; uid: string; value: T };

interface Held<T> {
  resourceVersion: string;
  value: T;
}

export class ObjectStore<T> {
  #select: (object: KubeObject) => T | null;
  #held = new Map<string, Held<T>>();
  /** Events older than the stored version. */
  staleEvents = 0;

  /** @param select the part to keep; null to ignore the object (from now on) */
  constructor(select: (object: KubeObject) => T | null) {
    this.#select = select;
  }

  get size(): number {
    return this.#held.size;
  }
  get(uid: string): T | undefined {
    return this.#held.get(uid)?.value;
  }
  values(): T[] {
    return [...this.#held.values()].map((held) => held.value);
  }

  /**
   * Accepts every object at its next occurrence, even at the same version, because `select` has
   * changed.
   */
  reselect(): void {
    for (const held of this.#held.values()) held.resourceVersion = '';
  }

  /** Adds an object of a list; returns the change, or null. */
  list(object: KubeObject): Change<T> | null {
    const { uid, resourceVersion } = object.metadata;
    if (this.#held.get(uid)?.resourceVersion === resourceVersion) return null;
    return this.#put(object);
  }

  /** Ends a list: removes every object that is not in `uids`. */
  retain(uids: ReadonlySet<string>): Change<T>[] {
    const changes: Change<T>[] = [];
    for (const uid of this.#held.keys()) {
      if (uids.has(uid)) continue;
      const change = this.#remove(uid);
      if (change) changes.push(change);
    }
    return changes;
  }

  /** Applies an ADDED, MODIFIED or DELETED event. */
  event(type: 'ADDED' | 'MODIFIED' | 'DELETED', object: KubeObject): Change<T> | null {
    const { uid, resourceVersion } = object.metadata;
    const held = this.#held.get(uid);
    if (held && !isNewer(resourceVersion, held.resourceVersion)) {
      // The last state before deletion may have the version that is already stored.
      if (type !== 'DELETED' || resourceVersion !== held.resourceVersion) {
        this.staleEvents += 1;
        return null;
      }
    }
    return type === 'DELETED' ? this.#remove(uid) : this.#put(object);
  }

  #put(object: KubeObject): Change<T> | null {
    const { uid, resourceVersion } = object.metadata;
    const value = this.#select(object);
    if (value === null) return this.#remove(uid);
    const before = this.#held.get(uid);
    this.#held.set(uid, { resourceVersion, value });
    return before ? { type: 'update', uid, value, before: before.value } : { type: 'add', uid, value };
  }

  #remove(uid: string): Change<T> | null {
    const held = this.#held.get(uid);
    if (!held) return null;
    this.#held.delete(uid);
    return { type: 'delete', uid, value: held.value };
  }
}

/**
 * resourceVersions of one server are increasing decimals. If one is not decimal, only equality is
 * known, and a different version counts as newer.
 */
export function isNewer(version: string, than: string): boolean {
  if (version === than) return false;
  if (!/^[1-9]\d*$/.test(version) || !/^[1-9]\d*$/.test(than)) return true;
  return version.length === than.length ? version > than : version.length > than.length;
}
