/**
 * Quarantine controller: removes entries of pods that are gone, as their node reports. Restores
 * quarantine lists from RESPONSES after `bailiff_quarantine` was recreated, and for a node whose key
 * has no valid list.
 *
 * An entry that is missing from a valid list was released by a person and is not restored: the list
 * names the release. A start restores only quarantines older than the bucket. One edit per node
 * restores all its entries, so no intermediate list ends one of them. If they exceed the list, the
 * newest are restored and the others reported. Idempotent and safe with several replicas. A failed
 * edit is retried by the next call.
 */

import { type Bucket, type Bus, createdMicrosOf, decodeToken, encodeToken, isName, streamInfo } from '@bailiff/bus';
import {
  editQuarantine,
  type Ledger,
  QuarantineError,
  type QuarantineInForce,
  renewed,
  storedQuarantine,
  withEntry,
  withoutEntry,
  withoutGone,
} from '@bailiff/response';
import type { QuarantineEntry, QuarantineList } from '@bailiff/schemas';
import { entryInForce } from '../actions/quarantine-entry.ts';
import type { ResponseLog } from '../ports.ts';

export interface QuarantineControllerOptions {
  bus: Bus;
  bucket: Bucket;
  /** Pods of a node's quarantine list that are gone. @throws BusError */
  quarantinesGone(nodeName: string): Promise<ReadonlySet<string>>;
  ledger: Pick<Ledger, 'quarantines'>;
  log: Pick<ResponseLog, 'caughtUp'>;
  nowMs(): number;
  /** A node's key has no valid list: an injected reply, or a value of another program. */
  onUnreadable(nodeName: string): void;
  onRestored(nodeName: string, pods: number): void;
  /** Quarantines that found no place in the node's list: most of them of pods that are gone. */
  onOmitted(nodeName: string, pods: number): void;
  /** A restore or a removal failed: call it again. */
  onError(error: Error): void;
  signal: AbortSignal;
}

export class QuarantineController {
  readonly #o: QuarantineControllerOptions;
  /** A restore is due. */
  #isDue = false;
  /** The bucket was recreated while this process watched it. */
  #isRecreated = false;
  /** Nodes whose key has no valid list. */
  readonly #unreadable = new Set<string>();
  /** Nodes whose list has entries. */
  readonly #nonEmpty = new Set<string>();
  #working: Promise<void> | null = null;
  #sweeping: Promise<void> | null = null;

  constructor(options: QuarantineControllerOptions) {
    this.#o = options;
  }

  /**
   * Watches until the signal aborts. The ledger must have caught up before.
   * @throws BusError like Bucket.watch
   */
  async watch(): Promise<void> {
    await this.#o.bucket.watch({
      onEntry: (entry) => {
        const nodeName = decodeToken(entry.key);
        if (!isName(nodeName)) return;
        const list = entry.deleted ? null : storedQuarantine(nodeName, entry);
        if (list && list.entries.length > 0) this.#nonEmpty.add(nodeName);
        else this.#nonEmpty.delete(nodeName);
        if (entry.deleted || list) return;
        this.#unreadable.add(nodeName);
        this.#o.onUnreadable(nodeName);
        this.#isDue = true;
        void this.reconcile();
      },
      onRecreated: () => {
        this.#isRecreated = true;
      },
      onSynced: () => {
        this.#isDue = true;
        void this.reconcile();
      },
      signal: this.#o.signal,
    });
    await Promise.all([this.#working, this.#sweeping]);
  }

  /** Removes the entries of pods that are gone. Never rejects. */
  removeGone(): Promise<void> {
    this.#sweeping ??= this.#removeGone().finally(() => {
      this.#sweeping = null;
    });
    return this.#sweeping;
  }

  async #removeGone(): Promise<void> {
    const { bucket, quarantinesGone, nowMs, onError, signal } = this.#o;
    for (const nodeName of this.#nonEmpty) {
      if (signal.aborted) return;
      try {
        const gone = await quarantinesGone(nodeName);
        if (gone.size === 0) continue;
        await editQuarantine(bucket, encodeToken(nodeName), nodeName, (list) => withoutGone(list, gone, nowMs()));
      } catch (error) {
        if (!signal.aborted) onError(error as Error);
      }
    }
  }

  /** Restores lists if it is due. Never rejects. */
  reconcile(): Promise<void> {
    this.#working ??= this.#work().finally(() => {
      this.#working = null;
    });
    return this.#working;
  }

  async #work(): Promise<void> {
    while (this.#isDue && !this.#o.signal.aborted) {
      this.#isDue = false;
      try {
        await this.#restore();
      } catch (error) {
        this.#isDue = true;
        if (!this.#o.signal.aborted) this.#o.onError(error as Error);
        return;
      }
    }
  }

  async #restore(): Promise<void> {
    const { bus, bucket, ledger, log } = this.#o;
    const info = await streamInfo(bus, `KV_${bucket.name}`);
    const before = this.#isRecreated ? Number.POSITIVE_INFINITY : createdMicrosOf(info);
    // Releases in the stream must be known, or they would be reverted.
    await log.caughtUp();
    const byNode = new Map<string, QuarantineInForce[]>();
    for (const nodeName of this.#unreadable) byNode.set(nodeName, []);
    for (const one of ledger.quarantines()) {
      const { nodeName } = one.response;
      if (one.sinceMicros >= before && !this.#unreadable.has(nodeName)) continue;
      // Others can store records: one whose node has no name must not keep the others back.
      if (!isName(nodeName)) continue;
      byNode.set(nodeName, [...(byNode.get(nodeName) ?? []), one]);
    }
    for (const [nodeName, quarantines] of byNode) {
      await this.#restoreOn(nodeName, quarantines);
      this.#unreadable.delete(nodeName);
    }
  }

  async #restoreOn(nodeName: string, quarantines: readonly QuarantineInForce[]): Promise<void> {
    const { bucket, ledger, log, nowMs } = this.#o;
    const key = encodeToken(nodeName);
    const gone = await this.#o.quarantinesGone(nodeName);
    const inForce = [...quarantines]
      .sort((a, b) => b.sinceMicros - a.sinceMicros)
      .map((one) => ({ taskId: one.taskId, entry: entryInForce(one) }))
      .filter(({ entry }) => !gone.has(entry.podUid));
    let omitted = 0;
    const restored = await editQuarantine(
      bucket,
      key,
      nodeName,
      (list) => {
        const outcome: typeof inForce = [];
        const full = new Set<string>();
        let edited = list;
        omitted = 0;
        for (const one of inForce) {
          if (Date.parse(one.entry.until) <= nowMs()) continue;
          const { podNamespace } = one.entry;
          const next = full.has(podNamespace) ? null : addIfRoom(edited, one.entry, nowMs());
          if (!next) {
            omitted += 1;
            full.add(podNamespace);
            continue;
          }
          if (next !== edited) outcome.push(one);
          edited = next;
        }
        return { list: edited === list && this.#unreadable.has(nodeName) ? renewed(list, nowMs()) : edited, outcome };
      },
      { rebuild: true },
    );
    if (omitted > 0) this.#o.onOmitted(nodeName, omitted);
    if (restored.length === 0) return;
    this.#o.onRestored(nodeName, restored.length);
    // A release during the edit found no entry to remove, so it is removed here.
    await log.caughtUp();
    const still = new Set([...ledger.quarantines()].map(({ taskId }) => taskId));
    for (const { taskId, entry } of restored) {
      if (still.has(taskId)) continue;
      const which = { podUid: entry.podUid, untilMs: Date.parse(entry.until) };
      await editQuarantine(bucket, key, nodeName, (list) => withoutEntry(list, which, nowMs()));
    }
  }
}

/** The list with the entry; null without a place for it. */
function addIfRoom(list: QuarantineList, entry: QuarantineEntry, nowMs: number): QuarantineList | null {
  try {
    return withEntry(list, entry, nowMs).list;
  } catch (error) {
    if (error instanceof QuarantineError && error.code === 'QUARANTINE_FULL') return null;
    throw error;
  }
}
