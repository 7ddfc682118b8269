/**
 * Key-value buckets, stored as every NATS client reads them, with the fewest permissions.
 *
 * A put is a publish with the expected sequence of its key (compare and set). A get is a direct
 * get. Keys, history and watch use consumeOrdered. The client's own key-value opens buckets with
 * STREAM.INFO, watches with push consumers, and cannot put headers. A server before 2.12 responds
 * to a repeated put with the first revision. Since 2.12 it responds with a conflict, and the stored
 * entry is read.
 */

import { pause } from '@bailiff/service/retry';
import { headers as makeHeaders } from '@nats-io/nats-core';
import { busBackoffMs } from '../connection/backoff.ts';
import type { Bus } from '../connection/connect.ts';
import { BusError } from '../connection/errors.ts';
import { publishAcked } from '../streams/ack.ts';
import { getLastMessage, getNextMessage, type StreamMessage } from '../streams/direct.ts';
import { consumeOrdered } from '../streams/ordered.ts';
import { readToEnd } from '../streams/read-to-end.ts';

const OPERATION = 'KV-Operation';
const MSG_ID = 'Nats-Msg-Id';
/** 0.1 + 0.2 + 0.4 s: more than a replica of a healthy cluster lags behind. */
const MAX_REREADS = 3;

export interface KvEntry {
  key: string;
  value: Buffer;
  /** Sequence in the bucket's stream, shared by all keys. */
  revision: number;
  /** When the server stored the entry; NaN: not known, in a copy. */
  timestampMicros: number;
  /** A tombstone: the key was deleted and the value is empty. */
  deleted: boolean;
  /**
   * Not stored by a Bailiff client (injected-reply.ts). The next write must expect its revision; its
   * value is empty.
   */
  injected: boolean;
  header(name: string): string;
}

export interface PutOptions {
  /**
   * The write fails with BUS_CONFLICT unless this is the newest revision of the key. 0: the key
   * must never have existed.
   */
  previousRevision?: number;
  headers?: Readonly<Record<string, string>>;
  /**
   * Unique to this write: a repeat after a lost ack returns the revision of the first attempt. With
   * `previousRevision` the identity needs permission to read the bucket by revision. In a bucket
   * without history, the next write replaces the first attempt, and the repeat is BUS_CONFLICT.
   */
  msgId?: string;
}

export interface WatchOptions {
  /** Key filter within the bucket: `spoof.>`, `*`. Default: all keys. */
  filter?: string;
  /** Receives the newest value of each key, then every change, tombstones included. */
  onEntry: (entry: KvEntry) => void | Promise<void>;
  /** Called after the initial values: once, and again after each `onRecreated`. */
  onSynced?: () => void;
  /** As in consumeOrdered: revisions restart. Keys that the new bucket lacks are not reported. */
  onRecreated?: () => void;
  signal: AbortSignal;
  /** Only keys, revisions, times and headers; values are empty. */
  headersOnly?: boolean;
}

const KEY = /^[-/=\w]+(\.[-/=\w]+)*$/;

/**
 * A writer with permission for a whole bucket can store under a subject that is not a valid key,
 * wildcards included. Readers skip such entries.
 */
export const isKey = (key: string): boolean => KEY.test(key);

function checkKey(key: string): void {
  if (!isKey(key)) throw new BusError('BUS_REFUSED', `"${key}" is not a valid key`);
}

/** Whether a message of a bucket deletes its key: clients write DEL or PURGE. */
export const isDeletion = ({ headers }: Pick<StreamMessage, 'headers'>): boolean =>
  (headers?.get(OPERATION) ?? '') !== '';

/** Parses a message of a bucket. `prefix` is `$KV.<bucket>.` or the republish destination. */
export function entryOf(message: StreamMessage, prefix: string): KvEntry {
  return {
    key: message.subject.slice(prefix.length),
    value: Buffer.from(message.data.buffer, message.data.byteOffset, message.data.byteLength),
    revision: message.sequence,
    timestampMicros: message.timestampMicros,
    deleted: isDeletion(message),
    injected: message.injected,
    header: (name) => message.headers?.get(name) ?? '',
  };
}

const isConflict = (error: unknown): boolean => error instanceof BusError && error.code === 'BUS_CONFLICT';

/** Error for a key whose newest entry is not of a Bailiff client. */
export const injectedReplyError = (bucket: string, key: string) =>
  new BusError(
    'BUS_MESSAGE',
    `${bucket}/${key} holds an injected reply (a server response that a client redirected there) or malformed headers: write the key again, and find out whose credential was used`,
  );

export class Bucket {
  readonly name: string;
  readonly #bus: Bus;
  readonly #stream: string;
  readonly #prefix: string;

  constructor(bus: Bus, name: string) {
    this.#bus = bus;
    this.name = name;
    this.#stream = `KV_${name}`;
    this.#prefix = `$KV.${name}.`;
  }

  /**
   * Newest value; null if the key does not exist or was deleted. @throws BusError; BUS_MESSAGE for
   * an injected reply
   */
  async get(key: string): Promise<KvEntry | null> {
    const entry = await this.newest(key);
    if (entry?.injected) throw injectedReplyError(this.name, key);
    return entry?.deleted ? null : entry;
  }

  /**
   * Newest entry of a key, tombstones included: the next write must expect its revision. @throws
   * BusError
   */
  async newest(key: string): Promise<KvEntry | null> {
    checkKey(key);
    const message = await getLastMessage(this.#bus, this.#stream, this.#prefix + key);
    return message && entryOf(message, this.#prefix);
  }

  /**
   * First entry at or after a revision under a filter. Walks a bucket without a consumer. @throws
   * BusError
   */
  async next(revision: number, filter = '>'): Promise<KvEntry | null> {
    const message = await getNextMessage(this.#bus, this.#stream, revision, this.#prefix + filter);
    return message && entryOf(message, this.#prefix);
  }

  /**
   * Writes and returns the new revision. @throws BusError BUS_CONFLICT, BUS_FULL, BUS_TOO_LARGE and
   * what request throws
   */
  put(key: string, value: string | Uint8Array, options: PutOptions = {}): Promise<number> {
    return this.#write(key, typeof value === 'string' ? Buffer.from(value, 'utf8') : value, options);
  }

  /**
   * Writes only if the key never existed or was deleted. @throws BusError BUS_EXISTS and what put
   * throws
   */
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

  /** Writes a tombstone. @throws BusError as put */
  delete(key: string, options: PutOptions = {}): Promise<number> {
    return this.#write(key, new Uint8Array(), { ...options, headers: { ...options.headers, [OPERATION]: 'DEL' } });
  }

  async #write(key: string, value: Uint8Array, options: PutOptions): Promise<number> {
    checkKey(key);
    const headers = makeHeaders();
    for (const [name, text] of Object.entries(options.headers ?? {})) headers.set(name, text);
    if (options.msgId !== undefined) headers.set(MSG_ID, options.msgId);
    if (options.previousRevision !== undefined) {
      headers.set('Nats-Expected-Last-Subject-Sequence', String(options.previousRevision));
    }
    try {
      return (await publishAcked(this.#bus, this.#prefix + key, value, { headers })).seq;
    } catch (error) {
      const { previousRevision, msgId } = options;
      if (!isConflict(error) || previousRevision === undefined || msgId === undefined) throw error;
      const first = await this.#nextOf(key, previousRevision);
      if (first?.header(MSG_ID) !== msgId || Buffer.compare(first.value, value) !== 0) throw error;
      return first.revision;
    }
  }

  /**
   * First entry of a key after a revision that the server reported. The replica that serves the
   * read may lag behind.
   */
  async #nextOf(key: string, revision: number): Promise<KvEntry | null> {
    for (let attempt = 0; ; attempt += 1) {
      const entry = await this.next(revision + 1, key);
      if (entry || attempt >= MAX_REREADS) return entry;
      await pause(busBackoffMs(attempt));
    }
  }

  /** Keys with a value, injected replies excluded. @throws BusError */
  async keys(filter = '>'): Promise<string[]> {
    // A stored subject with wildcards makes nats-server 2.10 deliver other messages twice.
    const keys = new Set<string>();
    await this.#readAll('last-per-subject', filter, true, (entry) => {
      if (entry.deleted || entry.injected) keys.delete(entry.key);
      else keys.add(entry.key);
    });
    return [...keys].sort();
  }

  /**
   * Newest entry of every key under a filter. @param options injected: with those that are not of a
   * Bailiff client, whose value is empty; deleted: with tombstones @throws BusError
   */
  async entries(filter = '>', options: { injected?: boolean; deleted?: boolean } = {}): Promise<KvEntry[]> {
    const entries = new Map<string, KvEntry>();
    await this.#readAll('last-per-subject', filter, false, (entry) => {
      const isLeftOut = (entry.deleted && !options.deleted) || (entry.injected && !options.injected);
      if (isLeftOut) entries.delete(entry.key);
      else entries.set(entry.key, entry);
    });
    return [...entries.values()];
  }

  /** All stored entries of a key, oldest first, tombstones included. @throws BusError */
  async history(key: string): Promise<KvEntry[]> {
    const entries: KvEntry[] = [];
    await this.#readAll('all', key, false, (entry) => {
      entries.push(entry);
    });
    return entries;
  }

  async #readAll(
    start: 'all' | 'last-per-subject',
    filter: string,
    headersOnly: boolean,
    onEntry: (entry: KvEntry) => void,
  ): Promise<void> {
    await readToEnd(this.#bus, this.#stream, {
      start,
      filterSubjects: [this.#prefix + filter],
      headersOnly,
      silenceMs: this.#bus.timeoutMs,
      onMessage: (message) => {
        const entry = entryOf(message, this.#prefix);
        if (isKey(entry.key)) onEntry(entry);
      },
    });
  }

  /**
   * Reports every value and then every change until the signal aborts. Survives restarts. @throws
   * as consumeOrdered
   */
  watch(options: WatchOptions): Promise<void> {
    let synced = false;
    return consumeOrdered(this.#bus, this.#stream, {
      start: 'last-per-subject',
      filterSubjects: [this.#prefix + (options.filter ?? '>')],
      headersOnly: options.headersOnly ?? false,
      onMessage: (message) => {
        const entry = entryOf(message, this.#prefix);
        return isKey(entry.key) ? options.onEntry(entry) : undefined;
      },
      onIdle: () => {
        if (synced) return;
        synced = true;
        options.onSynced?.();
      },
      onRecreated: () => {
        synced = false;
        options.onRecreated?.();
      },
      signal: options.signal,
    });
  }
}

/** Returns a handle without a request to the server. The bucket must exist. */
export function openBucket(bus: Bus, name: string): Bucket {
  return new Bucket(bus, name);
}
