/**
 * Follows all keys of a bucket under a filter by direct gets alone: every collector follows
 * bailiff_config with it. Other requests about a stream pass a queue of the server that all clients
 * share, so a node must not send them (permissions.ts).
 *
 * The first read lists the keys by a copy of the bucket (`LATEST_<bucket>`), because a walk of the
 * bucket reads all revisions of each key. Values come from the bucket. What the copy does not list
 * yet, or does not list at all, comes from a walk. Later reads walk on from the cursor.
 *
 * Recreated streams: a message that was received is checked at its revision. If it has more than
 * the bucket's history of successors, other received messages are checked. If all are gone, the
 * bucket counts as recreated and is delivered again.
 */

import { BusError, toBusError } from '../connection/errors.ts';
import { getNextMessage } from '../streams/direct.ts';
import { latestStream } from '../topology/topology.ts';
import { entryOf, isKey, type KvEntry } from './bucket.ts';
import {
  type Delivered,
  type FollowerBuses,
  type FollowerOptions,
  MAX_KEYS,
  SnapshotFollower,
} from './snapshot-follower.ts';

/** Received messages that a check looks for, if the first ones are gone. */
const MAX_ANCHORS = 16;

/** Before the first message. */
const NOTHING: Delivered = { revision: 0, timestampMicros: 0 };

/** Revision in the bucket, by the header that the server adds to a copy; 0 if it is not readable. */
const copiedRevision = (copy: KvEntry): number =>
  Number(/^\S+ (\d+) /.exec(copy.header('Nats-Stream-Source'))?.[1] ?? 0);

type Life = 'same' | 'other' | 'unknown';

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
  /** Everything up to this message was read; null before the first read. */
  private cursor: Delivered | null = null;
  private synced = false;

  constructor(buses: FollowerBuses, bucket: string, filter: string, options: BucketReaderOptions) {
    super(buses, bucket, filter, options);
    this.filter = filter;
    this.bucketOptions = options;
    this.begin();
  }

  protected override async read(): Promise<'certain' | 'doubtful'> {
    if (this.cursor !== null) {
      const life = await this.lifeOf(this.cursor);
      if (life === 'unknown' && this.mayBeBehind()) return 'doubtful';
      if (life !== 'same') this.startOver();
    }
    if (this.cursor === null) {
      const listed = await this.readLatest();
      if (listed === null && this.mayBeBehind()) return 'doubtful';
      this.cursor = listed ?? NOTHING;
    }
    await this.readOn(this.cursor);
    if (this.synced || this.closed) return 'certain';
    this.synced = true;
    this.bucketOptions.onSynced?.();
    return 'certain';
  }

  /** Whether the bucket is the stream of what was read, and of what was pushed since. */
  private async lifeOf(cursor: Delivered): Promise<Life> {
    const received = [...this.delivered.values()].sort((a, b) => b.revision - a.revision);
    const pushed = received.slice(0, 1).filter(({ revision }) => revision > cursor.revision);
    const older = received.filter(({ revision }) => revision < cursor.revision);
    const life = await this.find(pushed);
    return life === 'same' ? this.find([cursor, ...older]) : life;
  }

  /** Looks for one of these messages in the bucket. Unknown: the responding server may lag. */
  private async find(messages: readonly Delivered[]): Promise<Life> {
    const anchors = messages.filter(({ revision }) => revision > 0).slice(0, MAX_ANCHORS);
    for (const { revision, timestampMicros } of anchors) {
      const found = await this.bucket.next(revision);
      if (found === null) return 'unknown';
      if (found.revision === revision) return found.timestampMicros === timestampMicros ? 'same' : 'other';
    }
    return anchors.length === 0 ? 'same' : 'other';
  }

  /** Delivers what the bucket holds behind a message. */
  private async readOn(from: Delivered): Promise<void> {
    for (let at = from.revision; !this.closed; ) {
      const entry: KvEntry | null = await this.bucket.next(at + 1, this.filter);
      if (!entry) return;
      this.accept(entry);
      at = entry.revision;
      this.cursor = { revision: at, timestampMicros: entry.timestampMicros };
    }
  }

  /**
   * Delivers the newest entry of each listed key, from the bucket. @returns the last message that was
   * listed; null if the bucket lacks one: the list is of another life of the bucket, or the
   * responding server lags
   */
  private async readLatest(): Promise<Delivered | null> {
    let last = NOTHING;
    for (let at = 1; !this.closed; ) {
      const listed = await this.nextListed(at);
      if (!listed) break;
      at = listed.revision + 1;
      const { key } = listed;
      if (!isKey(key)) {
        this.report(new BusError('BUS_MESSAGE', `${this.bucket.name}: ignored ${key}: it is not a valid key`));
        continue;
      }
      const revision = copiedRevision(listed);
      const entry = await this.bucket.newest(key);
      if (entry === null || entry.revision < revision) return null;
      this.accept(entry);
      if (entry.revision === revision) last = { revision, timestampMicros: entry.timestampMicros };
    }
    return last;
  }

  /** Its revision is the sequence in the list. */
  private async nextListed(sequence: number): Promise<KvEntry | null> {
    const prefix = `$KV.${this.bucket.name}.`;
    const stream = latestStream(this.bucket.name);
    try {
      const message = await getNextMessage(this.bus, stream, sequence, prefix + this.filter);
      return message && entryOf(message, prefix);
    } catch (error) {
      // The bus is of an earlier version: it has no list, or does not let a node read it.
      const { code } = toBusError(error, stream);
      if (code === 'BUS_NO_STREAM' || code === 'BUS_PERMISSION') return null;
      throw error;
    }
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
    return true;
  }
  protected override reset(): void {
    this.delivered.clear();
    this.cursor = null;
    this.synced = false;
  }
  protected override deliver(entry: KvEntry): void {
    this.bucketOptions.onEntry(entry);
  }
}
