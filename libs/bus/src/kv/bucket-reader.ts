/**
 * Follows all keys of a bucket under a filter: every collector follows bailiff_config with it.
 *
 * Reads walk the copy of the bucket (bucket-copy.ts) by direct gets, the first one from its
 * beginning, later ones on from the cursor. The copy may lag behind the pushes; a read delivers only
 * what is newer.
 *
 * Recreated buckets: `bailiff bus setup` then renews the copy. The sequence of the first message of
 * a copy never decreases. If it decreased, if that message or the one at the cursor changed, or if the first
 * one is before the cursor and younger, the copy was recreated, and the reader delivers all entries again.
 * Otherwise the walk from the cursor misses no entry, except of a restored copy in which a later value of its
 * key has replaced the message at the cursor.
 */

import { pause } from '@bailiff/service/retry';
import { BusError } from '../connection/errors.ts';
import { BYTES_PER_READ, type Pace, paceOfReads } from '../connection/node-pace.ts';
import { isKey, type KvEntry } from './bucket.ts';
import type { Place } from './bucket-copy.ts';
import { type FollowerBuses, type FollowerOptions, MAX_KEYS, SnapshotFollower } from './snapshot-follower.ts';

/** Clocks of the servers of a cluster differ by less. */
const CLOCK_SKEW_MICROS = 10_000_000;

/** Before the first message. */
const NOTHING: Place = { revision: 0, timestampMicros: 0 };

export interface BucketReaderOptions extends FollowerOptions {
  /** Receives each newer value of each key, tombstones included (`deleted`). */
  onEntry: (entry: KvEntry) => void;
  /**
   * Called when the initial values are delivered, and again after each restart. Keys that the new
   * stream lacks are not delivered.
   */
  onSynced?: () => void;
  /**
   * Called once per start, after enough reads that the copy has every key of the bucket: a key that
   * was not delivered does not exist.
   */
  onComplete?: () => void;
}

/** Follows all keys of a small bucket under a filter. Starts at once; the caller closes it. */
export class BucketReader extends SnapshotFollower {
  readonly #filter: string;
  readonly #bucketOptions: BucketReaderOptions;
  readonly #delivered = new Map<string, Place>();
  readonly #pace: Pace;
  /** The copy was read up to this message; null before the first read. */
  #cursor: Place | null = null;
  /** First message of the copy at that read. */
  #first: Place = NOTHING;
  #synced = false;
  #complete = false;

  constructor(buses: FollowerBuses, bucket: string, filter: string, options: BucketReaderOptions) {
    super(buses, bucket, filter, options);
    this.#filter = filter;
    this.#bucketOptions = options;
    this.#pace = paceOfReads(this.bus);
    this.begin();
  }

  protected override async read(): Promise<'certain' | 'doubtful'> {
    const first = (await this.copy.next(1))?.place ?? NOTHING;
    if (this.#cursor !== null) {
      const life = await this.#lifeOf(this.#cursor, first);
      if (life === 'unknown' && this.mayBeBehind()) return 'doubtful';
      if (life !== 'same') this.startOver();
    }
    await this.#readOn(this.#cursor ?? NOTHING);
    if (this.closed) return 'certain';
    this.#cursor ??= NOTHING;
    this.#first = first;
    if (!this.#synced) this.#bucketOptions.onSynced?.();
    this.#synced = true;
    // A copy that was just created is empty until the server has filled it.
    if (this.#complete || !this.isSettled || first === NOTHING) return 'certain';
    this.#complete = true;
    this.#bucketOptions.onComplete?.();
    return 'certain';
  }

  /** Whether the copy was recreated since the cursor was read. Unknown: the responding server may lag. */
  async #lifeOf(cursor: Place, first: Place): Promise<'same' | 'other' | 'unknown'> {
    if (cursor.revision === 0) return 'same';
    // The last message of a copy is removed only after a newer one.
    const found = (await this.copy.next(cursor.revision))?.place;
    if (!found) return 'unknown';
    // A copy that was restored from a backup keeps its first message.
    if (found.revision === cursor.revision && found.timestampMicros !== cursor.timestampMicros) return 'other';
    if (first.revision < this.#first.revision) return 'other';
    if (first.revision === this.#first.revision)
      return first.timestampMicros === this.#first.timestampMicros ? 'same' : 'other';
    const isYounger = first.timestampMicros > cursor.timestampMicros + CLOCK_SKEW_MICROS;
    return first.revision <= cursor.revision && isYounger ? 'other' : 'same';
  }

  /** Delivers the entries of the copy after a message. */
  async #readOn(from: Place): Promise<void> {
    for (let at = from.revision; !this.closed; ) {
      const found = await this.copy.next(at + 1, this.#filter);
      if (found === null) return;
      const { entry, place } = found;
      this.#pace.take(1 + entry.value.length / BYTES_PER_READ);
      const { waitMs } = this.#pace;
      if (waitMs > 0) await pause(waitMs);
      if (isKey(entry.key)) this.accept(entry);
      else this.report(new BusError('BUS_MESSAGE', `${this.name}: ignored ${entry.key}: it is not a valid key`));
      at = place.revision;
      this.#cursor = place;
    }
  }

  /** Accepts the entry if it is newer. The read then detects the stream and delivers all of it. */
  protected override onOtherLineage(entry: KvEntry): void {
    this.accept(entry);
    this.reread();
  }
  protected override deliveredOf(key: string): Place | null {
    return this.#delivered.get(key) ?? null;
  }
  protected override revisionOf(key: string): number | null {
    return this.#delivered.get(key)?.revision ?? (this.#cursor === null ? null : 0);
  }
  protected override recordDelivery({ key, revision, timestampMicros }: KvEntry): boolean {
    if (!this.#delivered.has(key) && this.#delivered.size >= MAX_KEYS) return false;
    this.#delivered.set(key, { revision, timestampMicros });
    return true;
  }
  protected override reset(): void {
    this.#delivered.clear();
    this.#cursor = null;
    this.#synced = false;
    this.#complete = false;
  }
  protected override deliver(entry: KvEntry): void {
    this.#bucketOptions.onEntry(entry);
  }
}
