/**
 * The configuration as the bus recorded it, and the proof that no older change is still to come.
 *
 * Place in the path: CONFIG_LOG → correlator, responder, replay, backtest. A frame is judged by the newest configuration whose server
 * time is at or before the frame's − 1 s; live judging must therefore know that it has read all changes up to then. The proof:
 * the server names its time in one answer of STREAM.INFO and, in a later one, the last sequence; whatever was stored before
 * the first is at or below the second; once that is read, we are caught up to the first less COMMIT_MARGIN_MS. Proofs are made ahead
 * of being needed while somebody asks, and not at all when nobody does.
 */

import { type ConfigAt, type ConfigChange, ConfigHistory } from './config-history.ts';
import type { Bus } from './connect.ts';
import { microsOf, streamInfo } from './direct.ts';
import { BusError, toBusError } from './errors.ts';
import { isKey } from './kv.ts';
import { consumeOrdered, type StreamMessage } from './ordered.ts';
import { ROOT } from './subjects.ts';
import { backoffMs, onAbort, pause } from './wait.ts';

/**
 * A leader stamps a message before the cluster has agreed on it; until then STREAM.INFO does not show it. Agreement takes some ms,
 * and the clocks of leaders differ by less than this; what is left of the one second is ours.
 */
const COMMIT_MARGIN_MS = 250;
/** A proof older than this is renewed when somebody asks, before it is needed: 250 + 400 < 1,000. */
const RENEW_MS = 400;

const PREFIX = `${ROOT}.config.`;

export interface ConfigLogOptions {
  /** After each change has been taken. Must not throw. */
  onChange?: (change: ConfigChange) => void;
  /**
   * The log was made anew: its changes are told from the first again, with sequences that begin again. What was in force stands until it says
   * something. Must not throw.
   */
  onRemade?: () => void;
}

export class ConfigLog {
  private readonly bus: Bus;
  private history = new ConfigHistory();
  private readonly listeners = new Set<(change: ConfigChange) => void>();
  private readonly end = new AbortController();
  private readonly reading: Promise<void>;
  /** Sequence up to which all is read. */
  private read = 0;
  private waiters: { sequence: number; resolve: () => void; reject: (error: BusError) => void }[] = [];
  private provenMicros = 0;
  /** Logs that were read, and when the one that is read was made, as the server says; empty until it was asked. */
  private lives = 1;
  private created = '';
  /** The server's time in the last answer, and when that came by this process's steady clock. */
  private previousTsMicros = 0;
  private askedAtMs = Number.NEGATIVE_INFINITY;
  private proving: Promise<void> | null = null;
  private failure: BusError | null = null;

  /** Starts reading at once; whoever makes it closes it. */
  constructor(bus: Bus, options: ConfigLogOptions = {}) {
    this.bus = bus;
    if (options.onChange) this.listeners.add(options.onChange);
    this.reading = consumeOrdered(bus, 'CONFIG_LOG', {
      start: 'all',
      onMessage: (message) => this.take(message),
      onRemade: () => {
        this.startOver();
        options.onRemade?.();
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
    // A subject that is no key is copied as it is, or transformed into none.
    const isChange = message.subject.startsWith(PREFIX) && isKey(change.key);
    if (isChange) this.history.append(change);
    for (const waiter of this.waiters) if (waiter.sequence <= this.read) waiter.resolve();
    this.waiters = this.waiters.filter((waiter) => waiter.sequence > this.read);
    if (isChange) for (const listener of [...this.listeners]) listener(change);
  }

  private startOver(): void {
    this.history = new ConfigHistory(this.history.latest());
    this.read = 0;
    this.lives += 1;
    this.created = '';
    this.previousTsMicros = 0;
    const waiting = this.waiters;
    this.waiters = [];
    for (const { reject } of waiting) reject(new BusError('BUS_NO_STREAM', 'CONFIG_LOG was made anew'));
  }

  /** Calls back after each change has been taken. Answers how to stop. The callback must not throw. */
  onChange(listener: (change: ConfigChange) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** The newest configuration whose server time is at or before a time, of what has been read. */
  at(timeMicros: number): ConfigAt {
    this.renew();
    return this.history.at(timeMicros);
  }

  /** The newest configuration that has been read. */
  latest(): ConfigAt {
    return this.history.latest();
  }

  /** Changes of a key that the log keeps and that have been read, oldest first. */
  changesOf(key: string): ConfigChange[] {
    return this.history.of(key);
  }

  /** Every change at or before this server time has been read. */
  get caughtUpToMicros(): number {
    return this.provenMicros;
  }

  /** Whether `at(timeMicros)` is final. Synchronous, for the ordinary case. */
  isCaughtUpTo(timeMicros: number): boolean {
    this.renew();
    return timeMicros <= this.provenMicros;
  }

  /** Resolves when `at(timeMicros)` is final. A time to come is waited for. @throws BusError BUS_CLOSED, BUS_PERMISSION */
  async whenCaughtUpTo(timeMicros: number): Promise<void> {
    for (let failures = 0; timeMicros > this.provenMicros; ) {
      this.check();
      try {
        await this.prove();
        failures = 0;
        // Still not enough: either the next answer is late enough to build on, or the time is not old enough yet.
        const missingMicros = timeMicros + COMMIT_MARGIN_MS * 1000 - this.previousTsMicros;
        if (timeMicros > this.provenMicros && missingMicros > 0) await this.pauseFor(missingMicros);
      } catch (cause) {
        this.check();
        const error = toBusError(cause, 'CONFIG_LOG');
        if (error.code === 'BUS_PERMISSION' || error.code === 'BUS_CLOSED') throw error;
        await pause(backoffMs(failures), this.end.signal).catch(() => undefined);
        failures += 1;
      }
    }
  }

  private async pauseFor(micros: number): Promise<void> {
    const ms = Math.min(RENEW_MS, Math.max(1, Math.ceil(micros / 1000)));
    await pause(ms, this.end.signal).catch(() => undefined);
  }

  private check(): void {
    if (this.failure) throw this.failure;
    if (this.end.signal.aborted) throw new BusError('BUS_CLOSED', 'the configuration log is closed');
  }

  /** Proves ahead of need. Failure is left to whoever waits. */
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
    // The older of the two answers may be one that an earlier proof has asked for.
    if (this.previousTsMicros === 0) await this.ask();
    const before = this.previousTsMicros;
    await this.whenRead(await this.ask());
    this.provenMicros = Math.max(this.provenMicros, before - COMMIT_MARGIN_MS * 1000);
  }

  private async ask(): Promise<number> {
    const { lives } = this;
    const info = await streamInfo(this.bus, 'CONFIG_LOG');
    // An answer about another log than the one being read proves nothing; which it is the reader finds out in a moment.
    if (lives !== this.lives || (this.created !== '' && info.created !== this.created)) {
      if (lives === this.lives) this.created = info.created;
      this.previousTsMicros = 0;
      throw new BusError('BUS_NO_STREAM', 'CONFIG_LOG was made anew');
    }
    this.created = info.created;
    const ts = microsOf(info.ts ?? '');
    if (Number.isNaN(ts)) throw new BusError('BUS_MESSAGE', 'STREAM.INFO without the time of the server');
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
