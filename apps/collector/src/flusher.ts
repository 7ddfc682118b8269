/**
 * Kernel counters and samples -> frames on the bus. A pod's first breach leaves at once, later ones once an interval; a frame holds at
 * most 64 violations. Publishing is pipelined and bounded: when too many frames are unacknowledged nothing is built, and the growth
 * waits where it is exact and free, in the kernel's counters.
 */
import type { CounterTable, SpoofSample } from '@bailiff/bpf';
import type { GuardGap, Violation, ViolationFrame } from '@bailiff/schemas';
import { type Cell, toCell } from './epochs.ts';
import { cellName, type GuardedInterface, keyOf, originOf } from './guarded-interface.ts';
import type { Registry } from './registry.ts';
import { toPacketSample, toViolation } from './violations.ts';

export const MAX_FRAME_VIOLATIONS = 64;
/** Pace of an interface right after its first breach; doubled with each flush that finds growth. */
const FIRST_PACE_MS = 10;

/** Where frames go: acknowledged when the promise resolves, rejected only when the publisher was closed. */
export interface FrameSink {
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

/** One violation of a frame, and what its acknowledgement settles. */
interface Item {
  violation: Violation;
  iface: GuardedInterface;
  /** null: found by user space, no kernel counter behind it. */
  cell: Cell | null;
}

export class Flusher {
  readonly #o: FlusherOptions;
  #timer: NodeJS.Timeout | null = null;
  #waiting = false;
  #stopped = false;
  readonly #inFlight = new Set<Promise<void>>();
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
      const name = cellName(sample);
      const held = iface.samples.get(name);
      const packet = toPacketSample(sample, bootWall);
      if (held) {
        held.packets += sample.gsoSegments;
        held.last = packet;
      } else {
        iface.samples.set(name, { packets: sample.gsoSegments, first: packet, last: packet });
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
    if (this.#timer || this.#stopped) return;
    let earliest = Number.POSITIVE_INFINITY;
    for (const iface of this.#o.registry.all()) if (iface.dirty) earliest = Math.min(earliest, this.#dueAt(iface));
    if (earliest === Number.POSITIVE_INFINITY) return;
    // Whatever is due within a few milliseconds goes in the same frame.
    const waitMs = Math.max(earliest - this.#o.clock.nowMs(), FIRST_PACE_MS);
    this.#timer = setTimeout(() => {
      this.#timer = null;
      const now = this.#o.clock.nowMs();
      this.flush([...this.#o.registry.all()].filter((iface) => iface.dirty && this.#dueAt(iface) <= now));
      this.#arm();
    }, waitMs);
    this.#timer.unref();
  }

  /** Builds and sends frames for what grew on these interfaces. Stops early, leaving them dirty, when the bus is not keeping up. */
  flush(interfaces: Iterable<GuardedInterface>): void {
    let items: Item[] = [];
    let coverage: GuardGap[] = [];
    for (const iface of interfaces) {
      if (!this.#o.sink.hasCapacity()) {
        this.#resumeWithCapacity();
        break;
      }
      items.push(...this.#collect(iface, coverage));
      while (items.length >= MAX_FRAME_VIOLATIONS) {
        this.#send(items.slice(0, MAX_FRAME_VIOLATIONS), coverage);
        items = items.slice(MAX_FRAME_VIOLATIONS);
        coverage = [];
      }
    }
    if (items.length > 0 || coverage.length > 0) this.#send(items, coverage);
  }

  #resumeWithCapacity(): void {
    if (this.#waiting || this.#stopped) return;
    this.#waiting = true;
    this.#o.sink
      .whenCapacity()
      .then(() => {
        this.#waiting = false;
        this.flush([...this.#o.registry.all()].filter((iface) => iface.dirty));
      })
      .catch((error: Error) => {
        this.#waiting = false;
        if (!this.#stopped) this.#o.onError(error);
      });
  }

  /** Reads one interface and takes what grew into the book. */
  #collect(iface: GuardedInterface, coverage: GuardGap[]): Item[] {
    const now = this.#o.clock.nowMs();
    if (this.#isBeingBorn(iface, now)) {
      iface.dirty = true;
      iface.flushedAtMs = now;
      iface.paceMs = this.#o.flushIntervalMs;
      return [];
    }
    iface.flushedAtMs = now;
    const cells = (this.#o.counters.read(keyOf(iface)) ?? []).map(toCell);
    const grown = iface.book.grown(cells);
    // What grew is read once more at its next turn: the end of a burst needs no sample to be told.
    iface.paceMs = grown.length > 0 ? Math.min(Math.max(iface.paceMs * 2, FIRST_PACE_MS), this.#o.flushIntervalMs) : 0;
    iface.dirty = grown.length > 0;
    const nowMicros = this.#o.clock.nowMicros();
    const origin = originOf(iface, this.#o.bootId);
    const items: Item[] = grown.map((cell) => {
      const violation = toViolation(origin, cell, iface.samples.get(cellName(cell)), iface.gone, nowMicros);
      iface.samples.delete(cellName(cell));
      return { violation, iface, cell };
    });
    items.push(...iface.pending.map((violation) => ({ violation, iface, cell: null })));
    iface.pending = [];
    iface.book.enqueue(grown);
    if (!iface.gapReported && iface.packetsBeforeGuard >= 0 && iface.binding) {
      coverage.push({
        interfaceName: iface.link.name,
        ifindex: iface.ifindex,
        generation: iface.generation,
        packetsBeforeGuard: iface.packetsBeforeGuard,
        appearedToGuardedMicros: Math.round((iface.guardedAtMs - iface.appearedAtMs) * 1000),
      });
      iface.gapReported = true;
      this.#o.onGapReported(iface);
    }
    if (iface.gone && items.length === 0 && iface.book.settled(cells)) this.#o.onSettled(iface);
    return items;
  }

  #isBeingBorn(iface: GuardedInterface, now: number): boolean {
    return !iface.gone && iface.binding === null && now - iface.appearedAtMs < this.#o.unknownGraceMs;
  }

  #send(items: readonly Item[], coverage: GuardGap[]): void {
    const frame: ViolationFrame = {
      nodeName: this.#o.nodeName,
      bootId: this.#o.bootId,
      frameSequence: this.#o.nextSequence(),
      publishedAt: this.#o.clock.nowMicros(),
      collectorVersion: this.#o.version,
      violations: items.map((item) => item.violation),
      coverage,
    };
    this.framesPublished += 1;
    this.violationsPublished += items.length;
    const sent: Promise<void> = this.#o.sink
      .publish(frame)
      .then(() => this.#acked(items))
      .catch((error: Error) => {
        // The publisher was closed before the bus answered: the kernel's counters still hold what this frame said.
        if (!this.#stopped) this.#o.onError(error);
      })
      .finally(() => this.#inFlight.delete(sent));
    this.#inFlight.add(sent);
  }

  #acked(items: readonly Item[]): void {
    const interfaces = new Set<GuardedInterface>();
    for (const { iface, cell } of items) {
      if (cell) iface.book.ack([cell]);
      interfaces.add(iface);
    }
    for (const iface of interfaces) {
      this.#o.onAcked(iface);
      if (iface.gone) this.touch(iface);
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
