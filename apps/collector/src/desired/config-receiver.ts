/**
 * Receives the documents of this node from the bus, brings them into the desired state, caches
 * accepted ones on disk, and has the engines apply the change. Configuration without a required signature is
 * refused here, from the bus and from disk (ADR 36), and a key without a signed deletion stays. A start restores the cached
 * documents before it guards anything, so neither a restart nor an unavailable bus enforces
 * defaults.
 *
 * Data path: bus-documents.ts → here → desired-state.ts → packets/engine.ts, operations/engine.ts.
 */

import { encodeToken, type FollowerBuses } from '@bailiff/bus';
import type { SignedConfig } from '@bailiff/policy';
import type { Binding } from '../identity/identity.ts';
import type { ProblemLog } from '../process/problem-log.ts';
import type { ApplyLatency } from './apply-latency.ts';
import { type BusDocument, BusDocuments, type ConfigKind, isRuntimePolicy } from './bus-documents.ts';
import type { DesiredState, ReceiveResult } from './desired-state.ts';
import type { DocumentCache } from './document-cache.ts';

/** Receives runtime policies, from disk and from the bus. */
export interface RuntimePolicies {
  /** A cached policy; before the first one from the bus. */
  restore(document: BusDocument & { json: string }): void;
  receive(document: BusDocument): void;
  /** Keys that have a value here. */
  policyKeys(): string[];
  /** The bus sent every key. */
  synced(): void;
}

export interface ConfigReceiverOptions {
  desired: DesiredState;
  documents: DocumentCache;
  signed: SignedConfig;
  runtime: RuntimePolicies;
  latency: Pick<ApplyLatency, 'documentApplied'>;
  bindings(): Iterable<Binding>;
  nowMicros(): number;
  /** In the order in which they apply a change (engine.ts). */
  engines: readonly { apply(): void }[];
  /** A document was rejected, or an accepted snapshot is no longer believed. */
  onRefused(document: Pick<BusDocument, 'what' | 'key'>, reason: string): void;
  problems: Pick<ProblemLog, 'attempt' | 'report'>;
}

/** Lists of pods and networks are applied at once after a pass that took less. */
const SHORT_MS = 100;

export class ConfigReceiver {
  readonly #o: ConfigReceiverOptions;
  #documents: BusDocuments | null = null;
  /** When the next list is applied, at the earliest. */
  #listsDueMs = 0;
  /** Documents that were received and not applied yet: of each kind the oldest one. */
  readonly #waiting = new Map<BusDocument['what'], { document: BusDocument; storedMicros: number }>();
  #timer: NodeJS.Timeout | null = null;
  #soon: NodeJS.Immediate | null = null;

  constructor(options: ConfigReceiverOptions) {
    this.#o = options;
  }

  /**
   * Restores the documents that the last process accepted. Call it once, before anything is
   * guarded.
   */
  restore(): void {
    for (const document of this.#load()) {
      if (isRuntimePolicy(document)) this.#o.runtime.restore(document);
      else this.#report(document, this.#deliver(document));
    }
    this.#o.desired.markRestored();
  }

  /** Restores the accepted runtime policies: detached programs and their engine have none. */
  restoreRuntime(): void {
    for (const document of this.#load()) if (isRuntimePolicy(document)) this.#o.runtime.restore(document);
  }

  /** The cached documents that are in force by the signers of this process. */
  *#load(): Iterable<BusDocument & { json: string }> {
    for (const document of this.#o.documents.load()) {
      const { json } = document;
      if (this.#isSigned(document) && json !== null) yield { ...document, json };
    }
  }

  /** Whether a document has the signature that it needs; otherwise it is refused. */
  #isSigned(document: BusDocument): boolean {
    const { what, key, json, signature = '' } = document;
    const refusal = what === 'config' ? this.#o.signed.refusal({ key, json, signature }) : '';
    if (refusal === '') return true;
    this.#o.desired.configRefused.set(key, refusal);
    this.#o.onRefused(document, refusal);
    return false;
  }

  /** Follows the documents of this node until the returned object is closed. */
  follow(buses: FollowerBuses): BusDocuments {
    const { desired, nowMicros, problems } = this.#o;
    this.#documents = new BusDocuments(buses, encodeToken(desired.nodeName), nowMicros(), {
      onDocument: (document, storedMicros) =>
        problems.attempt(document.what, () => this.receive(document, storedMicros)),
      onConfigSynced: (kind, keys) => problems.attempt(kind, () => this.configSynced(kind, keys)),
      onRestart: (what) => {
        problems.report(what, '', 'the bucket was recreated: the last documents stay in force until it has new ones');
      },
      onError: (part, error) => problems.report(part, '', error.message, error),
    });
    return this.#documents;
  }

  /** See BusDocuments; null before the first connection. */
  unconfirmed(): { forMs: number; reason: string } | null {
    return this.#documents?.unconfirmed() ?? null;
  }

  /** Brings all documents that were received into the kernel. */
  #apply(): void {
    this.close();
    const startMs = performance.now();
    for (const engine of this.#o.engines) engine.apply();
    const endMs = performance.now();
    const tookMs = endMs - startMs;
    this.#listsDueMs = tookMs < SHORT_MS ? 0 : endMs + tookMs;
    for (const { document, storedMicros } of this.#waiting.values())
      this.#o.latency.documentApplied(document, storedMicros);
    this.#waiting.clear();
  }

  /**
   * Applies a document that was received. Tenants can change the lists of pods and networks all the time, and
   * a pass is long where pods chose many equal addresses. These lists then wait as long as the last pass took,
   * and one pass applies all of them. Other documents wait only for those that arrived during that pass: a
   * tenant can have many of its pods quarantined at once.
   */
  #received(document: BusDocument, storedMicros: number): void {
    const { what } = document;
    if (!this.#waiting.has(what)) this.#waiting.set(what, { document, storedMicros });
    const isList = what === 'pods' || what === 'cluster';
    const waitMs = this.#listsDueMs - performance.now();
    const apply = () => this.#o.problems.attempt(what, () => this.#apply());
    if (waitMs <= 0) this.#apply();
    else if (isList) this.#timer ??= setTimeout(apply, waitMs).unref();
    else this.#soon ??= setImmediate(apply);
  }

  /** Documents that wait stay in the desired state: only the next pass applies them. */
  close(): void {
    if (this.#timer) clearTimeout(this.#timer);
    if (this.#soon) clearImmediate(this.#soon);
    [this.#timer, this.#soon] = [null, null];
  }

  /** Revision in the bucket of the newest spoof policy that was received; 0: none. */
  get spoofRevision(): number {
    return this.#documents?.spoofRevision ?? 0;
  }

  /**
   * Receives a document from the bus. A deleted document changes nothing: the last good one stays.
   * @param storedMicros when the bus stored it; 0: unknown
   */
  receive(document: BusDocument, storedMicros = 0): void {
    if (!this.#isSigned(document)) return;
    if (isRuntimePolicy(document)) {
      this.#o.desired.configRefused.delete(document.key);
      this.#o.runtime.receive(document);
      this.#o.latency.documentApplied(document, storedMicros);
      return;
    }
    const { what, json } = document;
    if (what !== 'config' && json === null) return;
    const result = this.#deliver(document);
    this.#report(document, result);
    if (!result.changed) return;
    if ('refused' in result) {
      this.#received(document, 0);
      return;
    }
    if (json === null) this.#o.documents.remove(document);
    else this.#o.documents.save({ ...document, json });
    this.#received(document, storedMicros);
  }

  #deliver({ what, key, json }: BusDocument): ReceiveResult {
    const { desired } = this.#o;
    if (what === 'config') return desired.receiveConfig(key, json);
    if (what === 'pods') return desired.receivePods(json as string, this.#o.bindings());
    return what === 'cluster' ? desired.receiveCluster(json as string) : desired.receiveQuarantine(json as string);
  }

  #report(document: BusDocument, result: ReceiveResult): void {
    const { problems, onRefused } = this.#o;
    if ('refused' in result) onRefused(document, result.refused);
    else
      for (const reason of result.dropped ?? [])
        problems.report(document.what, document.key, `dropped value: ${reason}`);
  }

  /**
   * The bus sent every key of a kind: other keys were deleted while this process was not connected.
   * @param keys keys that have a value; null: others may have one too, or the bucket was recreated,
   *   so nothing counts as deleted
   */
  configSynced(kind: ConfigKind, keys: ReadonlySet<string> | null): void {
    const { desired, runtime, signed } = this.#o;
    for (const key of kind === 'runtime' ? runtime.policyKeys() : desired.configKeys(kind))
      if (keys && !keys.has(key)) this.receive({ what: 'config', key, json: null });
    for (const [key, reason] of signed.missing([kind]))
      if (!desired.configRefused.has(key)) desired.configRefused.set(key, reason);
    if (kind === 'runtime') {
      runtime.synced();
      return;
    }
    desired.markSynced(kind);
    this.#apply();
  }

  /** Bindings changed: checks the newest snapshot of pods against them. */
  recheckPods(): void {
    const changed = this.#o.desired.recheck([...this.#o.bindings()]);
    if (!changed) return;
    const document = { what: 'pods', key: this.#o.desired.nodeName } as const;
    if (changed.inForce === null) {
      this.#o.documents.remove(document);
      this.#o.onRefused(document, changed.refused);
    } else {
      this.#o.documents.save({ ...document, json: changed.inForce });
    }
    this.#apply();
  }
}
