/**
 * Stream watermark: the time up to which a reader has every message of a stream. Every message
 * stored before the server time of a request is at or below the newest sequence that the response
 * reports. Once that sequence is read, the watermark is the server time less COMMIT_MARGIN_MICROS.
 * While it is in use it is refreshed ahead of need.
 *
 * Used for configuration and pod lists. It does not depend on the server's queue of API requests
 * (stream-end.ts). Bound: one request at a time.
 */
import { isSetBack } from '@bailiff/policy';
import { onAbort, pause, retry } from '@bailiff/service/retry';
import type { Bus } from '../connection/connect.ts';
import { BusError, toBusError } from '../connection/errors.ts';
import { type StreamEnd, streamEnd } from './stream-end.ts';
import { type Lives, lifeName } from './stream-lives.ts';

/**
 * A leader stamps a message before the cluster has agreed on it, and STREAM.INFO shows it only
 * afterwards. Agreement takes some ms, and leaders' clocks differ by less than this.
 */
const COMMIT_MARGIN_MICROS = 250_000;
/**
 * An older watermark is refreshed on use. A frame is judged by what was stored a second before it:
 * the margin, this interval and twice the patience of stream-end.ts take less.
 */
const REFRESH_MS = 300;
const RETRY_MS = 200;
/** Longest wait before a time in the future is checked again. */
const FUTURE_POLL_MS = 50;
/**
 * A time that is further ahead of the server is of a clock that was wrong, or is that of another server. It is not
 * waited for: a message that a server has stamped tomorrow would end all reading until then.
 */
const MAX_AHEAD_MICROS = 10_000_000;

export class StreamWatermark {
  readonly #bus: Bus;
  readonly #stream: string;
  readonly #signal: AbortSignal;
  #read = 0;
  #waiters: { sequence: number; resolve: () => void; reject: (error: Error) => void }[] = [];
  #requestedAtMs = Number.NEGATIVE_INFINITY;
  #completeTo = 0;
  #refreshing: Promise<void> | null = null;
  /** Number of the stream: grows when it is recreated. */
  #incarnation = 1;
  /** Name of the life of the current stream; empty until the first reply. */
  #life = '';

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
    this.#life = '';
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
   * Resolves when every message stored up to a time has been read; also accepts a future time. Of one more than
   * MAX_AHEAD_MICROS ahead of the server, when every message stored before the call has been read.
   * @throws BusError BUS_PERMISSION, BUS_CLOSED; the signal's reason
   */
  async whenCompleteTo(timeMicros: number): Promise<void> {
    this.renew();
    const signal = this.#signal;
    const waitMs = (cause: unknown) => {
      signal.throwIfAborted();
      const error = toBusError(cause, this.#stream);
      if (error.code === 'BUS_PERMISSION' || error.code === 'BUS_CLOSED') throw error;
      return RETRY_MS;
    };
    while (timeMicros > this.#completeTo) {
      await retry(() => this.#refresh(), { signal, waitMs });
      // Not sufficient yet: repeat with the next reply, or wait until the time is old enough.
      const nowMicros = this.#bus.serverClock.nowMicros();
      const missing = timeMicros + COMMIT_MARGIN_MICROS - nowMicros;
      if (nowMicros > 0 && missing > MAX_AHEAD_MICROS) return;
      if (timeMicros > this.#completeTo && missing > 0)
        await pause(Math.min(FUTURE_POLL_MS, Math.ceil(missing / 1000)), signal);
    }
  }

  #refresh(): Promise<void> {
    this.#refreshing ??= this.#refreshOnce().finally(() => {
      this.#refreshing = null;
    });
    return this.#refreshing;
  }

  async #refreshOnce(): Promise<void> {
    const { sequence, atMicros } = await this.#readEnd();
    await this.#whenRead(sequence);
    const completeTo = atMicros - COMMIT_MARGIN_MICROS;
    // Otherwise a clock that was ahead would prove everything to be read until it has caught up.
    if (completeTo > this.#completeTo || isSetBack(completeTo, this.#completeTo)) this.#completeTo = completeTo;
  }

  async #readEnd(): Promise<StreamEnd> {
    const incarnation = this.#incarnation;
    this.#requestedAtMs = performance.now();
    const end = await streamEnd(this.#bus, this.#stream);
    // Without a response of the leader: the reader may have read from a replica that is ahead.
    const isOther = end.info === null ? end.sequence < this.#read : this.#isOther(end.info);
    // A reply about another stream proves nothing. The reader detects the recreated stream itself.
    if (incarnation !== this.#incarnation || isOther) throw this.#recreatedError();
    return end;
  }

  #isOther(info: Lives): boolean {
    const life = lifeName(info);
    const isOther = this.#life !== '' && this.#life !== life;
    this.#life = life;
    return isOther;
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
