/**
 * Brings `bailiff_pods` to what the plan says, while this process leads. Level-triggered: keys are marked, and what is written is
 * the plan at the time of the write, so any number of changes within `coalesceMs` cost one write and none is kept in a queue.
 *
 * Nothing is overwritten unseen: each write names the revision it replaces. A term begins by rewriting every key that
 * exists, whatever it holds, so that a write of the former leader that is still under way meets a conflict; during the term the bucket is watched, so
 * what somebody else writes is seen and put right.
 *
 * Bounds: one mark a key; `CONCURRENCY` writes at once; a failed key waits, backing off to `MAX_BACKOFF_MS`.
 */
import { type Bucket, BusError, type KvEntry } from '@bailiff/bus';
import { type ClusterSnapshot, decodeSnapshotValue, type NodeSnapshot } from '@bailiff/schemas';
import { backoffMs, pause } from '@bailiff/service';
import { digestOf, encodeSnapshot, nextRevision } from './plan.ts';

export type Snapshot = Omit<NodeSnapshot, 'revision'> | Omit<ClusterSnapshot, 'revision'>;

export interface WriterOptions {
  bucket: Pick<Bucket, 'put' | 'delete' | 'newest' | 'watch'>;
  /** What ought to stand under a key; null: nothing. */
  plan(key: string): Snapshot | null;
  /** All keys that ought to exist. */
  keys(): string[];
  /** Whether this process may write, right now and by its own clock. */
  isLeader(): boolean;
  /** Asks the server whether it still leads. */
  confirmLeader(): Promise<boolean>;
  coalesceMs: number;
  nowMs?: () => number;
  /** The bus has stored a write or a removal, under this sequence. */
  onStored?(sequence: number): void;
  /** A key was written: how long after its first mark. */
  onWritten?(latencyMs: number): void;
  /** A key could not be written or read, and is tried again. */
  onFailure?(error: BusError): void;
}

export interface WriterStats {
  writes: number;
  deletes: number;
  conflicts: number;
  failures: number;
  /** Writes not made because the snapshot was above the limit. */
  tooLarge: number;
}

/** What stands under a key as far as is known. */
interface Standing {
  /** Of the bucket; 0: the key never was. */
  busRevision: number;
  snapshotRevision: number;
  /** null: nothing, or nothing that can be read. */
  digest: string | null;
  exists: boolean;
  /** Written in this term. */
  ours: boolean;
}

const CONCURRENCY = 16;
const BACKOFF = { baseMs: 100, maxMs: 5_000 };
const NOTHING: Standing = { busRevision: 0, snapshotRevision: 0, digest: null, exists: false, ours: false };

/** One term of leadership. */
export class SnapshotWriter {
  #options: WriterOptions;
  #standing = new Map<string, Standing>();
  #marked = new Map<string, number>();
  #oversized = new Set<string>();
  #wake: () => void = () => {};
  #synced = false;
  #flushing = false;
  /** Keys of the flush that have not been brought to the plan yet. */
  #underWay = 0;
  #failuresInRow = 0;
  readonly stats: WriterStats;

  constructor(
    options: WriterOptions,
    stats: WriterStats = { writes: 0, deletes: 0, conflicts: 0, failures: 0, tooLarge: 0 },
  ) {
    this.#options = options;
    this.stats = stats;
  }

  /** True once every key has been brought to the plan in this term. */
  get settled(): boolean {
    return this.#synced && !this.#flushing && this.#marked.size === 0;
  }
  /** Keys whose snapshot is above the limit: the one before still stands. */
  get oversized(): ReadonlySet<string> {
    return this.#oversized;
  }
  get pending(): number {
    return this.#marked.size;
  }
  /** Keys that are marked or being written; at least one while the bucket has not been read. */
  get unwritten(): number {
    return Math.max(this.#synced ? 0 : 1, this.#marked.size + this.#underWay);
  }

  /** Says that the plan for these keys may have changed. */
  mark(keys: Iterable<string>): void {
    const now = performance.now();
    for (const key of keys) if (!this.#marked.has(key)) this.#marked.set(key, now);
    if (this.#marked.size > 0) this.#wake();
  }

  /** Writes until the term ends; what was under way then is waited for. */
  async run(term: AbortSignal): Promise<void> {
    const stop = new AbortController();
    const signal = AbortSignal.any([term, stop.signal]);
    const watching = this.#options.bucket.watch({
      signal,
      onEntry: (entry) => this.#seen(entry),
      // A recreated bucket is empty, so every snapshot is written again.
      onRecreated: () => {
        this.#synced = false;
        this.#standing.clear();
      },
      onSynced: () => {
        this.#synced = true;
        this.mark([...this.#standing.keys(), ...this.#options.keys()]);
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

  /** Writes all marked keys; gives how many could not be. */
  async #flush(signal: AbortSignal): Promise<number> {
    const batch = [...this.#marked];
    this.#marked.clear();
    this.#flushing = true;
    this.#underWay = batch.length;
    let failed = 0;
    const worker = async () => {
      for (let next = batch.pop(); next !== undefined; next = batch.pop()) {
        const [key, sinceMs] = next;
        const done = !signal.aborted && (await this.#bring(key, sinceMs));
        this.#underWay -= 1;
        if (done) continue;
        failed += 1;
        this.#marked.set(key, Math.min(sinceMs, this.#marked.get(key) ?? sinceMs));
      }
    };
    await Promise.all(Array.from({ length: Math.min(CONCURRENCY, batch.length) }, worker));
    this.#flushing = false;
    return failed;
  }

  /** Brings one key to its plan; false when that has to be tried again. */
  async #bring(key: string, sinceMs: number): Promise<boolean> {
    const standing = this.#standing.get(key) ?? NOTHING;
    const snapshot = this.#options.plan(key);
    if (snapshot === null) {
      this.#oversized.delete(key);
      if (!standing.exists) return true;
      return this.#write(
        key,
        standing,
        { digest: null, exists: false, snapshotRevision: standing.snapshotRevision },
        null,
      );
    }
    const digest = digestOf(snapshot);
    if (standing.ours && standing.digest === digest) return true;
    const { nowMs = Date.now } = this.#options;
    const snapshotRevision = nextRevision(standing.snapshotRevision, nowMs());
    const { refused, value } = encodeSnapshot(snapshot, snapshotRevision);
    if (refused) {
      this.#oversized.add(key);
      this.stats.tooLarge += 1;
      return true;
    }
    this.#oversized.delete(key);
    const written = await this.#write(key, standing, { digest, exists: true, snapshotRevision }, value);
    if (written) this.#options.onWritten?.(performance.now() - sinceMs);
    return written;
  }

  async #write(
    key: string,
    standing: Standing,
    after: Pick<Standing, 'digest' | 'exists' | 'snapshotRevision'>,
    value: Buffer | null,
  ): Promise<boolean> {
    const { bucket, isLeader } = this.#options;
    const options = { previousRevision: standing.busRevision };
    // Asked as late as can be: between this line and the write there is no wait.
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

  /** Learns what stands under a key after a conflict; the next try writes over that, and over nothing newer. */
  async #reread(key: string): Promise<void> {
    try {
      const entry = await this.#options.bucket.newest(key);
      if (entry) this.#seen(entry);
      else this.#standing.delete(key);
    } catch (error) {
      if (!(error instanceof BusError)) throw error;
      this.#failed(error);
    }
  }

  #failed(error: BusError): void {
    this.stats.failures += 1;
    this.#options.onFailure?.(error);
  }

  /** An entry of the bucket, by watch or by reading: ours come back here too. */
  #seen(entry: KvEntry): void {
    const known = this.#standing.get(entry.key);
    if (known && entry.revision <= known.busRevision) return;
    const { digest, snapshotRevision } = readSnapshot(entry);
    this.#stand(entry.key, {
      busRevision: entry.revision,
      snapshotRevision: Math.max(snapshotRevision, known?.snapshotRevision ?? 0),
      digest,
      exists: !entry.deleted,
      // In the term's first sight of a key it is somebody else's; later a write that is not ours is compared like ours.
      ours: known?.ours ?? false,
    });
    if (this.#synced) this.mark([entry.key]);
  }

  #stand(key: string, standing: Standing): void {
    const known = this.#standing.get(key);
    // The echo of a newer write may have come before the ack of an older one.
    if (!known || standing.busRevision >= known.busRevision) this.#standing.set(key, standing);
  }
}

/** What a stored snapshot says; what cannot be read says nothing and is written over. */
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
