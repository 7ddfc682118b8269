/**
 * Kernel counters and samples of interfaces -> frames on the bus; when, is flush-loop.ts. A frame holds at most 64 violations.
 */
import { COUNTER_NUMBERS, type CounterTable, type SpoofSample } from '@bailiff/bpf';
import { type SocketProcess, tellCounter, tellOwner } from '@bailiff/schemas';
import { CELL_NAMES, type CellName, cellOf, packetsOf } from '../counting/epochs.ts';
import {
  type GuardedInterface,
  keyOf,
  MAX_PENDING,
  type Origin,
  originOf,
  type ToldEpoch,
} from '../interfaces/guarded-interface.ts';
import type { Registry } from '../interfaces/registry.ts';
import { FlushLoop, type FrameSink } from './flusher.ts';
import type { FrameBuilder, Owed } from './frame-builder.ts';
import { counterEpoch, fillViolation, toPacketSample } from './violations.ts';

export type { FrameSink } from './flusher.ts';

/** `appearedToGuardedMicros` of an interface that was there before the collector. */
const NOT_KNOWN = -1;

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
  /** Which process made the socket of a sample; null: nobody saw it. */
  processOf?(sample: SpoofSample): SocketProcess | null;
  /** All growth of a generation that went has been acknowledged. */
  onSettled(iface: GuardedInterface): void;
  /** Acknowledged cells of an interface changed: to be made durable. */
  onAcked(iface: GuardedInterface): void;
  onGapReported(iface: GuardedInterface): void;
  onError(error: Error): void;
}

export class Flusher {
  readonly #o: FlusherOptions;
  readonly #loop: FlushLoop<GuardedInterface>;
  readonly #reading = new Float64Array(COUNTER_NUMBERS);

  constructor(options: FlusherOptions) {
    this.#o = options;
    this.#loop = new FlushLoop(
      { ...options, maxPending: MAX_PENDING },
      {
        all: () => options.registry.all(),
        collect: (iface, frame, send) => this.#collect(iface, frame, send),
        onAcked: (owed) => this.#acked(owed),
        onRefused: ({ speaker, gap }) => {
          if (gap) speaker.gapInFlight = false;
        },
      },
    );
  }

  get framesPublished(): number {
    return this.#loop.framesPublished;
  }

  get violationsPublished(): number {
    return this.#loop.violationsPublished;
  }

  /** Takes samples in; flushes at once what is due, the rest when its pace allows. */
  takeSamples(samples: readonly SpoofSample[]): void {
    const bootWall = this.#o.clock.bootWallMicros();
    const heard = new Set<GuardedInterface>();
    for (const sample of samples) {
      const iface = this.#o.registry.byGeneration(sample.generation);
      if (!iface) continue; // its generation was settled and forgotten: the counters had the packet
      const cell = cellOf(sample);
      const held = iface.samples.get(cell);
      const packet = toPacketSample(sample, bootWall, this.#o.processOf?.(sample) ?? null);
      if (held) {
        held.packets += sample.gsoSegments;
        held.last = packet;
      } else {
        iface.samples.set(cell, { packets: sample.gsoSegments, first: packet, last: packet });
      }
      heard.add(iface);
    }
    this.#loop.heard(heard);
  }

  /** An interface has something to say that no sample announces (a gap, a violation of user space, its end). */
  touch(iface: GuardedInterface): void {
    this.#loop.touch(iface);
  }

  /** Reads every live counter: growth whose samples were lost shows here. */
  sweep(): void {
    this.#loop.sweep();
  }

  /** Builds and sends frames for what grew on these interfaces. */
  flush(interfaces: Iterable<GuardedInterface>): void {
    this.#loop.flush(interfaces);
  }

  /** Reads one interface and takes what grew into the book and the frame. */
  #collect(iface: GuardedInterface, frame: FrameBuilder<GuardedInterface>, send: () => void): void {
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
    this.#loop.setPace(iface, grown.length > 0);
    const nothingNew = grown.length === 0 && iface.pending.length === 0;
    if (grown.length > 0) this.#takeGrown(iface, grown, frame, send);
    if (iface.pending.length > 0) {
      for (const violation of iface.pending) {
        frame.addFound(iface, violation);
        if (frame.isFull) send();
      }
      iface.pending = [];
    }
    this.#reportGap(iface, frame);
    if (frame.isFull) send();
    const owesNothing = nothingNew && iface.framesInFlight === 0 && (!there || iface.book.settled(this.#reading));
    if (iface.gone && owesNothing) this.#o.onSettled(iface);
  }

  #takeGrown(
    iface: GuardedInterface,
    grown: readonly number[],
    frame: FrameBuilder<GuardedInterface>,
    send: () => void,
  ): void {
    const counters = this.#reading;
    const { book, samples, gone: final } = iface;
    const origin = originOf(iface, this.#o.bootId);
    const toldOwner = ownerOf(iface, origin);
    const nowMicros = this.#o.clock.nowMicros();
    // Of most growth there is none: many cells grow, and samples are bounded.
    const sampled = samples.size > 0 ? samples : null;
    for (const cell of grown) {
      const packets = packetsOf(counters, cell);
      const { epoch, bytes: toldCounter } = this.#epochOf(iface, origin, cell);
      const enqueued = book.enqueued(cell);
      const violation = frame.add(iface, cell, packets);
      fillViolation(violation, {
        origin,
        cell,
        epoch,
        toldCounter,
        toldOwner,
        counters,
        enqueued,
        samples: sampled?.get(cell),
        final,
        nowMicros,
      });
      sampled?.delete(cell);
      book.enqueue(cell, packets);
      if (frame.isFull) send();
    }
  }

  #epochOf(iface: GuardedInterface, origin: Origin, cell: number): ToldEpoch {
    let told = iface.counterEpochs[cell];
    if (told === undefined) {
      const name = CELL_NAMES[cell] as CellName;
      const epoch = counterEpoch(origin, name);
      told = { epoch, bytes: tellCounter({ kind: 'spoof', ...name, counterEpoch: epoch }) };
      iface.counterEpochs[cell] = told;
    }
    return told;
  }

  /** What passed before the guard: once, when it is known and whose it was. */
  #reportGap(iface: GuardedInterface, frame: FrameBuilder<GuardedInterface>): void {
    if (iface.gapReported || iface.gapInFlight || iface.packetsBeforeGuard < 0 || !iface.binding) return;
    frame.addGap(iface, {
      interfaceName: iface.link.name,
      ifindex: iface.ifindex,
      generation: iface.generation,
      packetsBeforeGuard: iface.packetsBeforeGuard,
      appearedToGuardedMicros: iface.guardedAfterMs === null ? NOT_KNOWN : Math.round(iface.guardedAfterMs * 1000),
    });
    iface.gapInFlight = true;
  }

  #isBeingBorn(iface: GuardedInterface, now: number): boolean {
    return !iface.gone && iface.binding === null && now - iface.appearedAtMs < this.#o.unknownGraceMs;
  }

  #acked({ speaker: iface, gap }: Owed<GuardedInterface>): void {
    this.#o.onAcked(iface);
    if (!gap) return;
    iface.gapReported = true;
    this.#o.onGapReported(iface);
  }

  /** Last flush and all answers, or what can be had in the time. */
  stop(timeoutMs: number): Promise<{ unacked: number }> {
    return this.#loop.stop(timeoutMs);
  }
}

/** What violations say of whose an interface is: encoded anew when it has another name or pod. */
function ownerOf(iface: GuardedInterface, { interfaceName: name, ifindex, generation, pod }: Origin): Buffer {
  const told = iface.toldOwner;
  if (told !== null && told.name === name && told.pod === pod) return told.bytes;
  const bytes = tellOwner({ interfaceName: name, ifindex, generation, pod });
  iface.toldOwner = { bytes, name, pod };
  return bytes;
}
