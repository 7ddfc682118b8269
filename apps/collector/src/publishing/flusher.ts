/**
 * Decides when the counters of sources are read and published. A source is an interface, or an
 * account: the counts of a pod or container under one policy set (operations/counting/account.ts).
 * One flush is one forward pass: due source → adapter → frames → bus.
 *
 * The first violation of a source is published at once, later ones at growing intervals, up to
 * `flushIntervalMs`. Publishing is pipelined and bounded. If the bus has no capacity, nothing is
 * read, and the growth stays exact in the kernel's counters. Likewise for a source that has used its
 * share of what the node may publish.
 */
import type { CounterLedger } from './counter-ledger.ts';
import { type FrameOptions, type FrameSink, FrameWriter, type Unacked } from './frame.ts';

/** Interval of a source right after its first violation; doubled by each flush that finds growth. */
const FIRST_INTERVAL_MS = 10;

/** Something with counters to publish. */
export interface Source {
  readonly ledger: CounterLedger;
  /** Its counters are read at the next flush. */
  dirty: boolean;
  flushedAtMs: number;
  /** Shortest time until the next flush; 0: nothing grew at the last one. */
  minIntervalMs: number;
  /** Unacknowledged frames with its violations. */
  framesInFlight: number;
  /** It is gone; kept until its last count is acknowledged. */
  gone: boolean;
  /** It is gone, and a frame contains every final count. */
  finalPublished: boolean;
}

/**
 * - grew: the source is read again at its next turn, so the end of a burst needs no sample.
 * - unchanged: the source waits for the next sample or sweep.
 * - postponed: the source may not publish yet.
 */
export type CollectResult = 'grew' | 'unchanged' | 'postponed';

/** Reads one kind of source. */
export interface SourceAdapter<S extends Source> {
  all(): Iterable<S>;
  /** Sources to read in a sweep; default: all. */
  sweepable?(): Iterable<S>;
  /** Reads a source and writes its growth into frames. */
  collect(source: S, frames: FrameWriter<S>): CollectResult;
  /** The bus stored the frame with these violations; the ledger is updated already. */
  onAcked(unacked: Unacked<S>): void;
  /** The frame with these violations was not stored; the ledger is updated already. */
  onRejected(unacked: Unacked<S>): void;
}

export interface FlusherOptions extends FrameOptions {
  sink: FrameSink;
  clock: FrameOptions['clock'] & { nowMs(): number };
  flushIntervalMs: number;
  onError(error: Error): void;
}

export class Flusher<S extends Source> {
  readonly #o: FlusherOptions;
  readonly #adapter: SourceAdapter<S>;
  readonly #frames: FrameWriter<S>;
  #timer: NodeJS.Timeout | null = null;
  /** A flush was interrupted and resumes when the bus has capacity. */
  #waiting = false;
  #stopped = false;
  #stopping = false;
  /** Due sources of the current pass, the longest due first, and the index of the next one. */
  #pass: readonly S[] = [];
  #next = 0;

  constructor(options: FlusherOptions, adapter: SourceAdapter<S>) {
    this.#o = options;
    this.#adapter = adapter;
    this.#frames = new FrameWriter(options, {
      onAcked: (contents) => this.#acked(contents),
      onRejected: (contents, error) => this.#rejected(contents, error),
    });
  }

  /** Samples of these sources arrived: flushes the due ones at once, the others when they are due. */
  received(sources: Iterable<S>): void {
    const now = this.#o.clock.nowMs();
    const due: S[] = [];
    for (const source of sources) {
      source.dirty = true;
      if (this.#dueAt(source) <= now) due.push(source);
    }
    if (due.length > 0) this.flush(due);
    this.#arm();
  }

  /**
   * A source has something to publish without a sample: unguarded packets, a violation of user
   * space, its end.
   */
  touch(source: S): void {
    source.dirty = true;
    this.#arm();
  }

  /** Reads live counters, to find growth whose samples were lost. */
  sweep(): void {
    const sources = [...(this.#adapter.sweepable?.() ?? this.#adapter.all())];
    for (const source of sources) source.dirty = true;
    this.flush(sources);
    this.#arm();
  }

  /**
   * When a source may be flushed: at once if it was quiet, else after 10 ms, 20 ms and so on up to
   * the interval. The packets that reach a rule's low threshold are on the bus within milliseconds.
   * A flood costs four frames a second at the default interval of 250 ms.
   */
  #dueAt(source: S): number {
    return source.flushedAtMs + Math.min(source.minIntervalMs, this.#o.flushIntervalMs);
  }

  #isDue(source: S, now: number): boolean {
    return source.dirty && this.#dueAt(source) <= now;
  }

  #arm(): void {
    // Without capacity, the next flush starts when there is some.
    if (this.#timer || this.#stopped || this.#waiting) return;
    let earliest = Number.POSITIVE_INFINITY;
    for (const source of this.#adapter.all()) if (source.dirty) earliest = Math.min(earliest, this.#dueAt(source));
    if (earliest === Number.POSITIVE_INFINITY) return;
    // Sources that are due within a few milliseconds share a frame; overdue ones do not wait
    // longer.
    const left = earliest - this.#o.clock.nowMs();
    this.#timer = setTimeout(
      () => {
        this.#timer = null;
        this.#flushDue();
        this.#arm();
      },
      left < 0 ? 0 : Math.max(left, FIRST_INTERVAL_MS),
    );
    this.#timer.unref();
  }

  /** Due sources, the longest due first, so that each has its turn under overload. */
  #due(): S[] {
    const now = this.#o.clock.nowMs();
    const due: S[] = [];
    for (const source of this.#adapter.all()) if (this.#isDue(source, now)) due.push(source);
    return due.sort((a, b) => this.#dueAt(a) - this.#dueAt(b));
  }

  /**
   * Resumes an interrupted pass where it stopped, then flushes the sources that are due now.
   * Sorting again on every acknowledgement would be expensive.
   */
  #flushDue(): void {
    this.#resume();
    if (this.#waiting) return;
    this.#pass = this.#due();
    this.#next = 0;
    this.#resume();
  }

  #resume(): void {
    const now = this.#o.clock.nowMs();
    for (; this.#next < this.#pass.length; this.#next += 1) {
      const source = this.#pass[this.#next] as S;
      // Sources that were flushed meanwhile are no longer due.
      if (this.#isDue(source, now) && !this.#collect(source)) break;
    }
    // Releases the sources of a finished pass.
    if (this.#next >= this.#pass.length) {
      this.#pass = [];
      this.#next = 0;
    }
    this.#frames.send();
  }

  /**
   * Publishes the growth of these sources. Stops early if the bus has no capacity; the rest stays
   * dirty.
   */
  flush(sources: Iterable<S>): void {
    for (const source of sources) if (!this.#collect(source)) break;
    this.#frames.send();
  }

  /** False: the bus has no capacity, and the source is unchanged. */
  #collect(source: S): boolean {
    if (!this.#o.sink.hasCapacity()) {
      this.#resumeWithCapacity();
      return false;
    }
    source.flushedAtMs = this.#o.clock.nowMs();
    if (!this.#stopping && !this.#o.sink.hasShare(source)) {
      source.minIntervalMs = this.#o.flushIntervalMs;
      return true;
    }
    const result = this.#adapter.collect(source, this.#frames);
    const { flushIntervalMs } = this.#o;
    source.dirty = result !== 'unchanged';
    if (result === 'postponed') source.minIntervalMs = flushIntervalMs;
    else if (result === 'unchanged') source.minIntervalMs = 0;
    else source.minIntervalMs = Math.min(Math.max(source.minIntervalMs * 2, FIRST_INTERVAL_MS), flushIntervalMs);
    return true;
  }

  #resumeWithCapacity(): void {
    if (this.#waiting || this.#stopped) return;
    this.#waiting = true;
    this.#o.sink
      .whenCapacity()
      .then(() => {
        this.#waiting = false;
        this.#flushDue();
        this.#arm();
      })
      .catch((error: Error) => {
        this.#waiting = false;
        if (!this.#stopped) this.#o.onError(error);
      });
  }

  #acked(contents: readonly Unacked<S>[]): void {
    for (const one of contents) {
      const { source, cells } = one;
      source.framesInFlight -= 1;
      for (let i = 0; i < cells.length; i += 2) source.ledger.ack(cells[i] as number, cells[i + 1] as number);
      this.#adapter.onAcked(one);
      if (source.gone) this.touch(source);
    }
  }

  /** The kernel's counters still hold what the frame contained: it is published again. */
  #rejected(contents: readonly Unacked<S>[], error: Error): void {
    for (const one of contents) {
      const { source, cells } = one;
      source.framesInFlight -= 1;
      for (let i = 0; i < cells.length; i += 2) source.ledger.requeue(cells[i] as number);
      source.dirty = true;
      source.finalPublished = false;
      this.#adapter.onRejected(one);
    }
    if (!this.#stopped) this.#o.onError(error);
  }

  /** Flushes every source, whatever its share, and waits for the acknowledgements, at most for the timeout. */
  async stop(timeoutMs: number): Promise<{ unacked: number }> {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    this.#stopping = true;
    for (const source of this.#adapter.all()) source.dirty = true;
    this.flush(this.#adapter.all());
    this.#stopped = true;
    return { unacked: await this.#frames.whenAcked(timeoutMs) };
  }
}
