/**
 * Garbage collection and namespace deletion: deletes dependents with their last owner, and the
 * contents of a terminating namespace. Background only; a Foreground request is handled as
 * Background. An owner that never existed is ignored. Runs in a later turn of the event loop;
 * `stop` ends it.
 */
import { crdStorage } from '../kinds/crds.ts';
import type { Change } from '../store/history.ts';
import { keyOf, type Store } from '../store/store.ts';
import type { KubeObject } from '../types.ts';
import type { Operations } from '../verbs/operations.ts';

export class GarbageCollector {
  readonly #operations: Operations;
  readonly #store: Store;
  /** Owner uid → `storage key` of its dependents. */
  #dependents = new Map<string, Set<string>>();
  /** Names of scheduled work. */
  #waiting = new Set<string>();
  #stop: () => void;
  #stopped = false;

  constructor(operations: Operations) {
    this.#operations = operations;
    this.#store = operations.store;
    this.#stop = this.#store.subscribe((change) => this.#see(change));
  }

  stop(): void {
    this.#stopped = true;
    this.#stop();
  }

  /** Removes the owner from its dependents, so that they stay. */
  orphan(ownerUid: string): void {
    for (const { storage, key, object } of this.#dependentsOf(ownerUid)) {
      const ownerReferences = (object.metadata.ownerReferences ?? []).filter((owner) => owner.uid !== ownerUid);
      this.#store.put(storage, key, { ...object, metadata: { ...object.metadata, ownerReferences } });
    }
  }

  #see(change: Change): void {
    const entry = `${change.storage} ${change.key}`;
    for (const owner of change.previous?.metadata.ownerReferences ?? []) this.#dependents.get(owner.uid)?.delete(entry);
    if (change.type !== 'DELETED') {
      for (const owner of change.object.metadata.ownerReferences ?? []) {
        const known = this.#dependents.get(owner.uid) ?? new Set();
        this.#dependents.set(owner.uid, known.add(entry));
      }
    } else if (this.#dependents.has(change.object.metadata.uid)) {
      this.#later(`owner ${change.object.metadata.uid}`, () => this.#collect(change.object.metadata.uid));
    }
    this.#seeNamespace(change);
    if (change.storage === crdStorage && change.type === 'DELETED')
      this.#later(`bucket ${change.key}`, () => this.#empty(change.key));
  }

  #seeNamespace(change: Change): void {
    if (
      change.storage === 'namespaces' &&
      change.object.metadata.deletionTimestamp !== undefined &&
      change.type !== 'DELETED'
    ) {
      this.#later(`namespace ${change.key}`, () => this.#emptyNamespace(change.key));
      return;
    }
    const home = change.object.metadata.namespace;
    if (change.type !== 'DELETED' || home === undefined) return;
    if (this.#store.get('namespaces', home)?.metadata.deletionTimestamp !== undefined) {
      this.#later(`namespace ${home}`, () => this.#emptyNamespace(home));
    }
  }

  #collect(ownerUid: string): void {
    for (const { storage, key, object } of this.#dependentsOf(ownerUid)) {
      const left = (object.metadata.ownerReferences ?? []).filter((owner) => owner.uid !== ownerUid);
      if (left.some((owner) => this.#exists(owner.uid))) {
        this.#store.put(storage, key, { ...object, metadata: { ...object.metadata, ownerReferences: left } });
      } else this.#delete(storage, object);
    }
    this.#dependents.delete(ownerUid);
  }

  #exists(uid: string): boolean {
    return this.#store
      .storages()
      .some((storage) => this.#store.list(storage).some((object) => object.metadata.uid === uid));
  }

  #dependentsOf(ownerUid: string): { storage: string; key: string; object: KubeObject }[] {
    return [...(this.#dependents.get(ownerUid) ?? [])].flatMap((entry) => {
      const space = entry.indexOf(' ');
      const [storage, key] = [entry.slice(0, space), entry.slice(space + 1)];
      const object = this.#store.get(storage, key);
      return object === undefined ? [] : [{ storage, key, object }];
    });
  }

  /** Deletes the contents of a terminating namespace, then the empty namespace. */
  #emptyNamespace(name: string): void {
    const namespace = this.#store.get('namespaces', name);
    if (namespace?.metadata.deletionTimestamp === undefined) return;
    let left = 0;
    for (const storage of this.#store.storages()) {
      for (const object of this.#store.list(storage)) {
        if (object.metadata.namespace !== name) continue;
        this.#delete(storage, object);
        if (this.#store.get(storage, keyOf(name, object.metadata.name)) !== undefined) left += 1;
      }
    }
    if (
      left === 0 &&
      (namespace.metadata.finalizers ?? []).length === 0 &&
      this.#store.get('namespaces', name) !== undefined
    ) {
      this.#store.remove('namespaces', name);
    }
  }

  #empty(storage: string): void {
    for (const object of this.#store.list(storage)) {
      this.#store.remove(storage, keyOf(object.metadata.namespace, object.metadata.name));
    }
  }

  #delete(storage: string, object: KubeObject): void {
    if (object.metadata.deletionTimestamp !== undefined) return;
    const def = this.#operations.registry.byStorage(storage);
    if (def !== undefined) this.#operations.delete(def, object.metadata, { propagationPolicy: 'Background' });
  }

  /** Runs work in a later turn; scheduled work with the same name is not added twice. */
  #later(name: string, work: () => void): void {
    if (this.#waiting.has(name)) return;
    this.#waiting.add(name);
    setImmediate(() => {
      this.#waiting.delete(name);
      if (!this.#stopped) work();
    });
  }
}
