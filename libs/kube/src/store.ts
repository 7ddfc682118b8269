/**
 * What a reflector knows: one small value for each object, by UID, with the resourceVersion it came from. Pure: lists and events
 * go in, changes come out. An object is known by its UID alone, so a pod made anew under the same name is another one.
 *
 * Invariants: an object is announced once, by `add`, before any `update` or `delete`; after `replace` the store holds exactly
 * what the list holds; an event older than what is held for that UID changes nothing.
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
  /** Events that were older than what was held. */
  staleEvents = 0;

  /** @param select the part to keep; null when the object is of no interest (any more) */
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

  /** Takes every object that comes next, though its version is held: `select` keeps another part of it now. */
  reselect(): void {
    for (const held of this.#held.values()) held.resourceVersion = '';
  }

  /** Takes an object as a list shows it; gives the change, or null when there is none. */
  list(object: KubeObject): Change<T> | null {
    const { uid, resourceVersion } = object.metadata;
    if (this.#held.get(uid)?.resourceVersion === resourceVersion) return null;
    return this.#put(object);
  }

  /** Ends a list: whatever is not among `uids` is gone. */
  retain(uids: ReadonlySet<string>): Change<T>[] {
    const changes: Change<T>[] = [];
    for (const uid of this.#held.keys()) {
      if (uids.has(uid)) continue;
      const change = this.#remove(uid);
      if (change) changes.push(change);
    }
    return changes;
  }

  /** Takes an ADDED, MODIFIED or DELETED event. */
  event(type: 'ADDED' | 'MODIFIED' | 'DELETED', object: KubeObject): Change<T> | null {
    const { uid, resourceVersion } = object.metadata;
    const held = this.#held.get(uid);
    if (held && !isNewer(resourceVersion, held.resourceVersion)) {
      // The last state before deletion may carry the version that is already held.
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

/** Versions of one server are decimal and grow; where one is not, only equality can be told, and what differs is taken as newer. */
export function isNewer(version: string, than: string): boolean {
  if (version === than) return false;
  if (!/^[1-9]\d*$/.test(version) || !/^[1-9]\d*$/.test(than)) return true;
  return version.length === than.length ? version > than : version.length > than.length;
}
