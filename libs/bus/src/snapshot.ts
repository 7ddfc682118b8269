/**
 * Following a key or a bucket without a consumer on the server.
 *
 * Place in the path: bailiff_pods, bailiff_quarantine and bailiff_config → follow.ts → here → every collector. A consumer for each of
 * thousands of nodes is what brings clusters down. Invariants: follow.ts; a lost push is made good by the next one, by a reconnect, or
 * by the re-read, whichever is first. While the bus is away the last value stands, and so it does while an answer is older than what
 * was told: in a cluster a replica that is a moment behind may have given it, so it is believed at the MAX_DOUBTS-th time in a row.
 */
import { streamInfo } from './direct.ts';
import { BusError } from './errors.ts';
import { Follower, type FollowerBuses, type FollowOptions, isOtherLineage, MAX_KEYS, type Told } from './follow.ts';
import { isKey, type KvEntry } from './kv.ts';

/** Reads in a row, a second apart, that must say the same before it is believed that what was told is no more. */
export const MAX_DOUBTS = 5;

export interface SnapshotOptions extends FollowOptions {
  /** Each newer value, a tombstone too (`deleted`). */
  onSnapshot: (entry: KvEntry) => void;
  /** The key was read and is not there. Told once, until it is. */
  onMissing?: () => void;
}

/** Follows one key. Starts at once; whoever makes it closes it. */
export class SnapshotReader extends Follower {
  private readonly key: string;
  private readonly snapshotOptions: SnapshotOptions;
  private missing = false;
  private told: Told | null = null;
  private doubts = 0;
  private doubtedAtMs = 0;

  constructor(buses: FollowerBuses, bucket: string, key: string, options: SnapshotOptions) {
    super(buses, bucket, key, options);
    this.key = key;
    this.snapshotOptions = options;
    this.begin();
  }

  /** Revision of the value that was told last; 0 = none. */
  get revision(): number {
    return this.told?.revision ?? 0;
  }

  protected override async read(): Promise<'certain' | 'doubtful'> {
    const entry = await this.bucket.newest(this.key);
    if (this.closed) return 'certain';
    if (entry?.planted) {
      this.take(entry);
      return 'certain';
    }
    if (this.told && (entry === null || entry.revision < this.told.revision)) {
      const now = performance.now();
      // A connection that breaks and comes again reads more often than that; a replica needs time, not questions.
      if (this.doubts > 0 && now < this.doubtedAtMs + this.retryMs) return 'doubtful';
      this.doubtedAtMs = now;
      this.doubts += 1;
      if (this.doubts < MAX_DOUBTS) return 'doubtful';
      this.restart();
    }
    this.doubts = 0;
    if (entry && this.told && isOtherLineage(this.told, entry)) this.restart();
    if (entry) this.take(entry);
    else if (!this.missing) {
      this.missing = true;
      this.snapshotOptions.onMissing?.();
    }
    return 'certain';
  }
  /** A push comes from the leader: nobody is behind. */
  protected override onOtherLineage(entry: KvEntry): void {
    this.restart();
    this.take(entry);
  }
  protected override toldOf(): Told | null {
    return this.told;
  }
  protected override revisionOf(): number | null {
    return this.revision;
  }
  protected override remember({ revision, timestampMicros }: KvEntry): boolean {
    this.missing = false;
    this.told = { revision, timestampMicros };
    return true;
  }
  protected override forget(): void {
    this.told = null;
    this.doubts = 0;
  }
  protected override tell(entry: KvEntry): void {
    this.snapshotOptions.onSnapshot(entry);
  }
}

export interface BucketReaderOptions extends FollowOptions {
  /** Each newer value of each key, a tombstone too (`deleted`). */
  onEntry: (entry: KvEntry) => void;
  /** When all that was there at the start has been told, and again after each restart. A key that the new stream has not is not told. */
  onSynced?: () => void;
}

/** Follows all keys of a small bucket under a filter. Starts at once; whoever makes it closes it. */
export class BucketReader extends Follower {
  private readonly filter: string;
  private readonly bucketOptions: BucketReaderOptions;
  private readonly told = new Map<string, Told>();
  /** Everything up to this revision was read; null before the first read. */
  private cursor: number | null = null;
  /** When the stream was made, as the server says: another time is another stream. */
  private created = '';
  /** Highest revision that was received. Above the stream's last it came from another stream, or from no stream. */
  private newest = 0;

  constructor(buses: FollowerBuses, bucket: string, filter: string, options: BucketReaderOptions) {
    super(buses, bucket, filter, options);
    this.filter = filter;
    this.bucketOptions = options;
    this.begin();
  }

  protected override async read(): Promise<'certain'> {
    if (this.cursor !== null) {
      // From the stream's leader, so that nobody is behind.
      const { created, state } = await streamInfo(this.bus, `KV_${this.bucket.name}`);
      if (created === this.created && state.last_seq >= Math.max(this.cursor, this.newest)) {
        await this.readOn(this.cursor);
        return 'certain';
      }
      this.restart();
    }
    await this.readFirst();
    return 'certain';
  }

  private async readOn(from: number): Promise<void> {
    for (let at = from; !this.closed; ) {
      const entry: KvEntry | null = await this.bucket.next(at + 1, this.filter);
      if (!entry) return;
      this.take(entry);
      at = entry.revision;
      this.cursor = at;
    }
  }

  /** The list of keys in one answer, then each key's newest: a walk would meet the whole history of each. */
  private async readFirst(): Promise<void> {
    const prefix = `$KV.${this.bucket.name}.`;
    const info = await streamInfo(this.bus, `KV_${this.bucket.name}`, { subjects_filter: prefix + this.filter });
    for (const subject of Object.keys(info.state.subjects ?? {})) {
      const key = subject.slice(prefix.length);
      const entry = isKey(key) ? await this.bucket.newest(key) : null;
      if (entry) this.take(entry);
      else if (!isKey(key))
        this.report(new BusError('BUS_MESSAGE', `${this.bucket.name}: ignored ${subject}: it is no key`));
    }
    this.cursor = info.state.last_seq;
    this.created = info.created;
    this.bucketOptions.onSynced?.();
  }

  /** Taken if it is newer; the read finds out about the stream and tells all of it. */
  protected override onOtherLineage(entry: KvEntry): void {
    this.take(entry);
    this.reread();
  }
  protected override toldOf(key: string): Told | null {
    return this.told.get(key) ?? null;
  }
  protected override revisionOf(key: string): number | null {
    return this.told.get(key)?.revision ?? (this.cursor === null ? null : 0);
  }
  protected override remember({ key, revision, timestampMicros }: KvEntry): boolean {
    if (!this.told.has(key) && this.told.size >= MAX_KEYS) return false;
    this.told.set(key, { revision, timestampMicros });
    this.newest = Math.max(this.newest, revision);
    return true;
  }
  protected override forget(): void {
    this.told.clear();
    this.cursor = null;
    this.newest = 0;
  }
  protected override tell(entry: KvEntry): void {
    this.bucketOptions.onEntry(entry);
  }
}
