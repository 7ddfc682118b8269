/**
 * Documents of the bus -> what is desired, and onto disk. What an earlier process accepted is taken from disk before anything is guarded,
 * so that neither a restart nor a bus that is away has a moment of defaults. Only what was accepted is saved.
 */
import type { Binding } from '../identity/identity.ts';
import { type BusDocument, type ConfigKind, isRuntimePolicy } from './bus-documents.ts';
import type { DesiredState, Taken } from './desired-state.ts';
import type { DocumentStore, SavedDocument } from './document-cache.ts';

/** Receives the runtime policies, from disk and from the bus. */
export interface RuntimePolicies {
  restore(document: SavedDocument): void;
  take(document: BusDocument): void;
  /** @param keys keys that have a value; null: the bucket was recreated */
  synced(keys: ReadonlySet<string> | null): void;
}

export interface IntakeOptions {
  desired: DesiredState;
  documents: DocumentStore;
  runtime: RuntimePolicies;
  bindings(): Iterable<Binding>;
  /** Something else is desired than before. */
  onChanged(): void;
  /** A document was not taken, or what was in force is no longer believed. */
  onRefused(document: Pick<BusDocument, 'what' | 'key'>, reason: string): void;
  /** One value of an accepted document was left out. */
  onDropped(document: Pick<BusDocument, 'what' | 'key'>, reason: string): void;
}

export class Intake {
  readonly #o: IntakeOptions;

  constructor(options: IntakeOptions) {
    this.#o = options;
  }

  /** What the last process accepted. Call once, before anything is guarded. */
  restore(): void {
    for (const document of this.#o.documents.load()) {
      if (isRuntimePolicy(document)) this.#o.runtime.restore(document);
      else this.#report(document, this.#hand(document));
    }
    this.#o.desired.restored();
  }

  /**
   * Something came from the bus. A document that was deleted changes nothing: the last good one is kept.
   * @returns whether what is in force was changed by it, or will be in a moment
   */
  take(document: BusDocument): boolean {
    if (isRuntimePolicy(document)) {
      this.#o.runtime.take(document);
      return true;
    }
    const { what, json } = document;
    if (what !== 'config' && json === null) return false;
    const taken = this.#hand(document);
    this.#report(document, taken);
    if ('refused' in taken || !taken.changed) return false;
    if (json === null) this.#o.documents.remove(document);
    else this.#o.documents.save({ ...document, json });
    this.#o.onChanged();
    return true;
  }

  #hand({ what, key, json }: BusDocument): Taken {
    const { desired } = this.#o;
    if (what === 'config') return desired.takeConfig(key, json);
    if (what === 'pods') return desired.takePods(json as string, this.#o.bindings());
    return what === 'cluster' ? desired.takeCluster(json as string) : desired.takeQuarantine(json as string);
  }

  #report(document: BusDocument, taken: Taken): void {
    if ('refused' in taken) this.#o.onRefused(document, taken.refused);
    else for (const reason of taken.dropped ?? []) this.#o.onDropped(document, reason);
  }

  /** The bus has told all keys of a kind: what is held beside them was deleted while nobody listened, unless its store was lost (null). */
  configSynced(kind: ConfigKind, keys: ReadonlySet<string> | null): void {
    if (kind === 'runtime') {
      this.#o.runtime.synced(keys);
      return;
    }
    for (const key of this.#o.desired.configKeys(kind))
      if (keys && !keys.has(key)) this.take({ what: 'config', key, json: null });
    this.#o.desired.synced(kind);
    this.#o.onChanged();
  }

  /** A binding was made or replaced: is the snapshot still to be believed, or at last? */
  rejudge(): void {
    const changed = this.#o.desired.rejudge([...this.#o.bindings()]);
    if (!changed) return;
    const document = { what: 'pods', key: this.#o.desired.nodeName } as const;
    if (changed.inForce === null) {
      this.#o.documents.remove(document);
      this.#o.onRefused(document, changed.refused);
    } else {
      this.#o.documents.save({ ...document, json: changed.inForce });
    }
    this.#o.onChanged();
  }
}
