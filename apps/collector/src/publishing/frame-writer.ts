/**
 * Publishes frames: gives each a sequence, hands it to the sink, and reports what the bus stored.
 *
 * Data path: flusher.ts → adapter → here → bus-link.ts.
 */
import type { ViolationFrame } from '@bailiff/schemas';
import { FrameBuilder, type Unacked } from './frame-builder.ts';
import type { FramePart } from './source-shares.ts';

/** Destination of frames. */
export interface FrameSink {
  /**
   * Resolves when the bus stored the frame; rejects if it never will. The sink encodes the frame
   * within the call: its violations are reused afterwards.
   */
  publish(frame: ViolationFrame, parts: readonly FramePart[]): Promise<void>;
  /** Whether a source may publish now (source-shares.ts); false: its counts wait. */
  hasShare(source: object): boolean;
  hasCapacity(): boolean;
  whenCapacity(): Promise<void>;
}

export interface FrameOptions {
  nodeName: string;
  bootId: string;
  version: string;
  sink: FrameSink;
  /** Allocates a frame sequence; durable before it returns. */
  nextSequence(): number;
  clock: { nowMicros(): number };
}

export interface FrameEvents<S> {
  onAcked(contents: readonly Unacked<S>[]): void;
  onRejected(contents: readonly Unacked<S>[], error: Error): void;
}

export class FrameWriter<S extends { framesInFlight: number }> extends FrameBuilder<S> {
  readonly #o: FrameOptions;
  readonly #events: FrameEvents<S>;
  readonly #inFlight = new Set<Promise<void>>();
  framesPublished = 0;
  violationsPublished = 0;

  constructor(options: FrameOptions, events: FrameEvents<S>) {
    super();
    this.#o = options;
    this.#events = events;
  }

  /** Call it after each addition, so that no frame exceeds its limits. */
  sendIfFull(): void {
    if (this.isFull) this.send();
  }

  /** Publishes the frame, unless it is empty, and begins the next. */
  send(): void {
    if (this.isEmpty) return;
    const { violations, coverage } = this;
    this.framesPublished += 1;
    this.violationsPublished += violations.length;
    const frame = {
      nodeName: this.#o.nodeName,
      bootId: this.#o.bootId,
      frameSequence: this.#o.nextSequence(),
      publishedAt: this.#o.clock.nowMicros(),
      collectorVersion: this.#o.version,
      violations,
      coverage,
    };
    const published = this.#o.sink.publish(frame, this.parts());
    const contents = this.clear();
    for (const { source } of contents) source.framesInFlight += 1;
    const sent: Promise<void> = published
      .then(() => this.#events.onAcked(contents))
      .catch((error: Error) => this.#events.onRejected(contents, error))
      .finally(() => this.#inFlight.delete(sent));
    this.#inFlight.add(sent);
  }

  /**
   * Waits for the frames in flight, at most for the timeout.
   * @returns frames that are still in flight
   */
  async whenAcked(timeoutMs: number): Promise<number> {
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
    });
    await Promise.race([Promise.all(this.#inFlight), timeout]);
    clearTimeout(timer);
    return this.#inFlight.size;
  }
}
