/**
 * When who has counts to tell may speak, and the frames on their way: the half of flushing that is the same for interfaces and for
 * containers under a runtime policy. What is said is the voice's business (flusher.ts, runtime/runtime-flusher.ts).
 *
 * A first breach leaves at once, later ones once an interval. Publishing is pipelined and bounded: when too many frames are
 * unacknowledged nothing is built, and the growth waits where it is exact and free, in the kernel's counters.
 */
import type { Violation, ViolationFrame } from '@bailiff/schemas';
import type { CounterLedger } from '../counting/counter-ledger.ts';
import { FrameBuilder, type Owed } from './frame-builder.ts';

/** Pace of a speaker right after its first breach; doubled with each flush that finds growth. */
const FIRST_PACE_MS = 10;

/** Where frames go. */
export interface FrameSink {
  /**
   * Acknowledged when the promise resolves, rejected only when the publisher was closed. The frame is encoded within the call: its
   * violations are filled anew after it.
   */
  publish(frame: ViolationFrame): Promise<void>;
  hasCapacity(): boolean;
  whenCapacity(): Promise<void>;
}

/** Somebody whose counts are told. */
export interface Speaker {
  readonly book: CounterLedger;
  /** Violations found by user space that wait for a frame. */
  pending: Violation[];
  /** Counters are to be read at the next flush. */
  dirty: boolean;
  flushedAtMs: number;
  /** Least time until the next flush; 0 = nothing grew at the last one. */
  paceMs: number;
  /** Frames on their way that speak of it. */
  framesInFlight: number;
  /** It went; kept until its last count is acknowledged. */
  gone: boolean;
  /** It went, and every count was put into a frame as final. */
  finalSaid: boolean;
}

export interface Voice<S extends Speaker> {
  all(): Iterable<S>;
  /** Who is read at a sweep; default: all. */
  sweepable?(): Iterable<S>;
  /** Reads a speaker and takes what grew into the frame, which `send` puts on its way when it is full. */
  collect(speaker: S, frame: FrameBuilder<S>, send: () => void): void;
  /** The bus has what the frame said of the speaker; its book knows already. */
  onAcked(owed: Owed<S>): void;
  /** What the frame said is owed again; the book knows already. */
  onRefused(owed: Owed<S>): void;
}

export interface FlushLoopOptions {
  nodeName: string;
  bootId: string;
  version: string;
  sink: FrameSink;
  /** Gives out a frame sequence; durable before it returns. */
  nextSequence(): number;
  clock: { nowMicros(): number; nowMs(): number };
  flushIntervalMs: number;
  /** Of user space's own violations, a speaker keeps so many when they come back. */
  maxPending: number;
  onError(error: Error): void;
}

export class FlushLoop<S extends Speaker> {
  readonly #o: FlushLoopOptions;
  readonly #voice: Voice<S>;
  #timer: NodeJS.Timeout | null = null;
  #waiting = false;
  #stopped = false;
  readonly #inFlight = new Set<Promise<void>>();
  /** Who was due when the last turn began, the longest first, and who of them is next. */
  #turn: readonly S[] = [];
  #next = 0;
  readonly #frame = new FrameBuilder<S>();
  readonly #sendFrame = () => this.#send();
  framesPublished = 0;
  violationsPublished = 0;

  constructor(options: FlushLoopOptions, voice: Voice<S>) {
    this.#o = options;
    this.#voice = voice;
  }

  /** Flushes at once who is due of these, the rest when its pace allows. */
  heard(speakers: Iterable<S>): void {
    const now = this.#o.clock.nowMs();
    const due: S[] = [];
    for (const speaker of speakers) {
      speaker.dirty = true;
      if (this.#dueAt(speaker) <= now) due.push(speaker);
    }
    if (due.length > 0) this.flush(due);
    this.#arm();
  }

  /** Somebody has something to say that no sample announces (a gap, a violation of user space, its end). */
  touch(speaker: S): void {
    speaker.dirty = true;
    this.#arm();
  }

  /** Reads live counters: growth whose samples were lost shows here. */
  sweep(): void {
    const speakers = [...(this.#voice.sweepable?.() ?? this.#voice.all())];
    for (const speaker of speakers) speaker.dirty = true;
    this.flush(speakers);
    this.#arm();
  }

  /**
   * When somebody may speak again. Quiet ones at once; one that keeps breaching after 10 ms, 20 ms and so on up to the interval, so
   * that a threshold of a few packets is on the bus in milliseconds and a flood still costs four frames a second.
   */
  #dueAt(speaker: S): number {
    return speaker.flushedAtMs + Math.min(speaker.paceMs, this.#o.flushIntervalMs);
  }

  /** For a voice that has read: when growth is read once more at its next turn, the end of a burst needs no sample to be told. */
  setPace(speaker: S, grew: boolean): void {
    speaker.paceMs = grew ? Math.min(Math.max(speaker.paceMs * 2, FIRST_PACE_MS), this.#o.flushIntervalMs) : 0;
    speaker.dirty = grew;
  }

  #arm(): void {
    // Without capacity the next flush comes with it.
    if (this.#timer || this.#stopped || this.#waiting) return;
    let earliest = Number.POSITIVE_INFINITY;
    for (const speaker of this.#voice.all()) if (speaker.dirty) earliest = Math.min(earliest, this.#dueAt(speaker));
    if (earliest === Number.POSITIVE_INFINITY) return;
    // Whatever is due within a few milliseconds goes in the same frame; what is overdue has waited for others already.
    const left = earliest - this.#o.clock.nowMs();
    this.#timer = setTimeout(
      () => {
        this.#timer = null;
        this.#flushDue();
        this.#arm();
      },
      left < 0 ? 0 : Math.max(left, FIRST_PACE_MS),
    );
    this.#timer.unref();
  }

  /** Who has something to say and may, the longest due first: under overload everybody has its turn. */
  #due(): S[] {
    const now = this.#o.clock.nowMs();
    const due: S[] = [];
    for (const speaker of this.#voice.all()) if (this.#isDue(speaker, now)) due.push(speaker);
    return due.sort((a, b) => this.#dueAt(a) - this.#dueAt(b));
  }

  #isDue(speaker: S, now: number): boolean {
    return speaker.dirty && this.#dueAt(speaker) <= now;
  }

  /**
   * Who is due has its turn. One that the bus held up goes on where it stopped, without those who had their say in between: finding and
   * sorting all who are due for every acknowledgement is dear when there are many of both.
   */
  #flushDue(): void {
    this.#goOn();
    if (this.#waiting) return;
    this.#turn = this.#due();
    this.#next = 0;
    this.#goOn();
  }

  #goOn(): void {
    const now = this.#o.clock.nowMs();
    for (; this.#next < this.#turn.length; this.#next += 1) {
      const speaker = this.#turn[this.#next] as S;
      if (this.#isDue(speaker, now) && !this.#collect(speaker)) break;
    }
    // Nobody who went is kept for a turn that is over.
    if (this.#next >= this.#turn.length) {
      this.#turn = [];
      this.#next = 0;
    }
    this.#sendRest();
  }

  /** Builds and sends frames for what grew with these. Stops early, leaving them dirty, when the bus is not keeping up. */
  flush(speakers: Iterable<S>): void {
    for (const speaker of speakers) if (!this.#collect(speaker)) break;
    this.#sendRest();
  }

  /** False when the bus is not keeping up: the speaker is as it was. */
  #collect(speaker: S): boolean {
    if (!this.#o.sink.hasCapacity()) {
      this.#resumeWithCapacity();
      return false;
    }
    this.#voice.collect(speaker, this.#frame, this.#sendFrame);
    return true;
  }

  #sendRest(): void {
    if (!this.#frame.isEmpty) this.#send();
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

  /** Puts the frame on its way and begins the next. */
  #send(): void {
    const { violations, coverage } = this.#frame;
    this.framesPublished += 1;
    this.violationsPublished += violations.length;
    const published = this.#o.sink.publish({
      nodeName: this.#o.nodeName,
      bootId: this.#o.bootId,
      frameSequence: this.#o.nextSequence(),
      publishedAt: this.#o.clock.nowMicros(),
      collectorVersion: this.#o.version,
      violations,
      coverage,
    });
    const owed = this.#frame.clear();
    for (const { speaker } of owed) speaker.framesInFlight += 1;
    const sent: Promise<void> = published
      .then(() => this.#acked(owed))
      .catch((error: Error) => {
        // It was closed before the bus answered, or the bus will never take it: the kernel's counters still hold what it said.
        this.#refused(owed);
        if (!this.#stopped) this.#o.onError(error);
      })
      .finally(() => this.#inFlight.delete(sent));
    this.#inFlight.add(sent);
  }

  #acked(owed: readonly Owed<S>[]): void {
    for (const one of owed) {
      const { speaker, cells } = one;
      speaker.framesInFlight -= 1;
      for (let i = 0; i < cells.length; i += 2) speaker.book.ack(cells[i] as number, cells[i + 1] as number);
      this.#voice.onAcked(one);
      if (speaker.gone) this.touch(speaker);
    }
  }

  /** What the frame said is owed again. */
  #refused(owed: readonly Owed<S>[]): void {
    for (const one of owed) {
      const { speaker, cells, found } = one;
      speaker.framesInFlight -= 1;
      speaker.pending = [...found, ...speaker.pending].slice(-this.#o.maxPending);
      for (let i = 0; i < cells.length; i += 2) speaker.book.requeue(cells[i] as number);
      speaker.dirty = true;
      speaker.finalSaid = false;
      this.#voice.onRefused(one);
    }
  }

  /** Last flush and all answers, or what can be had in the time. */
  async stop(timeoutMs: number): Promise<{ unacked: number }> {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    for (const speaker of this.#voice.all()) speaker.dirty = true;
    this.flush(this.#voice.all());
    this.#stopped = true;
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
    });
    await Promise.race([Promise.all(this.#inFlight), timeout]);
    clearTimeout(timer);
    return { unacked: this.#inFlight.size };
  }
}
