/**
 * Reads the counters and samples of one interface and writes its growth into frames. flusher.ts
 * decides when.
 *
 * Data path: ring buffer → here → violations.ts → frame.ts → bus-link.ts.
 */
import { COUNTER_NUMBERS, type CounterTable, type SpoofSample } from '@bailiff/bpf';
import { cutEnd, encodeCounterPart, encodeOwnerPart, MAX_TEXT, type SocketProcess } from '@bailiff/schemas';
import type { CollectResult, SourceAdapter } from '../../publishing/flusher.ts';
import type { FrameWriter, Unacked } from '../../publishing/frame.ts';
import { CELL_NAMES, type CellName, cellOf, packetsOf } from '../counting/cells.ts';
import {
  type EncodedEpoch,
  type GuardedInterface,
  keyOf,
  MAX_FOUND,
  type Origin,
  originOf,
  outlivedBy,
} from '../subjects/guarded-interface.ts';
import type { Registry } from '../subjects/registry.ts';
import { counterEpoch, fillViolation, toPacketSample } from './violations.ts';

/** `appearedToGuardedMicros` of an interface that existed before the collector. */
const NOT_KNOWN = -1;

export interface InterfaceAdapterOptions {
  bootId: string;
  registry: Registry;
  counters: Pick<CounterTable, 'readInto'>;
  /** Wall-clock microseconds now and at CLOCK_BOOTTIME 0, and monotonic milliseconds. */
  clock: { nowMicros(): number; nowMs(): number; bootWallMicros(): number };
  /** An unbound interface publishes nothing for this long: its pod is probably being created. */
  unknownGraceMs: number;
  /** The process that created the socket of a sample; null: unknown. */
  processOf(sample: SpoofSample): SocketProcess | null;
  /** Every count of a generation that is gone is acknowledged. */
  onSettled(iface: GuardedInterface): void;
  /** Acknowledged counts of an interface changed and must be made durable. */
  onAcked(iface: GuardedInterface): void;
  onUnguardedReported(iface: GuardedInterface): void;
}

export class InterfaceAdapter implements SourceAdapter<GuardedInterface> {
  readonly #o: InterfaceAdapterOptions;
  /** Reused by every read. */
  readonly #reading = new Float64Array(COUNTER_NUMBERS);

  constructor(options: InterfaceAdapterOptions) {
    this.#o = options;
  }

  all(): Iterable<GuardedInterface> {
    return this.#o.registry.all();
  }

  /** Stores samples with their cells. @returns the interfaces of these samples */
  takeSamples(samples: readonly SpoofSample[]): ReadonlySet<GuardedInterface> {
    const bootWall = this.#o.clock.bootWallMicros();
    const received = new Set<GuardedInterface>();
    for (const sample of samples) {
      const iface = this.#o.registry.byGeneration(sample.generation);
      if (!iface) continue; // forgotten after its last count, which included the packet
      const cell = cellOf(sample);
      const samplesOfCell = iface.samples.get(cell);
      const packet = toPacketSample(sample, bootWall, this.#o.processOf(sample));
      if (samplesOfCell) {
        samplesOfCell.packets += sample.gsoSegments;
        samplesOfCell.last = packet;
      } else {
        iface.samples.set(cell, { packets: sample.gsoSegments, first: packet, last: packet });
      }
      received.add(iface);
    }
    return received;
  }

  collect(iface: GuardedInterface, frames: FrameWriter<GuardedInterface>): CollectResult {
    if (this.#isInGrace(iface)) return 'postponed';
    const exists = this.#o.counters.readInto(keyOf(iface), this.#reading);
    const isFinal = iface.gone && !iface.finalPublished;
    const grown = exists ? (isFinal ? iface.ledger.counted(this.#reading) : iface.ledger.grown(this.#reading)) : [];
    if (isFinal) iface.finalPublished = true;
    const hasNews = grown.length > 0 || iface.found.length > 0;
    if (grown.length > 0) this.#addGrown(iface, grown, frames);
    if (iface.found.length > 0) this.#addFound(iface, frames);
    this.#addUnguarded(iface, frames);
    const isSettled = !hasNews && iface.framesInFlight === 0 && (!exists || iface.ledger.settled(this.#reading));
    if (iface.gone && isSettled) this.#o.onSettled(iface);
    return grown.length > 0 ? 'grew' : 'unchanged';
  }

  #isInGrace(iface: GuardedInterface): boolean {
    const ageMs = this.#o.clock.nowMs() - iface.appearedAtMs;
    return !iface.gone && iface.binding === null && ageMs < this.#o.unknownGraceMs;
  }

  #addGrown(iface: GuardedInterface, grown: readonly number[], frames: FrameWriter<GuardedInterface>): void {
    const counters = this.#reading;
    const { ledger, samples, gone: final } = iface;
    const origin = originOf(iface, this.#o.bootId);
    const encodedOwner = ownerOf(iface, origin);
    const nowMicros = this.#o.clock.nowMicros();
    const detail = detailOf(iface);
    // Most increments have no sample.
    const sampled = samples.size > 0 ? samples : null;
    for (const cell of grown) {
      const packets = packetsOf(counters, cell);
      const { epoch, bytes: encodedCounter } = this.#epochOf(iface, origin, cell);
      const enqueued = ledger.enqueued(cell);
      const violation = frames.add(iface, cell, packets);
      fillViolation(violation, {
        origin,
        cell,
        epoch,
        encodedCounter,
        encodedOwner,
        counters,
        enqueued,
        samples: sampled?.get(cell),
        final,
        detail,
        nowMicros,
      });
      sampled?.delete(cell);
      ledger.enqueue(cell, packets);
      frames.sendIfFull();
    }
  }

  #epochOf(iface: GuardedInterface, origin: Origin, cell: number): EncodedEpoch {
    let encoded = iface.counterEpochs[cell];
    if (encoded === undefined) {
      const name = CELL_NAMES[cell] as CellName;
      const epoch = counterEpoch(origin, name);
      encoded = { epoch, bytes: encodeCounterPart({ kind: 'spoof', ...name, counterEpoch: epoch }) };
      iface.counterEpochs[cell] = encoded;
    }
    return encoded;
  }

  #addFound(iface: GuardedInterface, frames: FrameWriter<GuardedInterface>): void {
    for (const violation of iface.found) frames.addFound(iface, violation);
    iface.found = [];
  }

  /** Adds the unguarded packets once, when they are counted and the pod is known. */
  #addUnguarded(iface: GuardedInterface, frames: FrameWriter<GuardedInterface>): void {
    if (iface.unguardedReported || iface.unguardedInFlight || iface.packetsBeforeGuard < 0 || !iface.binding) return;
    iface.unguardedInFlight = true;
    frames.addUnguarded(iface, {
      interfaceName: iface.link.name,
      ifindex: iface.ifindex,
      generation: iface.generation,
      packetsBeforeGuard: iface.packetsBeforeGuard,
      appearedToGuardedMicros: iface.guardedAfterMs === null ? NOT_KNOWN : Math.round(iface.guardedAfterMs * 1000),
    });
  }

  onAcked({ source: iface, hasUnguarded }: Unacked<GuardedInterface>): void {
    this.#o.onAcked(iface);
    if (!hasUnguarded) return;
    iface.unguardedReported = true;
    this.#o.onUnguardedReported(iface);
  }

  onRejected({ source: iface, found, hasUnguarded }: Unacked<GuardedInterface>): void {
    iface.found = [...found, ...iface.found].slice(-MAX_FOUND);
    if (hasUnguarded) iface.unguardedInFlight = false;
  }
}

/** Encoded owner of the violations of an interface; encoded again if its name or pod changed. */
function ownerOf(iface: GuardedInterface, { interfaceName: name, ifindex, generation, pod }: Origin): Buffer {
  const encoded = iface.encodedOwner;
  if (encoded !== null && encoded.name === name && encoded.pod === pod) return encoded.bytes;
  const bytes = encodeOwnerPart({ interfaceName: name, ifindex, generation, pod });
  iface.encodedOwner = { bytes, name, pod };
  return bytes;
}

const detailOf = (iface: GuardedInterface): string =>
  iface.orphaned ? cutEnd(`the interface outlives ${outlivedBy(iface)}`, MAX_TEXT.Violation.detail.bytes) : '';
