/**
 * Puts quarantines again when `bailiff_quarantine` was deleted and made anew: RESPONSES says which are in force.
 *
 * Place in the path: the bucket → here → the bucket, beside the actions that write it. An entry that is absent from a bucket that lives on
 * was taken out by a person, and stays out: the list itself says who was released (whose record may still be on its way), a start puts again only what was begun before the bucket was made, a running process only
 * what it knows of when the bucket becomes another. A node's entries go in by one edit, so that no list in between lifts one of them.
 * Safe to do twice, and by several replicas. Bounds: one edit a node with quarantined pods; what fails is tried again when told to.
 */
import { editQuarantine, type Ledger, type QuarantineInForce, withEntry, withoutEntry } from '@bailiff/answer';
import { type Bucket, type Bus, encodeToken, microsOf, streamInfo } from '@bailiff/bus';
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
  #working: Promise<void> | null = null;

  constructor(options: QuarantineKeeperOptions) {
    this.#o = options;
  }

  /** Watches until the signal aborts; RESPONSES must be folded before. @throws BusError as Bucket.watch */
  async watch(): Promise<void> {
    await this.#o.bucket.watch({
      onEntry: () => undefined,
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
    for (const one of ledger.quarantines()) {
      if (one.sinceMicros >= before) continue;
      const { nodeName } = one.response;
      byNode.set(nodeName, [...(byNode.get(nodeName) ?? []), one]);
    }
    for (const [nodeName, those] of byNode) await this.#putOn(nodeName, those);
  }

  async #putOn(nodeName: string, those: readonly QuarantineInForce[]): Promise<void> {
    const { bucket, ledger, log, nowMs } = this.#o;
    const key = encodeToken(nodeName);
    const inForce = those.map((one) => ({ taskId: one.taskId, entry: entryOf(one) }));
    const put = await editQuarantine(bucket, key, nodeName, (list) => {
      const outcome: typeof inForce = [];
      let edited = list;
      for (const one of inForce) {
        if (Date.parse(one.entry.until) <= nowMs()) continue;
        const next = withEntry(edited, one.entry, nowMs());
        if (next.list !== edited) outcome.push(one);
        edited = next.list;
      }
      return { list: edited, outcome };
    });
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
    reason: `${rule}; put again because the bucket was made anew`,
  };
}
