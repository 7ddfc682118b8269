/**
 * Idle watermark: advances stream time while VIOLATIONS has no new frame, so that a pending
 * violation is not held back until the next one.
 *
 * Invariant: time advances to a deadline only if the server, at a later time, has no unprocessed
 * frame. The inputs must be complete up to SETTLE_MICROS before the deadline. The engine then
 * produces what it would produce at the next frame. No request is sent before the deadline.
 */
import { type Bus, BusError, streamEnd } from '@bailiff/bus';
import { type CorrelationEngine, SETTLE_MICROS } from '@bailiff/correlation';
import type { Cancel, Clock } from '@bailiff/service';
import type { InputWatermark } from './frame-consumer.ts';

/** Poll interval: the maximum delay of a release, which itself is a second or later. */
const POLL_MS = 100;
/** See StreamWatermark of @bailiff/bus: a leader stamps a message before it reports it. */
const COMMIT_MARGIN_MICROS = 250_000;

export interface IdleWatermarkOptions {
  bus: Bus;
  engine: CorrelationEngine;
  inputs: readonly InputWatermark[];
  clock: Clock;
  /** Newest sequence of VIOLATIONS that was processed or dead-lettered. */
  handled(): number;
  onError(error: Error): void;
}

export class IdleWatermark {
  readonly #o: IdleWatermarkOptions;
  #advancing = false;
  #cancel: Cancel | null = null;

  constructor(options: IdleWatermarkOptions) {
    this.#o = options;
  }
  start(): void {
    this.#cancel = this.#o.clock.setRepeating(() => this.#poll(), POLL_MS);
  }
  stop(): void {
    this.#cancel?.();
  }

  #poll(): void {
    const deadline = this.#advancing ? null : this.#o.engine.nextDeadlineMicros();
    if (deadline === null || deadline === Number.POSITIVE_INFINITY || !this.#o.bus.connected) return;
    this.#advancing = true;
    this.#advanceTo(deadline)
      .catch((error: Error) => {
        if (!(error instanceof BusError)) this.#o.onError(error);
      })
      .finally(() => {
        this.#advancing = false;
      });
  }

  async #advanceTo(deadline: number): Promise<void> {
    const { bus, engine, inputs, handled } = this.#o;
    // A frame has reached it: the clock of the server may have been set back since.
    const isReached = deadline <= engine.nowMicros;
    if (!isReached && bus.serverClock.nowMicros() - COMMIT_MARGIN_MICROS < deadline) return;
    const { sequence, atMicros } = await streamEnd(bus, 'VIOLATIONS');
    if ((!isReached && atMicros - COMMIT_MARGIN_MICROS < deadline) || sequence > handled()) return;
    await Promise.all(inputs.map((input) => input.whenCompleteTo(deadline - SETTLE_MICROS)));
    engine.advance(deadline);
  }
}
