/**
 * Reconciles `bailiff_pods` with the plan while this process leads. Level-triggered: keys are
 * marked, and a write takes the plan of that moment. Changes within `coalesceMs` cost one write;
 * nothing is queued.
 *
 * Each write names the revision it replaces. A term starts by rewriting every key, so that a late
 * write of the former leader fails with a conflict. During the term a watch detects foreign writes,
 * and they are corrected. Bounds: one mark per key, `CONCURRENCY` writes at once, backoff up to
 * `MAX_BACKOFF_MS` per failed key.
 */
import { type Bucket, BusError, type KvEntry } from '@bailiff/bus';
import { type ClusterSnapshot, decodeSnapshotValue, type NodeSnapshot } from '@bailiff/schemas';
import { backoffMs, pause } from '@bailiff/service';
import { digestOf, encodeSnapshot, nextRevision } from './plan.ts';

export type Snapshot = Omit<NodeSnapshot, 'revision'> | Omit<ClusterSnapshot, 'revision'>;

export interface WriterOptions {
  bucket: Pick<Bucket, 'put' | 'delete' | 'newest' | 'watch'>;
  /** Desired value of a key; null: none. */
  plan(key: string): Snapshot | null;
  /** All desired keys. */
  keys(): string[];
  /** True if this process leads now, by its own clock. */
  isLeader(): boolean;
  /** Asks the API server whether this process still leads. */
  confirmLeader(): Promise<boolean>;
  coalesceMs: number;
  nowMs?: () => number;
  /** The bus stored a write or a deletion with this sequence. */
  onStored?(sequence: number): void;
  /** A key was written; time since its first mark. */
  onWritten?(latencyMs: number): void;
  /** A key could not be read or written, and is retried. */
  onFailure?(error: BusError): void;
}

export interface WriterStats {
  writes: number;
  deletes: number;
  conflicts: number;
  failures: number;
  /** Writes skipped because the snapshot exceeds the limit. */
  tooLarge: number;
}

/** The known stored value of a key. */
interface StoredSnapshot {
  /** Revision in the bucket; 0: the key never existed. */
  busRevision: number;
  snapshotRevision: number;
  /** null: no value, or an unreadable one. */
  digest: string | null;
  exists: boolean;
  /** Written in this term. */
  ours: boolean;
}

const CONCURRENCY = 16;
const BACKOFF = { baseMs: 100, maxMs: 5_000 };
const NOTHING: StoredSnapshot = { busRevision: 0, snapshotRevision: 0, digest: null, exists: false, ours: false };

/** One term of leadership. */
export class SnapshotWriter {
  #options: WriterOptions;
  #stored = new Map<string, StoredSnapshot>();
  #marked = new Map<string, number>();
  #oversized = new Set<string>();
  #wake: () => void = () => {};
  #synced = false;
  #flushing = false;
  /** Keys of the current flush that are not reconciled yet. */
  #openKeys = 0;
  #failuresInRow = 0;
  readonly stats: WriterStats;

  constructor(
    options: WriterOptions,
    stats: WriterStats = { writes: 0, deletes: 0, conflicts: 0, failures: 0, tooLarge: 0 },
  ) {
    this.#options = options;
    this.stats = stats;
  }

  /** True once every key is reconciled in this term. */
  get settled(): boolean {
    return this.#synced && !this.#flushing && this.#marked.size === 0;
  }
  /** Keys whose snapshot exceeds the limit; the former value stays stored. */
  get oversized(): ReadonlySet<string> {
    return this.#oversized;
  }
  get pending(): number {
    return this.#marked.size;
  }
  /** Keys that are marked or being written; at least one before the bucket is read. */
  get unwritten(): number {
    return Math.max(this.#synced ? 0 : 1, this.#marked.size + this.#openKeys);
  }

  /** Marks keys whose plan may have changed. */
  mark(keys: Iterable<string>): void {
    const now = performance.now();
    for (const key of keys) if (!this.#marked.has(key)) this.#marked.set(key, now);
    if (this.#marked.size > 0) this.#wake();
  }

  /** Writes until the term ends, then waits for open writes. */
  async run(term: AbortSignal): Promise<void> {
    const stop = new AbortController();
    const signal = AbortSignal.any([term, stop.signal]);
    const watching = this.#options.bucket.watch({
      signal,
      onEntry: (entry) => this.#observe(entry),
      // A recreated bucket is empty, so every snapshot is written again.
      onRecreated: () => {
        this.#synced = false;
        this.#stored.clear();
      },
      onSynced: () => {
        this.#synced = true;
        this.mark([...this.#stored.keys(), ...this.#options.keys()]);
      },
    });
    const parts = [this.#loop(signal), watching];
    await Promise.race(parts).catch(() => {});
    stop.abort();
    for (const part of await Promise.allSettled(parts)) if (part.status === 'rejected') throw part.reason;
  }

  async #loop(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (!this.#synced || this.#marked.size === 0) {
        await this.#nextMark(signal);
        continue;
      }
      await pause(this.#options.coalesceMs, signal);
      if (signal.aborted) return;
      const failed = await this.#flush(signal);
      this.#failuresInRow = failed === 0 ? 0 : this.#failuresInRow + 1;
      if (failed > 0) await pause(backoffMs(this.#failuresInRow, BACKOFF, Math.random()), signal);
    }
  }

  #nextMark(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const finish = () => {
        signal.removeEventListener('abort', finish);
        this.#wake = () => {};
        resolve();
      };
      signal.addEventListener('abort', finish, { once: true });
      this.#wake = () => {
        if (this.#synced) finish();
      };
      if (signal.aborted || (this.#synced && this.#marked.size > 0)) finish();
    });
  }

  /** Writes all marked keys; returns the number of failures. */
  async #flush(signal: AbortSignal): Promise<number> {
    const batch = [...this.#marked];
    this.#marked.clear();
    this.#flushing = true;
    this.#openKeys = batch.length;
    let failed = 0;
    const worker = async () => {
      for (let next = batch.pop(); next !== undefined; next = batch.pop()) {
        const [key, sinceMs] = next;
        const done = !signal.aborted && (await this.#reconcile(key, sinceMs));
        this.#openKeys -= 1;
        if (done) continue;
        failed += 1;
        this.#marked.set(key, Math.min(sinceMs, this.#marked.get(key) ?? sinceMs));
      }
    };
    await Promise.all(Array.from({ length: Math.min(CONCURRENCY, batch.length) }, worker));
    this.#flushing = false;
    return failed;
  }

  /** Reconciles one key; false if it must be retried. */
  async #reconcile(key: string, sinceMs: number): Promise<boolean> {
    const stored = this.#stored.get(key) ?? NOTHING;
    const snapshot = this.#options.plan(key);
    if (snapshot === null) {
      this.#oversized.delete(key);
      if (!stored.exists) return true;
      return this.#write(key, stored, { digest: null, exists: false, snapshotRevision: stored.snapshotRevision }, null);
    }
    const digest = digestOf(snapshot);
    if (stored.ours && stored.digest === digest) return true;
    const { nowMs = Date.now } = this.#options;
    const snapshotRevision = nextRevision(stored.snapshotRevision, nowMs());
    const { refused, value } = encodeSnapshot(snapshot, snapshotRevision);
    if (refused) {
      this.#oversized.add(key);
      this.stats.tooLarge += 1;
      return true;
    }
    this.#oversized.delete(key);
    const written = await this.#write(key, stored, { digest, exists: true, snapshotRevision }, value);
    if (written) this.#options.onWritten?.(performance.now() - sinceMs);
    return written;
  }

  async #write(
    key: string,
    stored: StoredSnapshot,
    after: Pick<StoredSnapshot, 'digest' | 'exists' | 'snapshotRevision'>,
    value: Buffer | null,
  ): Promise<boolean> {
    const { bucket, isLeader } = this.#options;
    const options = { previousRevision: stored.busRevision };
    // Checked directly before the write, without an await in between.
    if (!isLeader()) return false;
    try {
      const busRevision = await (value === null ? bucket.delete(key, options) : bucket.put(key, value, options));
      this.#options.onStored?.(busRevision);
      if (value === null) this.stats.deletes += 1;
      else this.stats.writes += 1;
      this.#stand(key, { ...after, busRevision, ours: true });
      return true;
    } catch (error) {
      if (!(error instanceof BusError)) throw error;
      if (error.code === 'BUS_CONFLICT') {
        this.stats.conflicts += 1;
        if (await this.#options.confirmLeader()) await this.#reread(key);
      } else this.#failed(error);
      return false;
    }
  }

  /** Reads a key after a conflict, so that the retry replaces exactly that revision. */
  async #reread(key: string): Promise<void> {
    try {
      const entry = await this.#options.bucket.newest(key);
      if (entry) this.#observe(entry);
      else this.#stored.delete(key);
    } catch (error) {
      if (!(error instanceof BusError)) throw error;
      this.#failed(error);
    }
  }

  #failed(error: BusError): void {
    this.stats.failures += 1;
    this.#options.onFailure?.(error);
  }

  /** Handles an entry from the watch or a read, own writes included. */
  #observe(entry: KvEntry): void {
    const known = this.#stored.get(entry.key);
    if (known && entry.revision <= known.busRevision) return;
    const { digest, snapshotRevision } = readSnapshot(entry);
    this.#stand(entry.key, {
      busRevision: entry.revision,
      snapshotRevision: Math.max(snapshotRevision, known?.snapshotRevision ?? 0),
      digest,
      exists: !entry.deleted,
      // The first entry of a key in a term is foreign. Later foreign writes are compared by digest.
      ours: known?.ours ?? false,
    });
    if (this.#synced) this.mark([entry.key]);
  }

  #stand(key: string, stored: StoredSnapshot): void {
    const known = this.#stored.get(key);
    // The watch may deliver a newer write before the ack of an older one arrives.
    if (!known || stored.busRevision >= known.busRevision) this.#stored.set(key, stored);
  }
}

/** Parses a stored snapshot; an unreadable one is replaced. */
function readSnapshot(entry: KvEntry): { digest: string | null; snapshotRevision: number } {
  if (entry.deleted) return { digest: null, snapshotRevision: 0 };
  try {
    const { revision, ...snapshot } = JSON.parse(decodeSnapshotValue(entry.value)) as Snapshot & { revision: unknown };
    const snapshotRevision = Number.isSafeInteger(revision) ? (revision as number) : 0;
    return { digest: digestOf(snapshot), snapshotRevision };
  } catch {
    return { digest: null, snapshotRevision: 0 };
  }
}
