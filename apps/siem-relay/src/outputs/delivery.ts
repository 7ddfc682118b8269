/**
 * Delivers the batch of one output: attempts, waits, dead letters and their counts. runner.ts calls it
 * in turn, and moves the position when events are settled.
 */
import { type Bus, deadLetter } from '@bailiff/bus';
import type { Clock } from '@bailiff/service';
import { Batch, type Held } from './batch.ts';
import { DeliveryError, type Output, type Rejection } from './output.ts';
import { nextStep, retryDelayMs } from './retry.ts';

/** Kept of a refused event in its dead letter, because SIEM has all of it. */
const LETTER_BYTES = 4_096;

export interface DeliveryOptions {
  bus: Bus;
  output: Output;
  clock: Clock;
  /** These events are delivered, or have a dead letter. */
  onSettled(held: readonly Held[]): void;
  onWarning(error: Error, text: string): void;
  signal: AbortSignal;
}

/** Why events wait. */
export interface Failing {
  code: string;
  text: string;
  sinceMs: number;
}

export class Delivery {
  readonly batch: Batch;
  readonly #o: DeliveryOptions;
  #failuresInRow = 0;
  #refusalsInRow = 0;
  /** Events were written to a connection that broke. */
  isBroken = false;
  delivered = 0;
  refused = 0;
  failures = 0;
  /** null while deliveries succeed. */
  failing: Failing | null = null;
  /** Bus time of the newest delivered event, microseconds since 1970; 0 before the first. */
  deliveredMicros = 0;

  constructor(options: DeliveryOptions) {
    this.#o = options;
    this.batch = new Batch(options.output.limits);
  }

  get isDue(): boolean {
    return this.batch.size > 0 && (this.isBroken || this.batch.isDue(this.#o.clock.monotonicMs()));
  }

  /** Delivers the batch, however long that takes; returns early on shutdown. Never rejects. */
  async deliver(): Promise<void> {
    const { signal } = this.#o;
    if (this.isBroken && this.failing !== null) await this.#pause(null);
    while (this.batch.size > 0 && !signal.aborted) {
      const held = this.batch.next();
      try {
        await this.deliverOnce(signal);
      } catch (error) {
        if (signal.aborted) return;
        const { step, waits } = nextStep(error, held.length, this.#refusalsInRow);
        if (waits) {
          this.fail(error);
          await this.#pause(error);
        }
        if (step === 'retry') this.batch.postpone();
        if (step === 'split') this.batch.split(held.length);
        if (step === 'dead-letter' && !signal.aborted) await this.#refuse(held[0] as Held, error as DeliveryError);
      }
    }
    this.isBroken = false;
  }

  /** One attempt. @throws as Output.deliver */
  async deliverOnce(signal: AbortSignal): Promise<void> {
    const held = this.batch.next();
    const events = held.map(({ event }) => event);
    const rejection = await this.#o.output.deliver(events, signal);
    if (rejection) await this.#rejected(held, rejection);
    this.#settle(held);
    this.delivered += held.length - Math.min(held.length, rejection?.rejected ?? 0);
    this.deliveredMicros = (held.at(-1) as Held).event.storedMicros;
    this.#succeed();
  }

  /** Sends again what has to be repeated. Never rejects. */
  async tick(): Promise<void> {
    const { output, signal } = this.#o;
    try {
      if ((await output.tick?.(signal)) === true) this.#succeed();
    } catch (error) {
      if (signal.aborted) return;
      this.fail(error);
      await this.#pause(error);
    }
  }

  fail(error: unknown): void {
    const { clock, output, onWarning } = this.#o;
    const { code = 'UNEXPECTED', message } = error as Error & { code?: string };
    this.failures += 1;
    this.#failuresInRow += 1;
    this.failing = { code, text: message, sinceMs: this.failing?.sinceMs ?? clock.nowMs() };
    onWarning(error as Error, `events for ${output.name} wait`);
  }

  /** The receiver does not say which events, so one dead letter names the range. @throws BusError */
  async #rejected(held: readonly Held[], { rejected, message }: Rejection): Promise<void> {
    const { onWarning } = this.#o;
    const [first, last] = [held[0] as Held, held.at(-1) as Held];
    const text = `${rejected} of ${held.length} events up to ${last.event.uid} are rejected: ${message}`;
    const error = new DeliveryError('OUTPUT_REFUSED', text);
    await this.#letter(first, error);
    this.refused += Math.min(held.length, rejected);
    onWarning(error, `${this.#o.output.name} rejects events`);
  }

  #succeed(): void {
    this.#failuresInRow = 0;
    this.#refusalsInRow = 0;
    this.failing = null;
  }

  #settle(held: readonly Held[]): void {
    this.batch.remove(held.length);
    this.#o.onSettled(held);
  }

  /** Stores a dead letter, and skips the event. */
  async #refuse(held: Held, error: DeliveryError): Promise<void> {
    const { output, signal, onWarning } = this.#o;
    try {
      await this.#letter(held, error);
    } catch (cause) {
      if (signal.aborted) return;
      this.fail(cause);
      await this.#pause(cause);
      this.batch.postpone();
      return;
    }
    this.#settle([held]);
    this.refused += 1;
    this.#refusalsInRow += 1;
    onWarning(error, `${output.name} refuses an event, which becomes a dead letter`);
  }

  async #letter({ event }: Held, { message }: DeliveryError): Promise<void> {
    const { bus, output, signal } = this.#o;
    const { sequence, subject, uid, data } = event;
    const letter = {
      stream: 'SIEM',
      sequence,
      subject,
      reason: `${output.name}-refused`,
      detail: `${uid}: ${message}`,
    };
    await deadLetter(bus, { ...letter, data, maxBytes: LETTER_BYTES, signal });
  }

  #pause(error: unknown): Promise<void> {
    const { clock, signal } = this.#o;
    const asked = error instanceof DeliveryError ? error.retryAfterMs : null;
    // Each turn has failed as often: the wait doubles for an event, not for each namespace with one that is never taken.
    const failures = Math.ceil(this.#failuresInRow / Math.max(1, this.batch.turns));
    return clock.sleep(retryDelayMs(Math.max(1, failures), Math.random(), asked), signal);
  }
}
