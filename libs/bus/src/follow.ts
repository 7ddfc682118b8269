/**
 * Common part of the readers of snapshot.ts: a push announces a change at once, and reads confirm it, one at a time.
 *
 * Data path: stream of a bucket → here → SnapshotReader, BucketReader → collector. Invariants: a reader publishes an entry only when its
 * revision is above the last one of its key, within one *lineage*: the life of one stream. A stream that was recreated, or restored from
 * an older backup, counts its revisions from below; then the reader forgets what it published, calls `onRestart`, and publishes what the
 * bus holds now. A push counts only if the server took it from this bucket and this key (`sourcedMessage`). Bounds: one read at a time;
 * re-reads are spread by a fifth, so that the collectors of a cluster do not ask at the same moment.
 */
import type { Msg, Subscription } from '@nats-io/nats-core';
import type { Bus, BusStatus } from './connect.ts';
import { sourcedMessage } from './direct.ts';
import { BusError, toBusError } from './errors.ts';
import { type Bucket, entryOf, isKey, type KvEntry, openBucket, plantedError } from './kv.ts';
import { pushSubject } from './subjects.ts';

/** How old a value may be when every push was lost and the connection never broke. */
const DEFAULT_REREAD_MS = 30_000;
/** After a failed read; the next reconnect reads at once anyway. */
const RETRY_MS = 1_000;

/** Keys that a BucketReader follows. Above it the bucket is not a small one, and a key is left out with an error each time it changes. */
export const MAX_KEYS = 10_000;

/** What was told of a key last. */
export interface Told {
  revision: number;
  timestampMicros: number;
}

export interface FollowOptions {
  rereadMs?: number;
  /**
   * The stream is another than the one that was read before. Called before anything of it is told: revisions begin again, and so do
   * any that the values carry themselves. What was told stands until it is told anew.
   */
  onRestart?: () => void;
  /** A read or a callback failed; the reader goes on. */
  onError?: (error: unknown) => void;
}

/** Connections of a collector: pushes arrive in another account than the one that reads (accounts.ts). */
export interface FollowerBuses {
  reads: Bus;
  /** May connect later: until then only reads find changes. Its owner handles a rejection. */
  pushes: Bus | Promise<Bus>;
}

export abstract class Follower {
  protected readonly bus: Bus;
  private readonly buses: FollowerBuses;
  private pushes: Bus | null = null;
  protected readonly bucket: Bucket;
  private readonly options: FollowOptions;
  private readonly rereadMs: number;
  /** Before a read that failed or was doubtful is made again. */
  protected readonly retryMs: number;
  private readonly pushFilter: string;
  private readonly statusListener = (status: BusStatus) => this.onStatus(status);
  private subscription: Subscription | null = null;
  private timer: NodeJS.Timeout | null = null;
  private reading = false;
  private again = false;
  protected closed = false;
  /** Changes told by push that followed on none that was told: pushes before them were lost. */
  gaps = 0;
  /** Messages on the push subject that were no pushes. */
  refused = 0;
  /** Streams that turned out to be another than before. */
  restarts = 0;
  /** Reads that were made to be sure. */
  rereads = 0;
  /** When it was last certain to have the newest, by performance.now(); 0 = never. */
  confirmedAtMs = 0;

  constructor(buses: FollowerBuses, bucket: string, filter: string, options: FollowOptions) {
    this.buses = buses;
    this.bus = buses.reads;
    this.bucket = openBucket(buses.reads, bucket);
    this.options = options;
    this.rereadMs = options.rereadMs ?? DEFAULT_REREAD_MS;
    this.retryMs = Math.min(RETRY_MS, this.rereadMs);
    this.pushFilter = pushSubject(bucket, filter);
  }

  protected begin(): void {
    this.bus.statusListeners.add(this.statusListener);
    const { pushes } = this.buses;
    if (pushes instanceof Promise) {
      pushes.then((bus) => this.listen(bus)).catch(() => undefined);
      this.reread();
    } else this.listen(pushes);
  }

  /** Subscribes before the next read, so that no change is missed between them. */
  private listen(bus: Bus): void {
    if (this.closed) return;
    this.pushes = bus;
    bus.statusListeners.add(this.statusListener);
    this.subscribe();
    this.reread();
  }

  private subscribe(): void {
    if (this.subscription || !this.pushes || this.pushes.nc.isClosed()) return;
    this.subscription = this.pushes.nc.subscribe(this.pushFilter, {
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

  private onPush(push: Msg): void {
    const prefix = `$KV.${this.bucket.name}.`;
    const message = sourcedMessage(push, `KV_${this.bucket.name}`);
    if (!message || push.subject !== pushSubject(this.bucket.name, message.subject.slice(prefix.length))) {
      this.refused += 1;
      this.report(
        new BusError('BUS_MESSAGE', `${push.subject}: refused a message that is no push of ${this.bucket.name}`),
      );
      return;
    }
    const entry = entryOf(message, prefix);
    const previous = Number(push.headers?.last('Nats-Last-Sequence'));
    const before = this.revisionOf(entry.key);
    if (before !== null && previous > before) this.gaps += 1;
    const told = this.toldOf(entry.key);
    if (told && isOtherLineage(told, entry, previous)) this.onOtherLineage(entry);
    else this.take(entry);
    // Older by number and younger by time: a clock, or a lineage that began anew. A read tells.
    if (told && entry.revision < told.revision && entry.timestampMicros > told.timestampMicros) this.reread();
  }

  /** Forgets what was told and says so. */
  protected restart(): void {
    this.restarts += 1;
    this.forget();
    try {
      this.options.onRestart?.();
    } catch (error) {
      this.report(error);
    }
  }

  /** Tells an entry when it is newer than what was told. */
  protected take(entry: KvEntry): void {
    if (this.closed || !isKey(entry.key) || entry.revision <= (this.toldOf(entry.key)?.revision ?? 0)) return;
    if (entry.planted) {
      this.refused += 1;
      this.report(plantedError(this.bucket.name, entry.key));
      return;
    }
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
      (certain) => {
        if (certain === 'doubtful') {
          this.schedule(this.retryMs);
          return;
        }
        this.confirmedAtMs = performance.now();
        this.schedule(this.rereadMs * (0.8 + Math.random() * 0.4));
      },
      (error: unknown) => {
        this.report(error);
        this.schedule(this.retryMs);
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
    for (const bus of [this.bus, this.pushes]) bus?.statusListeners.delete(this.statusListener);
    if (this.timer) clearTimeout(this.timer);
    if (this.pushes?.nc.isClosed() === false) this.subscription?.unsubscribe();
  }

  /** Reads what is newer than what is known and takes it. Doubtful: the answer is older than what is known, and is to be asked for again soon. */
  protected abstract read(): Promise<'certain' | 'doubtful'>;
  /** A push that can only come from another stream than what was told. */
  protected abstract onOtherLineage(entry: KvEntry): void;
  protected abstract toldOf(key: string): Told | null;
  /** Revision told of a key, 0 when the key is known not to have been there; null when nothing is known yet. */
  protected abstract revisionOf(key: string): number | null;
  protected abstract forget(): void;
  /** False when there is no room for it. */
  protected abstract remember(entry: KvEntry): boolean;
  protected abstract tell(entry: KvEntry): void;
}

/**
 * True when an entry cannot be of the stream that `told` was of: the same number at another time, or a higher one whose predecessor on
 * the subject, as the server names it, is below the one that was told. A time that could not be read (NaN) tells nothing.
 */
export function isOtherLineage(told: Told, entry: Told, previous?: number): boolean {
  if (entry.revision === told.revision) return Math.abs(entry.timestampMicros - told.timestampMicros) > 0;
  return entry.revision > told.revision && previous !== undefined && previous < told.revision;
}
