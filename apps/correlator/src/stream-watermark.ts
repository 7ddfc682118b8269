/**
 * The proof that all of a stream up to a time has been read.
 *
 * The server names its time in one answer of STREAM.INFO and, in a later one, the last sequence: whatever was stored before the first is
 * at or below the second. Once that is read, the stream is known up to the first, less a margin for messages that a leader stamped and the
 * cluster had not agreed on yet. Proofs are made ahead of need while somebody asks. Bounds: one pair of questions at a time.
 */
import { type Bus, BusError, microsOf, streamInfo } from '@bailiff/bus';
import type { Clock } from '@bailiff/service';

const COMMIT_MARGIN_MICROS = 250_000;
/** A proof older than this is renewed when somebody asks. */
const RENEW_MS = 300;
const RETRY_MS = 200;
/** A question about a time to come is asked again this soon. */
const AGAIN_MS = 50;

export class StreamWatermark {
  readonly #bus: Bus;
  readonly #stream: string;
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  #read = 0;
  #waiters: { sequence: number; resolve: () => void; reject: (error: Error) => void }[] = [];
  #serverMicros = 0;
  #lastSequence = 0;
  #askedAtMs = Number.NEGATIVE_INFINITY;
  #completeTo = 0;
  #proving: Promise<void> | null = null;
  /** Streams that were read, and when the one that is read was made, as the server says; empty until it was asked. */
  #lives = 1;
  #created = '';

  constructor(bus: Bus, stream: string, clock: Clock, signal: AbortSignal) {
    this.#bus = bus;
    this.#stream = stream;
    this.#clock = clock;
    this.#signal = signal;
  }

  /** Everything up to this sequence has been taken. */
  advanceTo(sequence: number): void {
    this.#read = sequence;
    if (this.#waiters.length === 0) return;
    for (const waiter of this.#waiters) if (waiter.sequence <= sequence) waiter.resolve();
    this.#waiters = this.#waiters.filter((waiter) => waiter.sequence > sequence);
  }

  /** The stream was made anew: answers about the old one prove nothing about it. */
  streamRecreated(): void {
    this.#read = 0;
    this.#lives += 1;
    this.#created = '';
    this.#serverMicros = 0;
    const waiting = this.#waiters;
    this.#waiters = [];
    for (const { reject } of waiting) reject(this.#anew());
  }

  #anew(): BusError {
    return new BusError('BUS_NO_STREAM', `${this.#stream} was made anew`);
  }

  /** Whether all that the server stored up to a time has been read. Synchronous, for the ordinary case. */
  isCompleteTo(timeMicros: number): boolean {
    if (this.#clock.monotonicMs() - this.#askedAtMs > RENEW_MS && this.#bus.connected) this.#prove().catch(() => {});
    return timeMicros <= this.#completeTo;
  }

  /** Resolves when it has been. @throws BusError BUS_PERMISSION, BUS_CLOSED; the signal's reason when it aborts */
  async whenCompleteTo(timeMicros: number): Promise<void> {
    while (timeMicros > this.#completeTo) {
      this.#signal.throwIfAborted();
      try {
        await this.#prove();
        const missing = timeMicros + COMMIT_MARGIN_MICROS - this.#serverMicros;
        if (missing > 0) await this.#clock.sleep(Math.min(AGAIN_MS, Math.ceil(missing / 1000)), this.#signal);
      } catch (error) {
        if (!(error instanceof BusError) || error.code === 'BUS_PERMISSION' || error.code === 'BUS_CLOSED') throw error;
        await this.#clock.sleep(RETRY_MS, this.#signal);
      }
    }
  }

  #prove(): Promise<void> {
    this.#proving ??= this.#proveOnce().finally(() => {
      this.#proving = null;
    });
    return this.#proving;
  }

  async #proveOnce(): Promise<void> {
    // The earlier answer may be one that an earlier proof has asked for.
    if (this.#serverMicros === 0) await this.#ask();
    const before = this.#serverMicros;
    await this.#ask();
    await this.#whenRead(this.#lastSequence);
    this.#completeTo = Math.max(this.#completeTo, before - COMMIT_MARGIN_MICROS);
  }

  async #ask(): Promise<void> {
    const lives = this.#lives;
    const info = await streamInfo(this.#bus, this.#stream);
    if (lives !== this.#lives || (this.#created !== '' && info.created !== this.#created)) {
      if (lives === this.#lives) this.#created = info.created;
      this.#serverMicros = 0;
      throw this.#anew();
    }
    this.#created = info.created;
    const serverMicros = microsOf(info.ts ?? '');
    if (Number.isNaN(serverMicros)) throw new BusError('BUS_MESSAGE', 'STREAM.INFO without the time of the server');
    this.#serverMicros = serverMicros;
    this.#lastSequence = info.state.last_seq;
    this.#askedAtMs = this.#clock.monotonicMs();
  }

  #whenRead(sequence: number): Promise<void> {
    if (this.#read >= sequence) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const aborted = () => reject(this.#signal.reason as Error);
      this.#signal.addEventListener('abort', aborted, { once: true });
      const settle = <T>(how: (value: T) => void) => {
        return (value: T) => {
          this.#signal.removeEventListener('abort', aborted);
          how(value);
        };
      };
      this.#waiters.push({ sequence, resolve: settle(resolve), reject: settle(reject) });
    });
  }
}
