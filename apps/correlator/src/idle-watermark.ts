/**
 * Moves stream time on while no frame does, so that a violation which waits for its pod to be listed does not wait for the next frame.
 *
 * Invariant: time is moved to a deadline only when the server has said, at a later time, that it holds no frame that was not folded, and when the
 * pods' lists and the configuration are known up to a settling time before it: the fold then says what it would have said at the next frame.
 */
import { type Bus, BusError, microsOf, streamInfo } from '@bailiff/bus';
import { type CorrelationEngine, SETTLE_MICROS } from '@bailiff/correlation';
import type { Cancel, Clock } from '@bailiff/service';
import type { InputWatermark } from './frame-consumer.ts';

/** How often a deadline is looked for; adds at most this to a wait of a second or more. */
const LOOK_MS = 100;
/** As in stream-proof.ts: a leader stamps a message before STREAM.INFO shows it. */
const COMMIT_MARGIN_MICROS = 250_000;

export interface IdleWatermarkOptions {
  bus: Bus;
  engine: CorrelationEngine;
  inputs: readonly InputWatermark[];
  clock: Clock;
  /** Newest sequence of VIOLATIONS that was folded or set aside. */
  handled(): number;
  onError(error: Error): void;
}

export class IdleWatermark {
  readonly #o: IdleWatermarkOptions;
  #looking = false;
  #cancel: Cancel | null = null;

  constructor(options: IdleWatermarkOptions) {
    this.#o = options;
  }
  start(): void {
    this.#cancel = this.#o.clock.setRepeating(() => this.#look(), LOOK_MS);
  }
  stop(): void {
    this.#cancel?.();
  }

  #look(): void {
    const deadline = this.#looking ? null : this.#o.engine.nextDeadlineMicros();
    if (deadline === null || deadline === Number.POSITIVE_INFINITY || !this.#o.bus.connected) return;
    this.#looking = true;
    this.#reach(deadline)
      .catch((error: Error) => {
        if (!(error instanceof BusError)) this.#o.onError(error);
      })
      .finally(() => {
        this.#looking = false;
      });
  }

  async #reach(deadline: number): Promise<void> {
    const { bus, engine: fold, inputs: gates, handled } = this.#o;
    const { ts, state } = await streamInfo(bus, 'VIOLATIONS');
    const serverMicros = microsOf(ts ?? '');
    if (!(serverMicros - COMMIT_MARGIN_MICROS >= deadline) || state.last_seq > handled()) return;
    await Promise.all(gates.map((gate) => gate.whenCompleteTo(deadline - SETTLE_MICROS)));
    fold.advance(deadline);
  }
}
