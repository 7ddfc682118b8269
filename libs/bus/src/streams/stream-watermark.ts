/**
 * Stream watermark: the time up to which a reader has every message of a stream. One reply of
 * STREAM.INFO has the server time, a later one the last sequence: every message stored before the
 * first is at or below the second. Once that sequence is read, the watermark is the server time
 * less COMMIT_MARGIN_MICROS. While it is in use it is refreshed ahead of need.
 *
 * Used for configuration and pod lists. Bound: one pair of requests at a time.
 */
import { onAbort, pause } from '@bailiff/service/retry';
import type { Bus } from '../connection/connect.ts';
import { BusError, toBusError } from '../connection/errors.ts';
import { microsOf, streamInfo } from './direct.ts';

/**
 * A leader stamps a message before the cluster has agreed on it, and STREAM.INFO shows it only
 * afterwards. Agreement takes some ms, and leaders' clocks differ by less than this.
 */
const COMMIT_MARGIN_MICROS = 250_000;
/**
 * An older watermark is refreshed on use. A frame is judged by what was stored a second before it:
 * 250 + 300 < 1,000.
 */
const REFRESH_MS = 300;
const RETRY_MS = 200;
/** Longest wait before a time in the future is checked again. */
const FUTURE_POLL_MS = 50;

export class StreamWatermark {
  readonly #bus: Bus;
  readonly #stream: string;
  readonly #signal: AbortSignal;
  #read = 0;
  #waiters: { sequence: number; resolve: () => void; reject: (error: Error) => void }[] = [];
  #serverMicros = 0;
  #lastSequence = 0;
  #requestedAtMs = Number.NEGATIVE_INFINITY;
  #completeTo = 0;
  #refreshing: Promise<void> | null = null;
  /** Number of the stream: grows when it is recreated. */
  #incarnation = 1;
  /** Creation time of the current stream; empty until the first reply. */
  #created = '';

  /** @param signal ends all waits with its reason */
  constructor(bus: Bus, stream: string, signal: AbortSignal) {
    this.#bus = bus;
    this.#stream = stream;
    this.#signal = signal;
  }

  /** Every message stored up to this time has been read. */
  get completeToMicros(): number {
    return this.#completeTo;
  }

  /** Every message up to this sequence has been read. */
  advanceTo(sequence: number): void {
    this.#read = sequence;
    if (this.#waiters.length === 0) return;
    for (const waiter of this.#waiters) if (waiter.sequence <= sequence) waiter.resolve();
    this.#waiters = this.#waiters.filter((waiter) => waiter.sequence > sequence);
  }

  /** The stream was recreated: replies about the old one are void. */
  streamRecreated(): void {
    this.#read = 0;
    this.#incarnation += 1;
    this.#created = '';
    this.#serverMicros = 0;
    const waiting = this.#waiters;
    this.#waiters = [];
    for (const { reject } of waiting) reject(this.#recreatedError());
  }

  #recreatedError(): BusError {
    return new BusError('BUS_NO_STREAM', `${this.#stream} was recreated`);
  }

  /** Starts a refresh ahead of need. An error is not lost: `whenCompleteTo` repeats the request. */
  renew(): void {
    if (this.#refreshing !== null || this.#signal.aborted || !this.#bus.connected) return;
    if (performance.now() - this.#requestedAtMs > REFRESH_MS) this.#refresh().catch(() => undefined);
  }

  /**
   * Whether every message stored up to a time has been read. The synchronous common case of
   * `whenCompleteTo`.
   */
  isCompleteTo(timeMicros: number): boolean {
    this.renew();
    return timeMicros <= this.#completeTo;
  }

  /**
   * Resolves when every message stored up to a time has been read; also accepts a future time.
   * @throws BusError BUS_PERMISSION, BUS_CLOSED; the signal's reason
   */
  async whenCompleteTo(timeMicros: number): Promise<void> {
    while (timeMicros > this.#completeTo) {
      this.#signal.throwIfAborted();
      try {
        await this.#refresh();
        // Not sufficient yet: repeat with the next reply, or wait until the time is old enough.
        const missing = timeMicros + COMMIT_MARGIN_MICROS - this.#serverMicros;
        if (timeMicros > this.#completeTo && missing > 0)
          await pause(Math.min(FUTURE_POLL_MS, Math.ceil(missing / 1000)), this.#signal);
      } catch (cause) {
        this.#signal.throwIfAborted();
        const error = toBusError(cause, this.#stream);
        if (error.code === 'BUS_PERMISSION' || error.code === 'BUS_CLOSED') throw error;
        await pause(RETRY_MS, this.#signal);
      }
    }
  }

  #refresh(): Promise<void> {
    this.#refreshing ??= this.#refreshOnce().finally(() => {
      this.#refreshing = null;
    });
    return this.#refreshing;
  }

  async #refreshOnce(): Promise<void> {
    // The first reply of the pair may be the second one of the previous refresh.
    if (this.#serverMicros === 0) await this.#requestInfo();
    const before = this.#serverMicros;
    await this.#requestInfo();
    await this.#whenRead(this.#lastSequence);
    this.#completeTo = Math.max(this.#completeTo, before - COMMIT_MARGIN_MICROS);
  }

  async #requestInfo(): Promise<void> {
    const incarnation = this.#incarnation;
    const info = await streamInfo(this.#bus, this.#stream);
    // A reply about another stream proves nothing. The reader detects the recreated stream itself.
    if (incarnation !== this.#incarnation || (this.#created !== '' && info.created !== this.#created)) {
      if (incarnation === this.#incarnation) this.#created = info.created;
      this.#serverMicros = 0;
      throw this.#recreatedError();
    }
    this.#created = info.created;
    const serverMicros = microsOf(info.ts ?? '');
    if (Number.isNaN(serverMicros)) throw new BusError('BUS_MESSAGE', 'the STREAM.INFO reply has no server time');
    this.#serverMicros = serverMicros;
    this.#lastSequence = info.state.last_seq;
    this.#requestedAtMs = performance.now();
  }

  #whenRead(sequence: number): Promise<void> {
    if (this.#read >= sequence) return Promise.resolve();
    this.#signal.throwIfAborted();
    return new Promise((resolve, reject) => {
      const forget = onAbort(this.#signal, () => reject(this.#signal.reason as Error));
      const settle = <T>(how: (value: T) => void) => {
        return (value: T) => {
          forget();
          how(value);
        };
      };
      this.#waiters.push({ sequence, resolve: settle(resolve), reject: settle(reject) });
    });
  }
}
