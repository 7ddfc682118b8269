/**
 * Reconciles `bailiff_pods` with the plan while this process leads. Level-triggered: keys are
 * marked, and a write takes the plan of that moment. Changes within `coalesceMs` cost one write;
 * nothing is queued. Tenants take turns (write-turns.ts).
 *
 * Each write names the revision it replaces. A term starts by rewriting every key, so that a late
 * write of the former leader fails with a conflict. During the term a watch detects foreign writes,
 * and they are corrected. Bounds: one mark per key and tenant, `CONCURRENCY` writes at once, backoff up
 * to `MAX_BACKOFF_MS` after failed keys.
 */
import { type Bucket, BusError, type KvEntry } from '@bailiff/bus';
import { type ClusterSnapshot, decodeSnapshotValue, type NodeSnapshot } from '@bailiff/schemas';
import { backoffMs, pause } from '@bailiff/service';
import { digestOf, encodeSnapshot, nextRevision } from './plan.ts';
import { NO_TENANT, type Turn, WriteTurns } from './write-turns.ts';

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
  /** A key has this value when the term starts. */
  onFound?(snapshot: Snapshot): void;
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

interface Sent {
  /** null: a deletion. */
  value: Buffer | null;
  /** The write as the watch delivered it. */
  entry: KvEntry | null;
}

interface Write {
  stored: StoredSnapshot;
  after: Pick<StoredSnapshot, 'digest' | 'exists' | 'snapshotRevision'>;
  /** null: deletes the key. */
  value: Buffer | null;
}

const CONCURRENCY = 16;
/** Turns after which failed keys are marked again: a tenant's marks must not hold them back. */
const TURNS_PER_FLUSH = 64;
const BACKOFF = { baseMs: 100, maxMs: 5_000 };
/** A wait ends without a mark after this long. */
const MAX_WAIT_MS = 60_000;
const NOTHING: StoredSnapshot = { busRevision: 0, snapshotRevision: 0, digest: null, exists: false, ours: false };

/** One term of leadership. */
export class SnapshotWriter {
  #options: WriterOptions;
  #stored = new Map<string, StoredSnapshot>();
  readonly #turns: WriteTurns;
  /** Writes whose ack is awaited, by key. */
  readonly #sent = new Map<string, Sent>();
  /** Resolves when events were read since the last plan. */
  #events: Promise<void> = Promise.resolve();
  #oversized = new Set<string>();
  #wake: () => void = () => {};
  #synced = false;
  #flushing = false;
  #failuresInRow = 0;
  readonly stats: WriterStats;

  constructor(
    options: WriterOptions,
    stats: WriterStats = { writes: 0, deletes: 0, conflicts: 0, failures: 0, tooLarge: 0 },
  ) {
    this.#options = options;
    this.#turns = new WriteTurns(options.coalesceMs, () => performance.now());
    this.stats = stats;
  }

  /** True once every key is reconciled in this term. */
  get settled(): boolean {
    return this.#synced && !this.#flushing && this.#turns.size === 0;
  }
  /** Keys whose snapshot exceeds the limit; the former value stays stored. */
  get oversized(): ReadonlySet<string> {
    return this.#oversized;
  }
  get pending(): number {
    return this.#turns.size;
  }
  /** Keys that are marked or being written; at least one before the bucket is read. */
  get unwritten(): number {
    return Math.max(this.#synced ? 0 : 1, this.#turns.size + this.#turns.open);
  }

  /** Marks keys whose plan may have changed. @param tenant namespace of the pod that changed it */
  mark(keys: Iterable<string>, tenant = NO_TENANT): void {
    for (const key of keys) this.#turns.mark(key, tenant);
    if (this.#turns.size > 0) this.#wake();
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
      const dueInMs = this.#synced ? this.#turns.dueInMs : Number.POSITIVE_INFINITY;
      if (dueInMs > 0) {
        await this.#nextMark(dueInMs, signal);
        continue;
      }
      const failed = await this.#flush(signal);
      this.#failuresInRow = failed === 0 ? 0 : this.#failuresInRow + 1;
      if (failed > 0) await pause(backoffMs(this.#failuresInRow, BACKOFF, Math.random()), signal);
    }
  }

  /** Waits until a key is due, at most until the next mark. */
  async #nextMark(dueInMs: number, signal: AbortSignal): Promise<void> {
    const marked = new AbortController();
    this.#wake = () => {
      if (this.#synced) marked.abort();
    };
    await pause(Math.min(MAX_WAIT_MS, Math.ceil(dueInMs)), AbortSignal.any([marked.signal, signal]));
    this.#wake = () => {};
  }

  /** Writes the keys that are due; returns the number of failures. */
  async #flush(signal: AbortSignal): Promise<number> {
    this.#flushing = true;
    const failed: Turn[] = [];
    let turns = 0;
    const worker = async () => {
      for (;;) {
        await this.#afterEvents();
        const turn = !signal.aborted && turns < TURNS_PER_FLUSH ? this.#turns.next() : null;
        if (turn === null) return;
        turns += 1;
        if (!(await this.#reconcile(turn))) failed.push(turn);
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, worker));
    for (const turn of failed) this.#turns.again(turn);
    this.#flushing = false;
    return failed.length;
  }

  /** Between two plans, of whatever workers, events are read: their marks may be first. */
  #afterEvents(): Promise<void> {
    const before = this.#events;
    this.#events = before.then(() => new Promise((resolve) => setImmediate(resolve)));
    return before;
  }

  /** Reconciles one key; false if it must be retried. */
  async #reconcile(turn: Turn): Promise<boolean> {
    const { key, marks } = turn;
    const beganMs = performance.now();
    const write = this.#plan(key);
    const usedMs = performance.now() - beganMs;
    const done = write === null || (await this.#write(key, write.stored, write.after, write.value));
    if (!done) return false;
    this.#turns.end(turn, usedMs);
    if (write?.value) this.#options.onWritten?.(performance.now() - Math.min(...marks.values()));
    return true;
  }

  /** The write that brings a key to its plan; null: none is needed or possible. */
  #plan(key: string): Write | null {
    const stored = this.#stored.get(key) ?? NOTHING;
    const snapshot = this.#options.plan(key);
    if (snapshot === null) {
      this.#oversized.delete(key);
      if (!stored.exists) return null;
      const after = { digest: null, exists: false, snapshotRevision: stored.snapshotRevision };
      return { stored, after, value: null };
    }
    const digest = digestOf(snapshot);
    if (stored.ours && stored.digest === digest) return null;
    const { nowMs = Date.now } = this.#options;
    const snapshotRevision = nextRevision(stored.snapshotRevision, nowMs());
    const { refused, value } = encodeSnapshot(snapshot, snapshotRevision);
    if (refused) {
      this.#oversized.add(key);
      this.stats.tooLarge += 1;
      return null;
    }
    this.#oversized.delete(key);
    return { stored, after: { digest, exists: true, snapshotRevision }, value };
  }

  async #write(key: string, stored: StoredSnapshot, after: Write['after'], value: Buffer | null): Promise<boolean> {
    const { bucket, isLeader } = this.#options;
    const options = { previousRevision: stored.busRevision };
    // Checked directly before the write, without an await in between.
    if (!isLeader()) return false;
    const sent: Sent = { value, entry: null };
    this.#sent.set(key, sent);
    try {
      const written = value === null ? bucket.delete(key, options) : bucket.put(key, value, options);
      const busRevision = await written.finally(() => this.#sent.delete(key));
      this.#options.onStored?.(busRevision);
      if (value === null) this.stats.deletes += 1;
      else this.stats.writes += 1;
      this.#stand(key, { ...after, busRevision, ours: true });
      return true;
    } catch (error) {
      if (!(error instanceof BusError)) throw error;
      // It was stored, and only its ack was lost.
      if (sent.entry) this.#observe(sent.entry);
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
    // The watch may deliver an own write before its ack, which then needs no reading.
    const sent = this.#sent.get(entry.key);
    if (sent?.value && !entry.deleted && sent.value.equals(entry.value)) {
      sent.entry = entry;
      return;
    }
    const { digest, snapshotRevision, snapshot } = readSnapshot(entry);
    if (snapshot && !this.#synced) this.#options.onFound?.(snapshot);
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
function readSnapshot(entry: KvEntry): { digest: string | null; snapshotRevision: number; snapshot?: Snapshot } {
  if (entry.deleted) return { digest: null, snapshotRevision: 0 };
  try {
    const { revision, ...snapshot } = JSON.parse(decodeSnapshotValue(entry.value)) as Snapshot & { revision: unknown };
    const snapshotRevision = Number.isSafeInteger(revision) ? (revision as number) : 0;
    return { digest: digestOf(snapshot), snapshotRevision, snapshot };
  } catch {
    return { digest: null, snapshotRevision: 0 };
  }
}
