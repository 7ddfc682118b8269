/**
 * Readers that follow a key or a small bucket without a consumer on the server.
 *
 * Every collector follows bailiff_pods, bailiff_quarantine and bailiff_config with them: a consumer
 * for each of thousands of nodes would overload the cluster. The next push, a reconnect or the
 * re-read corrects a lost push. While the bus is unavailable, the last value stays in force. It
 * also stays while a response is older, because a replica may lag: an older response counts from
 * the MAX_DOUBTS-th time in a row.
 */

import { BusError } from '../connection/errors.ts';
import { streamInfo } from '../streams/direct.ts';
import { isKey, type KvEntry } from './bucket.ts';
import {
  type Delivered,
  type FollowerBuses,
  type FollowerOptions,
  isOtherLineage,
  MAX_KEYS,
  SnapshotFollower,
} from './snapshot-follower.ts';

/**
 * Consecutive older responses, a second apart, after which the delivered value is considered gone.
 */
export const MAX_DOUBTS = 5;

export interface SnapshotOptions extends FollowerOptions {
  /** Receives each newer value, tombstones included (`deleted`). */
  onSnapshot: (entry: KvEntry) => void;
  /** The key does not exist. Called once until it does. */
  onMissing?: () => void;
}

/** Follows one key. Starts at once; the caller closes it. */
export class SnapshotReader extends SnapshotFollower {
  private readonly key: string;
  private readonly snapshotOptions: SnapshotOptions;
  private missing = false;
  private delivered: Delivered | null = null;
  private doubts = 0;
  private doubtedAtMs = 0;

  constructor(buses: FollowerBuses, bucket: string, key: string, options: SnapshotOptions) {
    super(buses, bucket, key, options);
    this.key = key;
    this.snapshotOptions = options;
    this.begin();
  }

  /** Revision of the last delivered value; 0 = none. */
  get revision(): number {
    return this.delivered?.revision ?? 0;
  }

  protected override async read(): Promise<'certain' | 'doubtful'> {
    const entry = await this.bucket.newest(this.key);
    if (this.closed) return 'certain';
    if (entry?.injected) {
      this.accept(entry);
      return 'certain';
    }
    if (this.delivered && (entry === null || entry.revision < this.delivered.revision)) {
      const now = performance.now();
      // A flapping connection reads more often than that, but a replica needs time to catch up.
      if (this.doubts > 0 && now < this.doubtedAtMs + this.retryMs) return 'doubtful';
      this.doubtedAtMs = now;
      this.doubts += 1;
      if (this.doubts < MAX_DOUBTS) return 'doubtful';
      this.startOver();
    }
    this.doubts = 0;
    if (entry && this.delivered && isOtherLineage(this.delivered, entry)) this.startOver();
    if (entry) this.accept(entry);
    else if (!this.missing) {
      this.missing = true;
      this.snapshotOptions.onMissing?.();
    }
    return 'certain';
  }
  /** A push comes from the leader, so no replica lag is involved. */
  protected override onOtherLineage(entry: KvEntry): void {
    this.startOver();
    this.accept(entry);
  }
  protected override deliveredOf(): Delivered | null {
    return this.delivered;
  }
  protected override revisionOf(): number | null {
    return this.revision;
  }
  protected override recordDelivery({ revision, timestampMicros }: KvEntry): boolean {
    this.missing = false;
    this.delivered = { revision, timestampMicros };
    return true;
  }
  protected override reset(): void {
    this.delivered = null;
    this.doubts = 0;
  }
  protected override deliver(entry: KvEntry): void {
    this.snapshotOptions.onSnapshot(entry);
  }
}

export interface BucketReaderOptions extends FollowerOptions {
  /** Receives each newer value of each key, tombstones included (`deleted`). */
  onEntry: (entry: KvEntry) => void;
  /**
   * Called when the initial values are delivered, and again after each restart. Keys that the new
   * stream lacks are not delivered.
   */
  onSynced?: () => void;
}

/** Follows all keys of a small bucket under a filter. Starts at once; the caller closes it. */
export class BucketReader extends SnapshotFollower {
  private readonly filter: string;
  private readonly bucketOptions: BucketReaderOptions;
  private readonly delivered = new Map<string, Delivered>();
  /** Everything up to this revision was read; null before the first read. */
  private cursor: number | null = null;
  /** Creation time of the stream. Another time means another stream. */
  private created = '';
  /**
   * Highest received revision. If it is above the stream's last one, the stream was recreated or
   * the entry is not from it.
   */
  private newest = 0;

  constructor(buses: FollowerBuses, bucket: string, filter: string, options: BucketReaderOptions) {
    super(buses, bucket, filter, options);
    this.filter = filter;
    this.bucketOptions = options;
    this.begin();
  }

  protected override async read(): Promise<'certain'> {
    if (this.cursor !== null) {
      // The stream leader responds, so no replica lag is involved.
      const { created, state } = await streamInfo(this.bus, `KV_${this.bucket.name}`);
      if (created === this.created && state.last_seq >= Math.max(this.cursor, this.newest)) {
        await this.readOn(this.cursor);
        return 'certain';
      }
      this.startOver();
    }
    await this.readFirst();
    return 'certain';
  }

  private async readOn(from: number): Promise<void> {
    for (let at = from; !this.closed; ) {
      const entry: KvEntry | null = await this.bucket.next(at + 1, this.filter);
      if (!entry) return;
      this.accept(entry);
      at = entry.revision;
      this.cursor = at;
    }
  }

  /**
   * Reads the list of keys in one response, then the newest entry of each. Walking the stream would
   * read all history.
   */
  private async readFirst(): Promise<void> {
    const prefix = `$KV.${this.bucket.name}.`;
    const info = await streamInfo(this.bus, `KV_${this.bucket.name}`, { subjects_filter: prefix + this.filter });
    for (const subject of Object.keys(info.state.subjects ?? {})) {
      const key = subject.slice(prefix.length);
      const entry = isKey(key) ? await this.bucket.newest(key) : null;
      if (entry) this.accept(entry);
      else if (!isKey(key))
        this.report(new BusError('BUS_MESSAGE', `${this.bucket.name}: ignored ${subject}: it is not a valid key`));
    }
    this.cursor = info.state.last_seq;
    this.created = info.created;
    this.bucketOptions.onSynced?.();
  }

  /** Accepts the entry if it is newer. The read then detects the stream and delivers all of it. */
  protected override onOtherLineage(entry: KvEntry): void {
    this.accept(entry);
    this.reread();
  }
  protected override deliveredOf(key: string): Delivered | null {
    return this.delivered.get(key) ?? null;
  }
  protected override revisionOf(key: string): number | null {
    return this.delivered.get(key)?.revision ?? (this.cursor === null ? null : 0);
  }
  protected override recordDelivery({ key, revision, timestampMicros }: KvEntry): boolean {
    if (!this.delivered.has(key) && this.delivered.size >= MAX_KEYS) return false;
    this.delivered.set(key, { revision, timestampMicros });
    this.newest = Math.max(this.newest, revision);
    return true;
  }
  protected override reset(): void {
    this.delivered.clear();
    this.cursor = null;
    this.newest = 0;
  }
  protected override deliver(entry: KvEntry): void {
    this.bucketOptions.onEntry(entry);
  }
}
