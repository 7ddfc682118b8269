/**
 * The buckets: what is stored is what any NATS client's key-value reads, and rights are the fewest that do.
 *
 * Place in the path: ipam-sync, responder and CLI write; all read. A put is a publish with the expected sequence of its key (compare
 * and set); a get is a direct get, which needs no consumer; keys, history and watch are ordered reading. It is our own rather than
 * the client's, because that opens buckets with STREAM.INFO, watches with push consumers that flow control makes hard to
 * allow-list, and cannot put headers, in which the configuration carries who and why. A server before 2.12 checks the message id before the
 * expected sequence and answers a repeat with the first revision. Since 2.12 it answers with a conflict, and the stored entry is read.
 */
import { headers as makeHeaders } from '@nats-io/nats-core';
import type { Bus } from './connect.ts';
import { getLastMessage, getNextMessage } from './direct.ts';
import { BusError } from './errors.ts';
import { consumeOrdered, type StreamMessage } from './ordered.ts';
import { apiRequest } from './request.ts';
import { backoffMs, pause } from './wait.ts';

const OPERATION = 'KV-Operation';
const MSG_ID = 'Nats-Msg-Id';
/** 0.1 + 0.2 + 0.4 s: a replica of a healthy cluster is behind by less. */
const MAX_REREADS = 3;

export interface KvEntry {
  key: string;
  value: Buffer;
  /** Sequence in the bucket's stream; grows over all keys. */
  revision: number;
  /** When the server stored it. */
  timestampMicros: number;
  /** A tombstone: the key was deleted; the value is empty. */
  deleted: boolean;
  /** No client wrote it (planted.ts): its revision is what the next write must expect, its value is not to be believed. */
  planted: boolean;
  header(name: string): string;
}

export interface PutOptions {
  /** The write is refused (BUS_CONFLICT) unless this is still the newest revision of the key; 0 = the key never was. */
  previousRevision?: number;
  headers?: Readonly<Record<string, string>>;
  /**
   * Unique to this write: a repeat after a lost ack then returns the revision of the first try. With `previousRevision` the identity needs the right to
   * read the bucket by revision; a bucket without history forgets the first try with the next write, and the repeat is then BUS_CONFLICT.
   */
  msgId?: string;
}

export interface WatchOptions {
  /** Key filter in the bucket's own terms: `spoof.>`, `*`. Default all. */
  filter?: string;
  /** Newest value of each key first, then every change, tombstones too. */
  onEntry: (entry: KvEntry) => void | Promise<void>;
  /** When all that was there has been told: once, and again after each onRemade. */
  onSynced?: () => void;
  /** As of consumeOrdered: revisions begin again, and a key that the new bucket has not is not told. */
  onRemade?: () => void;
  signal: AbortSignal;
  /** Only keys, revisions, times and headers: values come empty. */
  headersOnly?: boolean;
}

const KEY = /^[-/=\w]+(\.[-/=\w]+)*$/;

/** A writer with the right to a whole bucket can store under a subject that is no key, wildcards included. No reader of ours acts on it. */
export const isKey = (key: string): boolean => KEY.test(key);

function checkKey(key: string): void {
  if (!isKey(key)) throw new BusError('BUS_REFUSED', `"${key}" is not a key`);
}

/** Reads a bucket's message. `prefix` is `$KV.<bucket>.` or where it was republished. */
export function entryOf(message: StreamMessage, prefix: string): KvEntry {
  const operation = message.headers?.get(OPERATION) ?? '';
  return {
    key: message.subject.slice(prefix.length),
    value: Buffer.from(message.data.buffer, message.data.byteOffset, message.data.byteLength),
    revision: message.sequence,
    timestampMicros: message.timestampMicros,
    deleted: operation === 'DEL' || operation === 'PURGE',
    planted: message.planted,
    header: (name) => message.headers?.get(name) ?? '',
  };
}

const isConflict = (error: unknown): boolean => error instanceof BusError && error.code === 'BUS_CONFLICT';

/** For what stands under a key and was written by nobody. */
export const plantedError = (bucket: string, key: string) =>
  new BusError(
    'BUS_MESSAGE',
    `${bucket}/${key}: an answer of the server stands there, which somebody had sent to it: write the key again, and find out whose credential it was`,
  );

export class Bucket {
  readonly name: string;
  private readonly bus: Bus;
  private readonly stream: string;
  private readonly prefix: string;

  constructor(bus: Bus, name: string) {
    this.bus = bus;
    this.name = name;
    this.stream = `KV_${name}`;
    this.prefix = `$KV.${name}.`;
  }

  /** Newest value; null when there is none or it was deleted. @throws BusError, BUS_MESSAGE when no client wrote what is there */
  async get(key: string): Promise<KvEntry | null> {
    const entry = await this.newest(key);
    if (entry?.planted) throw plantedError(this.name, key);
    return entry?.deleted ? null : entry;
  }

  /** Newest entry of a key, a tombstone too: its revision is what the next write must expect. @throws BusError */
  async newest(key: string): Promise<KvEntry | null> {
    checkKey(key);
    const message = await getLastMessage(this.bus, this.stream, this.prefix + key);
    return message && entryOf(message, this.prefix);
  }

  /** The first entry at or after a revision under a filter: walks a bucket without a consumer. @throws BusError */
  async next(revision: number, filter = '>'): Promise<KvEntry | null> {
    const message = await getNextMessage(this.bus, this.stream, revision, this.prefix + filter);
    return message && entryOf(message, this.prefix);
  }

  /** Writes and answers the new revision. @throws BusError BUS_CONFLICT, BUS_FULL, BUS_TOO_LARGE and what request throws */
  put(key: string, value: string | Uint8Array, options: PutOptions = {}): Promise<number> {
    return this.write(key, typeof value === 'string' ? Buffer.from(value, 'utf8') : value, options);
  }

  /** Writes only when the key never was or was deleted. @throws BusError BUS_EXISTS and what put throws */
  async create(key: string, value: string | Uint8Array, options: Pick<PutOptions, 'headers'> = {}): Promise<number> {
    const exists = (cause?: unknown) => new BusError('BUS_EXISTS', `${this.name}/${key} exists`, { cause });
    try {
      return await this.put(key, value, { ...options, previousRevision: 0 });
    } catch (error) {
      if (!isConflict(error)) throw error;
      const newest = await this.newest(key);
      if (!newest?.deleted) throw exists(error);
      try {
        return await this.put(key, value, { ...options, previousRevision: newest.revision });
      } catch (second) {
        throw isConflict(second) ? exists(second) : second;
      }
    }
  }

  /** Puts a tombstone. @throws BusError as put */
  delete(key: string, options: PutOptions = {}): Promise<number> {
    return this.write(key, new Uint8Array(), { ...options, headers: { ...options.headers, [OPERATION]: 'DEL' } });
  }

  private async write(key: string, value: Uint8Array, options: PutOptions): Promise<number> {
    checkKey(key);
    const headers = makeHeaders();
    for (const [name, text] of Object.entries(options.headers ?? {})) headers.set(name, text);
    if (options.msgId !== undefined) headers.set(MSG_ID, options.msgId);
    if (options.previousRevision !== undefined) {
      headers.set('Nats-Expected-Last-Subject-Sequence', String(options.previousRevision));
    }
    try {
      return (await apiRequest<{ seq: number }>(this.bus, this.prefix + key, value, { headers })).seq;
    } catch (error) {
      const { previousRevision, msgId } = options;
      if (!isConflict(error) || previousRevision === undefined || msgId === undefined) throw error;
      const first = await this.nextOf(key, previousRevision);
      if (first?.header(MSG_ID) !== msgId || Buffer.compare(first.value, value) !== 0) throw error;
      return first.revision;
    }
  }

  /** The first entry of a key after a revision, where the server reports that there is one: the replica that is read may be behind. */
  private async nextOf(key: string, revision: number): Promise<KvEntry | null> {
    for (let attempt = 0; ; attempt += 1) {
      const entry = await this.next(revision + 1, key);
      if (entry || attempt >= MAX_REREADS) return entry;
      await pause(backoffMs(attempt));
    }
  }

  /** Keys that have a value; not those under which something was planted. @throws BusError */
  async keys(filter = '>'): Promise<string[]> {
    // A stored subject with wildcards makes nats-server 2.10 deliver others twice.
    const keys = new Set<string>();
    await this.readAll('last-per-subject', filter, true, (entry) => {
      if (!entry.deleted && !entry.planted) keys.add(entry.key);
    });
    return [...keys].sort();
  }

  /** Newest entry of every key under a filter, but for what was planted. @throws BusError */
  async entries(filter = '>'): Promise<KvEntry[]> {
    const entries = new Map<string, KvEntry>();
    await this.readAll('last-per-subject', filter, false, (entry) => {
      if (!entry.deleted && !entry.planted) entries.set(entry.key, entry);
    });
    return [...entries.values()];
  }

  /** All that the bucket keeps of a key, oldest first, tombstones too. @throws BusError */
  async history(key: string): Promise<KvEntry[]> {
    const entries: KvEntry[] = [];
    await this.readAll('all', key, false, (entry) => {
      entries.push(entry);
    });
    return entries;
  }

  private async readAll(
    start: 'all' | 'last-per-subject',
    filter: string,
    headersOnly: boolean,
    onEntry: (entry: KvEntry) => void,
  ): Promise<void> {
    const end = new AbortController();
    // Silence, not size, is what is too long.
    const silent = new BusError('BUS_TIMEOUT', `${this.name}: nothing came within ${this.bus.timeoutMs} ms`);
    const deadline = setTimeout(() => end.abort(silent), this.bus.timeoutMs);
    try {
      await consumeOrdered(this.bus, this.stream, {
        start,
        filterSubjects: [this.prefix + filter],
        headersOnly,
        onMessage: (message) => {
          deadline.refresh();
          const entry = entryOf(message, this.prefix);
          if (isKey(entry.key)) onEntry(entry);
        },
        onIdle: () => end.abort(),
        signal: end.signal,
      });
    } finally {
      clearTimeout(deadline);
    }
    if (end.signal.reason === silent) throw silent;
  }

  /** Tells every value and then every change until the signal aborts; goes on over restarts. @throws as consumeOrdered */
  watch(options: WatchOptions): Promise<void> {
    let synced = false;
    return consumeOrdered(this.bus, this.stream, {
      start: 'last-per-subject',
      filterSubjects: [this.prefix + (options.filter ?? '>')],
      headersOnly: options.headersOnly ?? false,
      onMessage: (message) => {
        const entry = entryOf(message, this.prefix);
        return isKey(entry.key) ? options.onEntry(entry) : undefined;
      },
      onIdle: () => {
        if (synced) return;
        synced = true;
        options.onSynced?.();
      },
      onRemade: () => {
        synced = false;
        options.onRemade?.();
      },
      signal: options.signal,
    });
  }
}

/** Binds to a bucket that exists; asks the server nothing. */
export function openBucket(bus: Bus, name: string): Bucket {
  return new Bucket(bus, name);
}
