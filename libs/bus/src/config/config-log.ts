/**
 * The configuration as recorded in CONFIG_LOG, and the proof that no older change is outstanding.
 *
 * A frame is judged by the newest configuration stored at least 1 s before it, so live judging must
 * have read all changes up to then. The proof uses two STREAM.INFO responses: every change stored
 * before the time of the first is at or below the last sequence of the second. After reading that
 * sequence, the log is complete up to the first time minus COMMIT_MARGIN_MS. Proofs are renewed
 * ahead of need while callers query.
 */

import { onAbort, pause } from '@bailiff/service/retry';
import { busBackoffMs } from '../connection/backoff.ts';
import type { Bus } from '../connection/connect.ts';
import { BusError, toBusError } from '../connection/errors.ts';
import { isKey } from '../kv/bucket.ts';
import { microsOf, type StreamMessage, streamInfo } from '../streams/direct.ts';
import { consumeOrdered } from '../streams/ordered.ts';
import { ROOT } from '../topology/subjects.ts';
import { type ConfigAt, type ConfigChange, ConfigHistory } from './config-history.ts';

/**
 * A leader stamps a message before the cluster has agreed on it, and STREAM.INFO shows it only
 * afterwards. Agreement takes some ms, and leaders' clocks differ by less than this. The rest of
 * the second is reserve.
 */
const COMMIT_MARGIN_MS = 250;
/** A query renews a proof older than this before it is needed: 250 + 400 < 1,000. */
const RENEW_MS = 400;

const PREFIX = `${ROOT}.config.`;

export interface ConfigLogOptions {
  /** Called after each change is applied. Must not throw. */
  onChange?: (change: ConfigChange) => void;
  /**
   * CONFIG_LOG was recreated: its changes are reported from the first on, and sequences restart.
   * The previous configuration stays in force until the new log changes it. Must not throw.
   */
  onRecreated?: () => void;
}

export class ConfigLog {
  private readonly bus: Bus;
  private history = new ConfigHistory();
  private readonly listeners = new Set<(change: ConfigChange) => void>();
  private readonly end = new AbortController();
  private readonly reading: Promise<void>;
  /** Last read sequence. */
  private read = 0;
  private waiters: { sequence: number; resolve: () => void; reject: (error: BusError) => void }[] = [];
  private provenMicros = 0;
  /** Number of logs read so far, and the creation time of the current one; empty until known. */
  private generation = 1;
  private created = '';
  /** Server time in the last response, and its arrival by performance.now(). */
  private previousTsMicros = 0;
  private askedAtMs = Number.NEGATIVE_INFINITY;
  private proving: Promise<void> | null = null;
  private failure: BusError | null = null;

  /** Starts reading at once; the caller closes it. */
  constructor(bus: Bus, options: ConfigLogOptions = {}) {
    this.bus = bus;
    if (options.onChange) this.listeners.add(options.onChange);
    this.reading = consumeOrdered(bus, 'CONFIG_LOG', {
      start: 'all',
      onMessage: (message) => this.take(message),
      onRecreated: () => {
        this.startOver();
        options.onRecreated?.();
      },
      signal: this.end.signal,
    }).catch((cause: unknown) => {
      this.failure = toBusError(cause, 'CONFIG_LOG');
      this.end.abort(this.failure);
    });
  }

  private take(message: StreamMessage): void {
    const operation = message.headers?.get('KV-Operation') ?? '';
    const change: ConfigChange = {
      sequence: message.sequence,
      timestampMicros: message.timestampMicros,
      key: message.subject.slice(PREFIX.length),
      json: operation === '' ? Buffer.from(message.data).toString('utf8') : null,
      by: message.headers?.get('Bailiff-By') ?? '',
      why: message.headers?.get('Bailiff-Why') ?? '',
    };
    this.read = message.sequence;
    // A subject that is not a valid key is copied unchanged or not transformed.
    const isChange = message.subject.startsWith(PREFIX) && isKey(change.key);
    if (isChange) this.history.append(change);
    for (const waiter of this.waiters) if (waiter.sequence <= this.read) waiter.resolve();
    this.waiters = this.waiters.filter((waiter) => waiter.sequence > this.read);
    if (isChange) for (const listener of [...this.listeners]) listener(change);
  }

  private startOver(): void {
    this.history = new ConfigHistory(this.history.latest());
    this.read = 0;
    this.generation += 1;
    this.created = '';
    this.previousTsMicros = 0;
    const waiting = this.waiters;
    this.waiters = [];
    for (const { reject } of waiting) reject(new BusError('BUS_NO_STREAM', 'CONFIG_LOG was recreated'));
  }

  /** Adds a listener for applied changes and returns its removal. The listener must not throw. */
  onChange(listener: (change: ConfigChange) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** The newest configuration at or before a server time, among the changes read so far. */
  at(timeMicros: number): ConfigAt {
    this.renew();
    return this.history.at(timeMicros);
  }

  /** The newest configuration read so far. */
  latest(): ConfigAt {
    return this.history.latest();
  }

  /** Kept changes of a key that were read, oldest first. */
  changesOf(key: string): ConfigChange[] {
    return this.history.of(key);
  }

  /** Every change at or before this server time has been read. */
  get caughtUpToMicros(): number {
    return this.provenMicros;
  }

  /** Whether `at(timeMicros)` is final. Synchronous, for the common case. */
  isCaughtUpTo(timeMicros: number): boolean {
    this.renew();
    return timeMicros <= this.provenMicros;
  }

  /**
   * Resolves when `at(timeMicros)` is final; also accepts a future time. @throws BusError
   * BUS_CLOSED, BUS_PERMISSION
   */
  async whenCaughtUpTo(timeMicros: number): Promise<void> {
    for (let failures = 0; timeMicros > this.provenMicros; ) {
      this.check();
      try {
        await this.prove();
        failures = 0;
        // Not sufficient yet: repeat with the next response, or wait until the time is old enough.
        const missingMicros = timeMicros + COMMIT_MARGIN_MS * 1000 - this.previousTsMicros;
        if (timeMicros > this.provenMicros && missingMicros > 0) await this.pauseFor(missingMicros);
      } catch (cause) {
        this.check();
        const error = toBusError(cause, 'CONFIG_LOG');
        if (error.code === 'BUS_PERMISSION' || error.code === 'BUS_CLOSED') throw error;
        await pause(busBackoffMs(failures), this.end.signal);
        failures += 1;
      }
    }
  }

  private async pauseFor(micros: number): Promise<void> {
    const ms = Math.min(RENEW_MS, Math.max(1, Math.ceil(micros / 1000)));
    await pause(ms, this.end.signal);
  }

  private check(): void {
    if (this.failure) throw this.failure;
    if (this.end.signal.aborted) throw new BusError('BUS_CLOSED', 'the configuration log is closed');
  }

  /** Renews the proof ahead of need. A caller that waits handles the error. */
  private renew(): void {
    if (this.proving || this.end.signal.aborted || !this.bus.connected) return;
    if (performance.now() - this.askedAtMs < RENEW_MS) return;
    this.prove().catch(() => undefined);
  }

  private prove(): Promise<void> {
    this.proving ??= this.proveOnce().finally(() => {
      this.proving = null;
    });
    return this.proving;
  }

  private async proveOnce(): Promise<void> {
    // The first of the two responses may come from an earlier proof.
    if (this.previousTsMicros === 0) await this.readServerTime();
    const before = this.previousTsMicros;
    await this.whenRead(await this.readServerTime());
    this.provenMicros = Math.max(this.provenMicros, before - COMMIT_MARGIN_MS * 1000);
  }

  private async readServerTime(): Promise<number> {
    const { generation } = this;
    const info = await streamInfo(this.bus, 'CONFIG_LOG');
    // A response about another log proves nothing. The reader detects the recreated log itself.
    if (generation !== this.generation || (this.created !== '' && info.created !== this.created)) {
      if (generation === this.generation) this.created = info.created;
      this.previousTsMicros = 0;
      throw new BusError('BUS_NO_STREAM', 'CONFIG_LOG was recreated');
    }
    this.created = info.created;
    const ts = microsOf(info.ts ?? '');
    if (Number.isNaN(ts)) throw new BusError('BUS_MESSAGE', 'STREAM.INFO response without the server time');
    this.previousTsMicros = ts;
    this.askedAtMs = performance.now();
    return info.state.last_seq;
  }

  private whenRead(sequence: number): Promise<void> {
    if (this.read >= sequence) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const forget = onAbort(this.end.signal, () =>
        reject(new BusError('BUS_CLOSED', 'the configuration log is closed')),
      );
      const settle = <T>(how: (value: T) => void) => {
        return (value: T) => {
          forget();
          how(value);
        };
      };
      this.waiters.push({ sequence, resolve: settle(resolve), reject: settle(reject) });
    });
  }

  async close(): Promise<void> {
    this.end.abort();
    await this.reading;
  }
}
