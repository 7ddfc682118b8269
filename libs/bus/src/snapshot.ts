/**
 * Following a key or a bucket without a consumer on the server: a push subject tells changes at once, direct gets make sure.
 *
 * Place in the path: bailiff_pods, bailiff_quarantine and bailiff_config → every collector. A consumer for each of thousands of nodes
 * is what brings clusters down. Invariants: a value is told only when its revision is above the last one told for its key; a lost
 * push is made good by the next one, by a reconnect, or by the re-read, whichever is first. While the bus is away the last value
 * stands. Bounds: one read at a time; the re-read timer is spread by a fifth, so that a fleet does not ask in step.
 */
import type { Msg, Subscription } from '@nats-io/nats-core';
import type { Bus, BusStatus } from './connect.ts';
import { microsOf, streamInfo } from './direct.ts';
import { BusError, toBusError } from './errors.ts';
import { type Bucket, entryOf, type KvEntry, openBucket } from './kv.ts';
import { pushSubject } from './subjects.ts';

/** How old a value may be when every push was lost and the connection never broke. */
const DEFAULT_REREAD_MS = 30_000;
/** After a failed read; the next reconnect reads at once anyway. */
const RETRY_MS = 1_000;

/** Keys that a BucketReader follows. Above it the bucket is not a small one, and a key is left out with an error each time it changes. */
const MAX_KEYS = 10_000;

interface FollowOptions {
  rereadMs?: number;
  /** A read or a callback failed; the reader goes on. */
  onError?: (error: unknown) => void;
}

abstract class Follower {
  protected readonly bus: Bus;
  protected readonly bucket: Bucket;
  private readonly options: FollowOptions;
  private readonly pushFilter: string;
  private readonly statusListener = (status: BusStatus) => this.onStatus(status);
  private subscription: Subscription | null = null;
  private timer: NodeJS.Timeout | null = null;
  private reading = false;
  private again = false;
  private closed = false;
  /** Changes told by push that followed on none that was told: pushes before them were lost. */
  gaps = 0;
  /** Messages on the push subject that were no pushes. */
  refused = 0;
  /** Reads that were made to be sure. */
  rereads = 0;
  /** When it was last certain to have the newest, by performance.now(); 0 = never. */
  confirmedAtMs = 0;

  constructor(bus: Bus, bucket: string, filter: string, options: FollowOptions) {
    this.bus = bus;
    this.bucket = openBucket(bus, bucket);
    this.options = options;
    this.pushFilter = pushSubject(bucket, filter);
  }

  protected begin(): void {
    this.bus.statusListeners.add(this.statusListener);
    this.subscribe();
    this.reread();
  }

  private subscribe(): void {
    if (this.subscription || this.bus.nc.isClosed()) return;
    this.subscription = this.bus.nc.subscribe(this.pushFilter, {
      callback: (error, message) => {
        if (!error) {
          this.onPush(message);
          return;
        }
        // The server refused it, and a refused subscription is gone: the re-read timer is what remains.
        this.subscription = null;
        this.report(toBusError(error, this.pushFilter));
      },
    });
  }

  protected report(error: unknown): void {
    this.options.onError?.(error);
  }

  private onStatus(status: BusStatus): void {
    if (status.type === 'connected') {
      this.subscribe();
      this.reread();
    } else if (status.type === 'closed') this.close();
  }

  private onPush(message: Msg): void {
    const revision = Number(message.headers?.get('Nats-Sequence'));
    const timestampMicros = microsOf(message.headers?.get('Nats-Time-Stamp') ?? '');
    const subject = message.headers?.get('Nats-Subject') ?? '';
    const prefix = `$KV.${this.bucket.name}.`;
    // Only the server publishes on push subjects. But who may make consumers can have a stream's messages delivered to any subject; those
    // come under the subject they were stored on, which is what tells them apart, whatever their headers claim.
    const pushed = message.subject === pushSubject(this.bucket.name, subject.slice(prefix.length));
    if (!pushed || !subject.startsWith(prefix) || !Number.isSafeInteger(revision) || revision <= 0) {
      this.refused += 1;
      this.report(new BusError('BUS_MESSAGE', `${message.subject}: came as a push and is none`));
      return;
    }
    const { headers, data } = message;
    const entry = entryOf({ sequence: revision, timestampMicros, subject, headers, data, pending: 0 }, prefix);
    const before = this.revisionOf(entry.key);
    if (before !== null && Number(headers?.get('Nats-Last-Sequence')) > before) this.gaps += 1;
    this.take(entry);
  }

  /** Tells an entry when it is newer than what was told. */
  protected take(entry: KvEntry): void {
    if (this.closed || entry.revision <= (this.revisionOf(entry.key) ?? 0)) return;
    if (!this.remember(entry)) {
      this.report(new BusError('BUS_FULL', `${this.bucket.name}/${entry.key}: more than ${MAX_KEYS} keys`));
      return;
    }
    try {
      this.tell(entry);
    } catch (error) {
      this.report(error);
    }
  }

  /** Reads now, or once more after the read that is under way. */
  reread(): void {
    if (this.closed) return;
    if (this.reading) {
      this.again = true;
      return;
    }
    if (this.timer) clearTimeout(this.timer);
    this.timer = null;
    this.reading = true;
    this.rereads += 1;
    this.read().then(
      () => {
        this.confirmedAtMs = performance.now();
        this.schedule((this.options.rereadMs ?? DEFAULT_REREAD_MS) * (0.8 + Math.random() * 0.4));
      },
      (error: unknown) => {
        this.report(error);
        this.schedule(RETRY_MS);
      },
    );
  }

  private schedule(ms: number): void {
    this.reading = false;
    if (this.closed) return;
    if (this.again) {
      this.again = false;
      this.reread();
    } else {
      this.timer = setTimeout(() => this.reread(), ms);
      this.timer.unref();
    }
  }

  close(): void {
    this.closed = true;
    this.bus.statusListeners.delete(this.statusListener);
    if (this.timer) clearTimeout(this.timer);
    if (!this.bus.nc.isClosed()) this.subscription?.unsubscribe();
  }

  /** Reads what is newer than what is known and takes it. */
  protected abstract read(): Promise<void>;
  protected abstract revisionOf(key: string): number | null;
  /** False when there is no room for it. */
  protected abstract remember(entry: KvEntry): boolean;
  protected abstract tell(entry: KvEntry): void;
}

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
  /** Revision of the value that was told last; 0 = none. */
  revision = 0;

  constructor(bus: Bus, bucket: string, key: string, options: SnapshotOptions) {
    super(bus, bucket, key, options);
    this.key = key;
    this.snapshotOptions = options;
    this.begin();
  }

  protected override async read(): Promise<void> {
    const entry = await this.bucket.newest(this.key);
    if (entry) this.take(entry);
    else if (!this.missing && this.revision === 0) {
      this.missing = true;
      this.snapshotOptions.onMissing?.();
    }
  }
  protected override revisionOf(): number | null {
    return this.revision;
  }
  protected override remember(entry: KvEntry): boolean {
    this.missing = false;
    this.revision = entry.revision;
    return true;
  }
  protected override tell(entry: KvEntry): void {
    this.snapshotOptions.onSnapshot(entry);
  }
}

export interface BucketReaderOptions extends FollowOptions {
  /** Each newer value of each key, a tombstone too (`deleted`). */
  onEntry: (entry: KvEntry) => void;
  /** Once, when all that was there at the start has been told. */
  onSynced?: () => void;
}

/** Follows all keys of a small bucket under a filter. Starts at once; whoever makes it closes it. */
export class BucketReader extends Follower {
  private readonly filter: string;
  private readonly bucketOptions: BucketReaderOptions;
  private readonly revisions = new Map<string, number>();
  /** Everything up to this revision was read; null before the first read. */
  private cursor: number | null = null;

  constructor(bus: Bus, bucket: string, filter: string, options: BucketReaderOptions) {
    super(bus, bucket, filter, options);
    this.filter = filter;
    this.bucketOptions = options;
    this.begin();
  }

  protected override async read(): Promise<void> {
    if (this.cursor === null) return this.readFirst();
    for (;;) {
      const entry: KvEntry | null = await this.bucket.next(this.cursor + 1, this.filter);
      if (!entry) return;
      this.take(entry);
      this.cursor = entry.revision;
    }
  }

  /** The list of keys in one answer, then each key's newest: a walk would meet the whole history of each. */
  private async readFirst(): Promise<void> {
    const prefix = `$KV.${this.bucket.name}.`;
    const info = await streamInfo(this.bus, `KV_${this.bucket.name}`, { subjects_filter: prefix + this.filter });
    for (const subject of Object.keys(info.state.subjects ?? {})) {
      const entry = await this.bucket.newest(subject.slice(prefix.length));
      if (entry) this.take(entry);
    }
    this.cursor = info.state.last_seq;
    this.bucketOptions.onSynced?.();
  }

  protected override revisionOf(key: string): number | null {
    return this.revisions.get(key) ?? (this.cursor === null ? null : 0);
  }
  protected override remember(entry: KvEntry): boolean {
    if (!this.revisions.has(entry.key) && this.revisions.size >= MAX_KEYS) return false;
    this.revisions.set(entry.key, entry.revision);
    return true;
  }
  protected override tell(entry: KvEntry): void {
    this.bucketOptions.onEntry(entry);
  }
}
