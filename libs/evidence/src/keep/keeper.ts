/**
 * Keeps a log: hashes the messages of four streams into a directory, and signs its heads.
 *
 * Data path: CONFIG_LOG, VIOLATIONS, VERDICTS, RESPONSES → here → a directory → `evidence export --log`.
 * Invariants: each message is one leaf, in the order of its stream; of a stream that was restored from an older
 * backup, so is each message that differs from the former one of its sequence. A restart continues after the newest
 * head. At most `headEveryMs` after a message was read, a head covers it.
 */
import type { KeyObject } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import {
  type Bus,
  consumeOrdered,
  createdMicrosOf,
  getMessage,
  type Position,
  type StreamMessage,
  streamInfo,
} from '@bailiff/bus';
import { openNote, verifierKey } from '@bailiff/policy/note';
import { EvidenceError } from '../error.ts';
import { leafOf } from '../format/record.ts';
import { checkpointIn, signHead } from '../log/checkpoint.ts';
import { LOGGED_STREAMS } from '../verify/log-checks.ts';
import { type LogWriter, MAX_ADDED } from './log-files.ts';

/** Heads are at most ten seconds old, with the requests to witnesses. */
export const HEAD_EVERY_MS = 5_000;

export interface KeeperOptions {
  bus: Bus;
  log: LogWriter;
  origin: string;
  key: KeyObject;
  headEveryMs?: number;
  /** After each interval, with the newest head on disk. The next interval begins afterwards. */
  afterHead?: (signal: AbortSignal) => Promise<void>;
  signal: AbortSignal;
}

/** What was read of a stream. */
interface Followed extends Position {
  /** Newest sequence in the log when the reading began: up to it, a message may be in the log. */
  logged: number;
  /** Messages of the stream that were not read yet, as of the newest one. */
  pending: number;
}

export class LogKeeper {
  readonly #o: KeeperOptions;
  readonly #followed = new Map<string, Followed>();
  /** When the bus stored the oldest message that no head covers; 0: there is none. */
  #openSinceMicros = 0;
  #failed: { error: unknown } | null = null;
  readonly #end = new AbortController();
  /** Messages that a stream deleted before they were read, since the start. */
  missed = 0;

  /** @throws EvidenceError EVIDENCE_LOG if the directory has the log of another origin */
  constructor(options: KeeperOptions) {
    this.#o = options;
    const { log, origin } = options;
    const kept = log.note === '' ? origin : checkpointIn(log.note).origin;
    if (kept !== origin) throw new EvidenceError('EVIDENCE_LOG', `${log.directory} has the log ${kept}, not ${origin}`);
  }

  position(stream: string): Position {
    return this.#followed.get(stream) ?? { sequence: 0, timestampMicros: 0 };
  }

  /** Unread messages of a stream. */
  pending(stream: string): number {
    return this.#followed.get(stream)?.pending ?? 0;
  }

  /** When the bus stored the oldest message that no head covers, as far as it is known; null: there is none. */
  get behindSinceMicros(): number | null {
    const unread = [...this.#followed.values()].filter(({ pending }) => pending > 0);
    const since = [...unread.map(({ timestampMicros }) => timestampMicros), this.#openSinceMicros];
    const known = since.filter((micros) => micros > 0);
    return known.length > 0 ? Math.min(...known) : null;
  }

  /** Runs until the signal aborts, or reading or writing fails. @throws BusError; EvidenceError; errors of the file system */
  async run(): Promise<void> {
    const signal = AbortSignal.any([this.#o.signal, this.#end.signal]);
    this.#guard(() => this.#begin());
    const work = [...LOGGED_STREAMS].map((stream) => this.#follow(stream, signal));
    const results = await Promise.allSettled([...work, this.#signHeads(signal)].map((one) => this.#untilFailure(one)));
    for (const result of results) if (result.status === 'rejected') this.#failed ??= { error: result.reason };
    if (!this.#failed) this.#guard(() => this.flush());
    if (this.#failed) throw this.#failed.error;
  }

  /** A failure of one part ends the others. */
  async #untilFailure(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      this.#end.abort();
      throw error;
    }
  }

  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#failed ??= { error };
      this.#end.abort();
    }
  }

  /** The first head, or that of before with the signature of this key. */
  #begin(): void {
    const { log, origin, key } = this.#o;
    if (openNote(log.note, [verifierKey(origin, key)]) === null) log.flush((size) => this.#sign(size));
  }

  #sign(size: number): string {
    const { log, origin, key } = this.#o;
    return signHead({ origin, size }, log.at, key);
  }

  /** Signs a head of what was read. */
  flush(): void {
    const { log } = this.#o;
    if (log.open === 0) return;
    log.flush((size) => this.#sign(size));
    this.#openSinceMicros = 0;
  }

  async #signHeads(signal: AbortSignal): Promise<void> {
    const { headEveryMs = HEAD_EVERY_MS, afterHead } = this.#o;
    while (!signal.aborted) {
      await pause(headEveryMs, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      this.flush();
      await afterHead?.(signal);
    }
  }

  async #follow(stream: string, signal: AbortSignal): Promise<void> {
    const { bus, log } = this.#o;
    const info = await streamInfo(bus, stream);
    let created = createdMicrosOf(info);
    const logged = log.last(stream, created);
    const isContinued = await this.#isContinued(stream, created, info.state.last_seq);
    const at: Followed = { sequence: isContinued ? logged : 0, logged, timestampMicros: 0, pending: 0 };
    this.#followed.set(stream, at);
    await consumeOrdered(bus, stream, {
      start: at.sequence === 0 ? 'all' : { sequence: at.sequence + 1 },
      onMessage: (message) => this.#guard(() => this.#take(stream, created, at, message)),
      onRecreated: (info) => {
        this.#guard(() => this.flush());
        created = createdMicrosOf(info);
        Object.assign(at, { sequence: 0, logged: log.last(stream, created), timestampMicros: 0, pending: 0 });
      },
      signal,
    });
  }

  /** Whether the stream still has the newest logged message, as far as is known: a restored one keeps its creation. */
  async #isContinued(stream: string, created: number, lastSequence: number): Promise<boolean> {
    const { bus, log } = this.#o;
    const newest = log.last(stream, created);
    if (newest === 0) return true;
    if (lastSequence < newest) return false;
    const found = await getMessage(bus, stream, newest);
    return found === null || log.has(stream, created, newest, leafIn(stream, created, found));
  }

  #take(stream: string, created: number, at: Followed, message: StreamMessage): void {
    const { sequence, timestampMicros: storedAt, pending } = message;
    if (sequence <= at.sequence || this.#failed) return;
    const { log } = this.#o;
    if (at.sequence > 0) this.missed += sequence - at.sequence - 1;
    const leaf = leafIn(stream, created, message);
    // A recreated stream is read again from its beginning.
    if (sequence > at.logged || !log.has(stream, created, sequence, leaf)) {
      log.add(stream, created, sequence, leaf);
      if (this.#openSinceMicros === 0 || storedAt < this.#openSinceMicros) this.#openSinceMicros = storedAt;
    }
    at.sequence = sequence;
    at.timestampMicros = storedAt;
    at.pending = pending;
    if (log.open >= MAX_ADDED) this.flush();
  }
}

function leafIn(stream: string, created: number, message: Omit<StreamMessage, 'pending'>): Buffer {
  const { sequence, timestampMicros: storedAt, subject, headers, data } = message;
  return leafOf({ stream, sequence, storedAt, subject }, headers?.stored, data, created);
}
