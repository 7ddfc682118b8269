/**
 * Kernel counters and samples -> frames on the bus. A pod's first breach leaves at once, later ones once an interval; a frame holds at
 * most 64 violations. Publishing is pipelined and bounded: when too many frames are unacknowledged nothing is built, and the growth
 * waits where it is exact and free, in the kernel's counters.
 */
import { COUNTER_NUMBERS, type CounterTable, type SpoofSample } from '@bailiff/bpf';
import type { ViolationFrame } from '@bailiff/schemas';
import { CELL_NAMES, type CellName, cellOf, packetsOf } from './epochs.ts';
import { FrameBuilder, type Owed } from './frame-builder.ts';
import { type GuardedInterface, keyOf, MAX_PENDING, originOf } from './guarded-interface.ts';
import type { Registry } from './registry.ts';
import { counterEpoch, fillViolation, type Origin, toPacketSample } from './violations.ts';

/** Pace of an interface right after its first breach; doubled with each flush that finds growth. */
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

export interface FlusherOptions {
  nodeName: string;
  bootId: string;
  version: string;
  registry: Registry;
  counters: CounterTable;
  sink: FrameSink;
  /** Gives out a frame sequence; durable before it returns. */
  nextSequence(): number;
  /** Wall-clock microseconds now, and at CLOCK_BOOTTIME 0. */
  clock: { nowMicros(): number; nowMs(): number; bootWallMicros(): number };
  flushIntervalMs: number;
  /** An interface nobody is known for speaks on the bus only after this long: before it, it is a pod being born. */
  unknownGraceMs: number;
  /** All growth of a generation that went has been acknowledged. */
  onSettled(iface: GuardedInterface): void;
  /** Acknowledged cells of an interface changed: to be made durable. */
  onAcked(iface: GuardedInterface): void;
  onGapReported(iface: GuardedInterface): void;
  onError(error: Error): void;
}

export class Flusher {
  readonly #o: FlusherOptions;
  #timer: NodeJS.Timeout | null = null;
  #waiting = false;
  #stopped = false;
  readonly #inFlight = new Set<Promise<void>>();
  readonly #reading = new Float64Array(COUNTER_NUMBERS);
  readonly #frame = new FrameBuilder();
  framesPublished = 0;
  violationsPublished = 0;

  constructor(options: FlusherOptions) {
    this.#o = options;
  }

  /** Takes samples in; flushes at once what is due, the rest when its pace allows. */
  takeSamples(samples: readonly SpoofSample[]): void {
    const now = this.#o.clock.nowMs();
    const bootWall = this.#o.clock.bootWallMicros();
    const due = new Set<GuardedInterface>();
    for (const sample of samples) {
      const iface = this.#o.registry.byGeneration(sample.generation);
      if (!iface) continue; // its generation was settled and forgotten: the counters had the packet
      const cell = cellOf(sample);
      const held = iface.samples.get(cell);
      const packet = toPacketSample(sample, bootWall);
      if (held) {
        held.packets += sample.gsoSegments;
        held.last = packet;
      } else {
        iface.samples.set(cell, { packets: sample.gsoSegments, first: packet, last: packet });
      }
      iface.dirty = true;
      if (this.#dueAt(iface) <= now) due.add(iface);
    }
    if (due.size > 0) this.flush(due);
    this.#arm();
  }

  /** An interface has something to say that no sample announces (a gap, a violation of user space, its end). */
  touch(iface: GuardedInterface): void {
    iface.dirty = true;
    this.#arm();
  }

  /** Reads every live counter: growth whose samples were lost shows here. */
  sweep(): void {
    for (const iface of this.#o.registry.all()) iface.dirty = true;
    this.flush(this.#o.registry.all());
    this.#arm();
  }

  /**
   * When an interface may speak again. Quiet ones at once; one that keeps breaching after 10 ms, 20 ms and so on up to the interval, so
   * that a threshold of a few packets is on the bus in milliseconds and a flood still costs four frames a second.
   */
  #dueAt(iface: GuardedInterface): number {
    return iface.flushedAtMs + Math.min(iface.paceMs, this.#o.flushIntervalMs);
  }

  #arm(): void {
    // Without capacity the next flush comes with it.
    if (this.#timer || this.#stopped || this.#waiting) return;
    let earliest = Number.POSITIVE_INFINITY;
    for (const iface of this.#o.registry.all()) if (iface.dirty) earliest = Math.min(earliest, this.#dueAt(iface));
    if (earliest === Number.POSITIVE_INFINITY) return;
    // Whatever is due within a few milliseconds goes in the same frame; what is overdue has waited for others already.
    const left = earliest - this.#o.clock.nowMs();
    this.#timer = setTimeout(
      () => {
        this.#timer = null;
        this.flush(this.#due());
        this.#arm();
      },
      left < 0 ? 0 : Math.max(left, FIRST_PACE_MS),
    );
    this.#timer.unref();
  }

  /** What has something to say and may, the longest due first: under overload every interface has its turn. */
  #due(): GuardedInterface[] {
    const now = this.#o.clock.nowMs();
    return [...this.#o.registry.all()]
      .filter((iface) => iface.dirty && this.#dueAt(iface) <= now)
      .sort((a, b) => this.#dueAt(a) - this.#dueAt(b));
  }

  /** Builds and sends frames for what grew on these interfaces. Stops early, leaving them dirty, when the bus is not keeping up. */
  flush(interfaces: Iterable<GuardedInterface>): void {
    for (const iface of interfaces) {
      if (!this.#o.sink.hasCapacity()) {
        this.#resumeWithCapacity();
        break;
      }
      this.#collect(iface);
    }
    if (!this.#frame.isEmpty) this.#send();
  }

  #resumeWithCapacity(): void {
    if (this.#waiting || this.#stopped) return;
    this.#waiting = true;
    this.#o.sink
      .whenCapacity()
      .then(() => {
        this.#waiting = false;
        this.flush(this.#due());
        this.#arm();
      })
      .catch((error: Error) => {
        this.#waiting = false;
        if (!this.#stopped) this.#o.onError(error);
      });
  }

  /** Reads one interface and takes what grew into the book and the frame. */
  #collect(iface: GuardedInterface): void {
    const now = this.#o.clock.nowMs();
    iface.flushedAtMs = now;
    if (this.#isBeingBorn(iface, now)) {
      iface.dirty = true;
      iface.paceMs = this.#o.flushIntervalMs;
      return;
    }
    const there = this.#o.counters.readInto(keyOf(iface), this.#reading);
    const sayFinal = iface.gone && !iface.finalSaid;
    const grown = there ? (sayFinal ? iface.book.counted(this.#reading) : iface.book.grown(this.#reading)) : [];
    if (sayFinal) iface.finalSaid = true;
    // What grew is read once more at its next turn: the end of a burst needs no sample to be told.
    iface.paceMs = grown.length > 0 ? Math.min(Math.max(iface.paceMs * 2, FIRST_PACE_MS), this.#o.flushIntervalMs) : 0;
    iface.dirty = grown.length > 0;
    const nothingNew = grown.length === 0 && iface.pending.length === 0;
    if (grown.length > 0) this.#takeGrown(iface, grown);
    if (iface.pending.length > 0) {
      for (const violation of iface.pending) {
        this.#frame.addFound(iface, violation);
        if (this.#frame.isFull) this.#send();
      }
      iface.pending = [];
    }
    this.#reportGap(iface);
    const owesNothing = nothingNew && iface.framesInFlight === 0 && (!there || iface.book.settled(this.#reading));
    if (iface.gone && owesNothing) this.#o.onSettled(iface);
  }

  #takeGrown(iface: GuardedInterface, grown: readonly number[]): void {
    const counters = this.#reading;
    const { book, samples, gone: final } = iface;
    const origin = originOf(iface, this.#o.bootId);
    const nowMicros = this.#o.clock.nowMicros();
    for (const cell of grown) {
      const packets = packetsOf(counters, cell);
      const epoch = this.#epochOf(iface, origin, cell);
      const enqueued = book.enqueued(cell);
      const violation = this.#frame.add(iface, cell, packets);
      fillViolation(violation, {
        origin,
        cell,
        epoch,
        counters,
        enqueued,
        samples: samples.get(cell),
        final,
        nowMicros,
      });
      samples.delete(cell);
      book.enqueue(cell, packets);
      if (this.#frame.isFull) this.#send();
    }
  }

  #epochOf(iface: GuardedInterface, origin: Origin, cell: number): string {
    let epoch = iface.counterEpochs.get(cell);
    if (epoch === undefined) {
      epoch = counterEpoch(origin, CELL_NAMES[cell] as CellName);
      iface.counterEpochs.set(cell, epoch);
    }
    return epoch;
  }

  /** What passed before the guard: once, when it is known and whose it was. */
  #reportGap(iface: GuardedInterface): void {
    if (iface.gapReported || iface.gapInFlight || iface.packetsBeforeGuard < 0 || !iface.binding) return;
    this.#frame.addGap(iface, {
      interfaceName: iface.link.name,
      ifindex: iface.ifindex,
      generation: iface.generation,
      packetsBeforeGuard: iface.packetsBeforeGuard,
      appearedToGuardedMicros: Math.round((iface.guardedAtMs - iface.appearedAtMs) * 1000),
    });
    iface.gapInFlight = true;
  }

  #isBeingBorn(iface: GuardedInterface, now: number): boolean {
    return !iface.gone && iface.binding === null && now - iface.appearedAtMs < this.#o.unknownGraceMs;
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
    for (const { iface } of owed) iface.framesInFlight += 1;
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

  #acked(owed: readonly Owed[]): void {
    for (const { iface, cells, gap } of owed) {
      iface.framesInFlight -= 1;
      for (let i = 0; i < cells.length; i += 2) iface.book.ack(cells[i] as number, cells[i + 1] as number);
      this.#o.onAcked(iface);
      if (gap) {
        iface.gapReported = true;
        this.#o.onGapReported(iface);
      }
      if (iface.gone) this.touch(iface);
    }
  }

  /** What the frame said is owed again. */
  #refused(owed: readonly Owed[]): void {
    for (const { iface, cells, found, gap } of owed) {
      iface.framesInFlight -= 1;
      iface.pending = [...found, ...iface.pending].slice(-MAX_PENDING);
      for (let i = 0; i < cells.length; i += 2) iface.book.owe(cells[i] as number);
      if (gap) iface.gapInFlight = false;
      iface.dirty = true;
      iface.finalSaid = false;
    }
  }

  /** Last flush and all answers, or what can be had in the time. */
  async stop(timeoutMs: number): Promise<{ unacked: number }> {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    for (const iface of this.#o.registry.all()) iface.dirty = true;
    this.flush(this.#o.registry.all());
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
