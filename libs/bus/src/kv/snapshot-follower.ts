/**
 * Base of the readers in snapshot.ts and bucket-reader.ts: pushes announce changes at once, and
 * direct gets of a copy of the bucket (bucket-copy.ts) confirm them. A consumer for each of thousands
 * of nodes would overload the cluster.
 *
 * The next push, a reconnect or the re-read corrects a lost push. While the bus is unavailable, the
 * last value stays in force. It also stays while a response is older, because a copy or a replica may
 * lag. After MAX_DOUBTS older responses in a row, the copy counts as recreated.
 *
 * A reader delivers an entry only if its revision is above the last delivered one of its key,
 * within one lineage: the life of one stream. A stream that was recreated or restored from an older
 * backup restarts its revisions. The reader then calls `onRecreated` and delivers what the bus
 * holds now. A push counts only if the server took it from this bucket and key (`sourcedMessage`).
 * Limits: one read at a time; re-reads are spread by 20 % so that collectors do not read in step.
 */
import type { Subscription } from '@nats-io/nats-core';
import { type Bus, type BusStatus, reportRecreated } from '../connection/connect.ts';
import { BusError, toBusError } from '../connection/errors.ts';
import { type Incoming, subscribe } from '../connection/incoming.ts';
import { sourcedMessage } from '../streams/direct.ts';
import { pushSubject } from '../topology/subjects.ts';
import { entryOf, injectedReplyError, isKey, type KvEntry } from './bucket.ts';
import { BucketCopy, type Place } from './bucket-copy.ts';

/** Maximum age of a value if every push was lost and the connection never broke. */
const DEFAULT_REREAD_MS = 30_000;
/** Wait after a failed read, and after the first one of a connection. A reconnect reads at once. */
const RETRY_MS = 1_000;

/**
 * Consecutive older responses, a second apart, after which the delivered value is considered gone.
 */
export const MAX_DOUBTS = 5;

/**
 * Limit of keys that a BucketReader follows. Each change of a key beyond it is reported as an
 * error.
 */
export const MAX_KEYS = 10_000;

export interface FollowerOptions {
  rereadMs?: number;
  /**
   * Wait between the first and the second read of a connection. Later waits double up to `rereadMs`.
   * At the first read, the copy may lack the newest messages of the bucket.
   */
  firstRereadMs?: number;
  /**
   * The stream was recreated. Called before anything of it is delivered: revisions restart, and so
   * do revisions inside the values. Known values stay in force until they are delivered again.
   */
  onRecreated?: () => void;
  /** A read or a callback failed. The reader continues. */
  onError?: (error: unknown) => void;
}

/**
 * Connections of a collector. Pushes arrive in another account than the one that reads
 * (accounts.ts).
 */
export interface FollowerBuses {
  reads: Bus;
  /** May connect later; until then only reads detect changes. The owner handles a rejection. */
  pushes: Bus | Promise<Bus>;
}

export abstract class SnapshotFollower {
  protected readonly bus: Bus;
  readonly #buses: FollowerBuses;
  #pushes: Bus | null = null;
  /** Of the bucket. */
  readonly name: string;
  protected readonly copy: BucketCopy;
  readonly #options: FollowerOptions;
  readonly #rereadMs: number;
  /** Wait after the next certain read. */
  #nextReadMs: number;
  /** Wait before a failed or doubtful read is repeated. */
  protected readonly retryMs: number;
  readonly #pushFilter: string;
  readonly #statusListener = (status: BusStatus) => this.#onStatus(status);
  #subscription: Subscription | null = null;
  #timer: NodeJS.Timeout | null = null;
  #reading = false;
  #again = false;
  protected closed = false;
  /** Revision of the last push that is lower, but was stored later, than what was delivered; 0: none was. */
  protected laterPush = 0;
  #doubts = 0;
  #doubtedAtMs = 0;
  /** Pushed changes whose predecessor was not delivered: pushes before them were lost. */
  gaps = 0;
  /** Messages on the push subject that are not pushes of this bucket. */
  refused = 0;
  /** Times that the stream turned out to be recreated. */
  restarts = 0;
  /** Confirming reads. */
  rereads = 0;
  /** Last time that a read confirmed the newest value, by performance.now(); 0 = never. */
  confirmedAtMs = 0;
  /** Why the last read did not confirm it; empty: it did, or none has ended. */
  unconfirmedReason = '';

  constructor(buses: FollowerBuses, bucket: string, filter: string, options: FollowerOptions) {
    this.#buses = buses;
    this.bus = buses.reads;
    this.name = bucket;
    this.copy = new BucketCopy(buses.reads, bucket);
    this.#options = options;
    this.#rereadMs = options.rereadMs ?? DEFAULT_REREAD_MS;
    this.retryMs = Math.min(RETRY_MS, this.#rereadMs);
    this.#nextReadMs = this.#firstRereadMs;
    this.#pushFilter = pushSubject(bucket, filter);
  }

  get #firstRereadMs(): number {
    return Math.min(this.#options.firstRereadMs ?? RETRY_MS, this.#rereadMs);
  }

  /** The connection has been read for about as long as `rereadMs`. */
  protected get isSettled(): boolean {
    return this.#nextReadMs >= this.#rereadMs;
  }

  protected begin(): void {
    this.bus.statusListeners.add(this.#statusListener);
    const { pushes } = this.#buses;
    if (pushes instanceof Promise) {
      pushes.then((bus) => this.#listen(bus)).catch(() => undefined);
      this.reread();
    } else this.#listen(pushes);
  }

  /** Subscribes before the next read, so that no change between them is missed. */
  #listen(bus: Bus): void {
    if (this.closed) return;
    this.#pushes = bus;
    bus.statusListeners.add(this.#statusListener);
    this.#subscribe();
    this.#readOften();
  }

  /** Reads now, and soon again. */
  #readOften(): void {
    this.#nextReadMs = this.#firstRereadMs;
    this.reread();
  }

  #subscribe(): void {
    if (this.#subscription || !this.#pushes || this.#pushes.nc.isClosed()) return;
    this.#subscription = subscribe(this.#pushes, this.#pushFilter, (error, message) => {
      if (!error) {
        this.#onPush(message);
        return;
      }
      // A refused subscription no longer exists; only the re-read timer remains.
      this.#subscription = null;
      this.report(toBusError(error, this.#pushFilter));
    });
  }

  protected report(error: unknown): void {
    this.#options.onError?.(error);
  }

  #onStatus(status: BusStatus): void {
    if (status.type === 'connected') {
      this.#subscribe();
      this.#readOften();
    } else if (status.type === 'closed') this.close();
  }

  #onPush(push: Incoming): void {
    const prefix = `$KV.${this.name}.`;
    const message = sourcedMessage(push, `KV_${this.name}`);
    if (!message || push.subject !== pushSubject(this.name, message.subject.slice(prefix.length))) {
      this.refused += 1;
      this.report(new BusError('BUS_MESSAGE', `${push.subject}: refused a message that is not a push of ${this.name}`));
      return;
    }
    const entry = entryOf(message, prefix);
    const previous = message.previous ?? Number.NaN;
    const before = this.revisionOf(entry.key);
    if (before !== null && previous > before) this.gaps += 1;
    const delivered = this.deliveredOf(entry.key);
    if (delivered && isOtherLineage(delivered, entry, previous)) this.onOtherLineage(entry);
    else this.accept(entry);
    // A lower revision with a later time: the clock moved, or the stream was recreated. A read
    // decides, also where the time is not known.
    if (delivered && entry.revision < delivered.revision && !(entry.timestampMicros <= delivered.timestampMicros)) {
      this.laterPush = entry.revision;
      this.reread();
    }
  }

  /** Counts an older response. False: so many in a row do not come from a replica that lags. */
  protected mayBeBehind(): boolean {
    const now = performance.now();
    // A flapping connection reads more often than that, but a replica needs time to catch up.
    if (this.#doubts > 0 && now < this.#doubtedAtMs + this.retryMs) return true;
    this.#doubtedAtMs = now;
    this.#doubts += 1;
    return this.#doubts < MAX_DOUBTS;
  }

  /** Drops all positions and calls `onRecreated`. */
  protected startOver(): void {
    this.restarts += 1;
    // The server may still be filling the new copy, from the first revisions of each key on.
    this.#nextReadMs = this.#firstRereadMs;
    this.#doubts = 0;
    this.laterPush = 0;
    this.reset();
    reportRecreated(this.bus, `KV_${this.name}`);
    try {
      this.#options.onRecreated?.();
    } catch (error) {
      this.report(error);
    }
  }

  /** Delivers an entry that is newer than the last delivered one. */
  protected accept(entry: KvEntry): void {
    if (this.closed || !isKey(entry.key) || entry.revision <= (this.deliveredOf(entry.key)?.revision ?? 0)) return;
    if (entry.injected) {
      this.refused += 1;
      this.report(injectedReplyError(this.name, entry.key));
      return;
    }
    if (!this.recordDelivery(entry)) {
      this.report(new BusError('BUS_FULL', `${this.name}/${entry.key}: more than ${MAX_KEYS} keys`));
      return;
    }
    try {
      this.deliver(entry);
    } catch (error) {
      this.report(error);
    }
  }

  /** Reads now, or once more after the current read. */
  reread(): void {
    if (this.closed) return;
    if (this.#reading) {
      this.#again = true;
      return;
    }
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    this.#reading = true;
    this.rereads += 1;
    this.read().then(
      (certain) => {
        if (certain === 'doubtful') {
          this.unconfirmedReason = 'the copy is older than what was read before';
          this.#schedule(this.retryMs);
          return;
        }
        this.#doubts = 0;
        this.unconfirmedReason = '';
        this.confirmedAtMs = performance.now();
        this.#schedule(this.#nextReadMs * (0.8 + Math.random() * 0.4));
        this.#nextReadMs = Math.min(2 * this.#nextReadMs, this.#rereadMs);
      },
      (error: unknown) => {
        this.unconfirmedReason = (error as Error).message;
        this.report(error);
        this.#schedule(this.retryMs);
      },
    );
  }

  #schedule(ms: number): void {
    this.#reading = false;
    if (this.closed) return;
    if (this.#again) {
      this.#again = false;
      this.reread();
    } else {
      this.#timer = setTimeout(() => this.reread(), ms);
      this.#timer.unref();
    }
  }

  close(): void {
    this.closed = true;
    for (const bus of [this.bus, this.#pushes]) bus?.statusListeners.delete(this.#statusListener);
    if (this.#timer) clearTimeout(this.#timer);
    if (this.#pushes?.nc.isClosed() === false) this.#subscription?.unsubscribe();
  }

  /**
   * Reads and accepts newer entries. Doubtful: the response is older than what was delivered, and
   * the read must be repeated soon.
   */
  protected abstract read(): Promise<'certain' | 'doubtful'>;
  /** A push that can only come from another lineage. */
  protected abstract onOtherLineage(entry: KvEntry): void;
  protected abstract deliveredOf(key: string): Place | null;
  /** Known revision of a key; 0 if the key is known not to exist; null if unknown. */
  protected abstract revisionOf(key: string): number | null;
  protected abstract reset(): void;
  /** False if there is no room for another key. */
  protected abstract recordDelivery(entry: KvEntry): boolean;
  protected abstract deliver(entry: KvEntry): void;
}

/**
 * True if an entry cannot belong to the same stream as the delivered one. Either the same revision
 * has another time, or the predecessor of a higher revision is below the delivered one. An
 * unreadable time (NaN) indicates nothing.
 */
export function isOtherLineage(delivered: Place, entry: Place, previous?: number): boolean {
  if (entry.revision === delivered.revision) return Math.abs(entry.timestampMicros - delivered.timestampMicros) > 0;
  return entry.revision > delivered.revision && previous !== undefined && previous < delivered.revision;
}
