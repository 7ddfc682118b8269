/**
 * Rebuilds quarantine lists that the bus lost, from RESPONSES: after `bailiff_quarantine` was recreated, and where a node's key holds no list.
 *
 * Data path: the bucket → here → the bucket, beside the actions that edit it. An entry that is absent from a list that can be read was
 * removed by a person and stays out: the list itself names who was released (the record may still be on its way), a start rebuilds only
 * quarantines from before the bucket was created, a running process those it knows of when the bucket is recreated. One edit holds all
 * entries of a node, so that no list in between lifts one of them. Safe to repeat, and with several replicas. Bounds: one edit a node
 * with quarantined pods or an unreadable list; an edit that fails is tried again by the next `settle`.
 */
import {
  editQuarantine,
  type Ledger,
  type QuarantineInForce,
  renewed,
  storedQuarantine,
  withEntry,
  withoutEntry,
} from '@bailiff/answer';
import { type Bucket, type Bus, decodeToken, encodeToken, isName, microsOf, streamInfo } from '@bailiff/bus';
import type { QuarantineEntry } from '@bailiff/schemas';
import type { ResponseLog } from './ports.ts';

export interface QuarantineKeeperOptions {
  bus: Bus;
  bucket: Bucket;
  ledger: Pick<Ledger, 'quarantines'>;
  log: Pick<ResponseLog, 'caughtUp'>;
  nowMs(): number;
  /** The bucket was made anew under this process. */
  onRemade(): void;
  /** A node's key holds no list: an injected reply, or a value of another program. */
  onLost(nodeName: string): void;
  onPutAgain(nodeName: string, pods: number): void;
  /** Something is still owed: call `settle` again. */
  onError(error: Error): void;
  signal: AbortSignal;
}

export class QuarantineKeeper {
  readonly #o: QuarantineKeeperOptions;
  /** The bucket was found as it is now, and has not been seen to since. */
  #owing = false;
  /** It became another while this process watched. */
  #remade = false;
  /** Nodes whose key holds no list. */
  readonly #lost = new Set<string>();
  #working: Promise<void> | null = null;

  constructor(options: QuarantineKeeperOptions) {
    this.#o = options;
  }

  /** Watches until the signal aborts; RESPONSES must be folded before. @throws BusError as Bucket.watch */
  async watch(): Promise<void> {
    await this.#o.bucket.watch({
      onEntry: (entry) => {
        if (entry.deleted || storedQuarantine(entry)) return;
        const nodeName = decodeToken(entry.key);
        if (!isName(nodeName)) return;
        this.#lost.add(nodeName);
        this.#o.onLost(nodeName);
        this.#owing = true;
        void this.settle();
      },
      onRemade: () => {
        this.#remade = true;
        this.#o.onRemade();
      },
      onSynced: () => {
        this.#owing = true;
        void this.settle();
      },
      signal: this.#o.signal,
    });
    await this.#working;
  }

  /** Puts what is owed. Never rejects. */
  settle(): Promise<void> {
    this.#working ??= this.#work().finally(() => {
      this.#working = null;
    });
    return this.#working;
  }

  async #work(): Promise<void> {
    while (this.#owing && !this.#o.signal.aborted) {
      this.#owing = false;
      try {
        await this.#putAgain();
      } catch (error) {
        this.#owing = true;
        if (!this.#o.signal.aborted) this.#o.onError(error as Error);
        return;
      }
    }
  }

  async #putAgain(): Promise<void> {
    const { bus, bucket, ledger, log } = this.#o;
    const { created } = await streamInfo(bus, `KV_${bucket.name}`);
    const before = this.#remade ? Number.POSITIVE_INFINITY : microsOf(created);
    // A release that is on the stream already must not be undone.
    await log.caughtUp();
    const byNode = new Map<string, QuarantineInForce[]>();
    for (const nodeName of this.#lost) byNode.set(nodeName, []);
    for (const one of ledger.quarantines()) {
      const { nodeName } = one.response;
      if (one.sinceMicros >= before && !this.#lost.has(nodeName)) continue;
      byNode.set(nodeName, [...(byNode.get(nodeName) ?? []), one]);
    }
    for (const [nodeName, those] of byNode) {
      await this.#putOn(nodeName, those);
      this.#lost.delete(nodeName);
    }
  }

  async #putOn(nodeName: string, those: readonly QuarantineInForce[]): Promise<void> {
    const { bucket, ledger, log, nowMs } = this.#o;
    const key = encodeToken(nodeName);
    const inForce = those.map((one) => ({ taskId: one.taskId, entry: entryOf(one) }));
    const put = await editQuarantine(
      bucket,
      key,
      nodeName,
      (list) => {
        const outcome: typeof inForce = [];
        let edited = list;
        for (const one of inForce) {
          if (Date.parse(one.entry.until) <= nowMs()) continue;
          const next = withEntry(edited, one.entry, nowMs());
          if (next.list !== edited) outcome.push(one);
          edited = next.list;
        }
        return { list: edited === list && this.#lost.has(nodeName) ? renewed(list, nowMs()) : edited, outcome };
      },
      { rebuild: true },
    );
    if (put.length === 0) return;
    this.#o.onPutAgain(nodeName, put.length);
    // Released meanwhile: whoever did found no entry to take out.
    await log.caughtUp();
    const still = new Set([...ledger.quarantines()].map(({ taskId }) => taskId));
    for (const { taskId, entry } of put) {
      if (still.has(taskId)) continue;
      const which = { podUid: entry.podUid, untilMs: Date.parse(entry.until) };
      await editQuarantine(bucket, key, nodeName, (list) => withoutEntry(list, which, nowMs()));
    }
  }
}

function entryOf({ response, untilMicros }: QuarantineInForce): QuarantineEntry {
  const { podUid, podNamespace, podName, verdictId, rule } = response;
  return {
    podUid,
    podNamespace,
    podName,
    verdictId,
    until: new Date(untilMicros / 1000).toISOString(),
    reason: `${rule}; rebuilt from RESPONSES`,
  };
}
