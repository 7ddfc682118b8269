/**
 * Follows all keys of a bucket under some filters without a consumer on the server: pushes tell of changes, a walk by direct gets tells
 * what is there. For readers that are many (one a node) and keys that are few.
 *
 * Invariants: subscribe first, walk second, so that nothing falls between; an entry is told only when its revision is newer than the
 * last one told of its key. A walk is repeated after each reconnect, when a push shows a gap (Nats-Last-Sequence), and on a slow timer.
 */
import type { Msg, Subscription } from '@nats-io/nats-core';
import { type Bus, type BusStatus, pause } from './connect.ts';
import { type BusError, toBusError } from './errors.ts';
import { type Bucket, type KvEntry, openBucket } from './kv.ts';
import { pushSubject } from './subjects.ts';

export interface PushFollowerOptions {
  /** In the bucket's own terms: `spoof.>`. */
  filters: readonly string[];
  /** In order of revision within a key; tombstones too (`deleted`). Must not throw. */
  onEntry(entry: KvEntry): void;
  /** After the first walk, and after each later one. */
  onSynced?(): void;
  /** A walk failed; it is tried again. */
  onError?(error: BusError): void;
  /** Slow walk: default 60 s. */
  rewalkMs?: number;
}

/** Wait before a failed walk is repeated. */
const RETRY_MS = 1_000;
/** Keys told of at most; beyond it a key is not followed and the error says so. */
const MAX_KEYS = 10_000;

export class PushFollower {
  readonly #bus: Bus;
  readonly #bucket: Bucket;
  readonly #o: PushFollowerOptions;
  readonly #told = new Map<string, number>();
  readonly #stop = new AbortController();
  readonly #status = (status: BusStatus) => {
    if (status.type === 'connected') this.#wake?.();
  };
  #subscriptions: Subscription[] = [];
  #wake: (() => void) | null = null;
  #again = false;

  constructor(bus: Bus, bucket: string, options: PushFollowerOptions) {
    this.#bus = bus;
    this.#bucket = openBucket(bus, bucket);
    this.#o = options;
    this.#subscriptions = options.filters.map((filter) =>
      bus.nc.subscribe(pushSubject(bucket, filter), {
        callback: (error, message) => {
          if (!error) this.#pushed(message);
        },
      }),
    );
    bus.statusListeners.add(this.#status);
    void this.#run();
  }

  #pushed(message: Msg): void {
    const { headers } = message;
    const revision = Number(headers?.get('Nats-Sequence'));
    const key = message.subject.slice(pushSubject(this.#bucket.name, '').length);
    const operation = headers?.get('KV-Operation') ?? '';
    const before = Number(headers?.get('Nats-Last-Sequence') ?? 0);
    if (!Number.isSafeInteger(revision)) return;
    if (before !== 0 && before !== (this.#told.get(key) ?? before)) this.#askWalk();
    this.#tell({
      key,
      value: Buffer.from(message.data),
      revision,
      timestampMicros: Math.round(Date.parse(headers?.get('Nats-Time-Stamp') ?? '') * 1000),
      deleted: operation === 'DEL' || operation === 'PURGE',
      header: (name) => headers?.get(name) ?? '',
    });
  }

  #tell(entry: KvEntry): void {
    const last = this.#told.get(entry.key);
    if (last !== undefined && entry.revision <= last) return;
    if (last === undefined && this.#told.size >= MAX_KEYS) {
      this.#o.onError?.(toBusError(new Error(`more than ${MAX_KEYS} keys`), entry.key));
      return;
    }
    this.#told.set(entry.key, entry.revision);
    this.#o.onEntry(entry);
  }

  #askWalk(): void {
    this.#again = true;
    this.#wake?.();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      this.#again = false;
      let waitMs = this.#o.rewalkMs ?? 60_000;
      try {
        await this.#bus.whenConnected(signal);
        await this.#walk();
        this.#o.onSynced?.();
      } catch (cause) {
        if (signal.aborted) return;
        const error = toBusError(cause, this.#bucket.name);
        if (error.code === 'BUS_CLOSED') return;
        this.#o.onError?.(error);
        waitMs = RETRY_MS;
      }
      if (!this.#again) await this.#sleep(waitMs);
    }
  }

  #sleep(ms: number): Promise<void> {
    const woken = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    const timer = new AbortController();
    const { signal } = this.#stop;
    const slept = pause(ms, AbortSignal.any([signal, timer.signal])).catch(() => undefined);
    return Promise.race([woken, slept]).finally(() => {
      timer.abort();
      this.#wake = null;
    });
  }

  async #walk(): Promise<void> {
    for (const filter of this.#o.filters) {
      let revision = 1;
      for (;;) {
        const entry = await this.#bucket.next(revision, filter);
        if (!entry || this.#stop.signal.aborted) break;
        this.#tell(entry);
        revision = entry.revision + 1;
      }
    }
  }

  /** Ends it; nothing is told any more. Idempotent. */
  close(): void {
    this.#stop.abort();
    this.#bus.statusListeners.delete(this.#status);
    for (const subscription of this.#subscriptions) if (!this.#bus.nc.isClosed()) subscription.unsubscribe();
    this.#subscriptions = [];
  }
}
