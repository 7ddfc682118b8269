/**
 * Builds violations from increments of kernel counters, with the newest sample of the same cell.
 * Pure.
 *
 * The cumulative value is exact. `count` is the sampled part of the increment and `suppressed` the
 * rest. A reader without history gets the base: cumulative - (count + suppressed).
 */
import type { SpoofSample } from '@bailiff/bpf';
import {
  cutEnd,
  MAX_TEXT,
  type PacketSample,
  type PreEncodedViolation,
  type SocketProcess,
  type Violation,
} from '@bailiff/schemas';
import { NO_POLICY } from '../../publishing/frame.ts';
import { bytesOf, CELL_NAMES, type CellName, packetsOf, skbsOf } from '../counting/cells.ts';
import type { CellSamples, Origin } from '../subjects/guarded-interface.ts';

export function counterEpoch(
  origin: Omit<Origin, 'pod' | 'interfaceName'>,
  { vector, action, state }: { vector: string; action: string; state: string },
): string {
  return `${origin.bootId}/${origin.ifindex}/${origin.generation}/${vector}/${action}/${state}`;
}

/** Increment of one cell, and everything that its violation contains. */
export interface Increment {
  origin: Origin;
  cell: number;
  /** counterEpoch() of the cell. */
  epoch: string;
  /**
   * Encoded parts for the cell and for the origin, which every violation repeats; null: not encoded
   * yet.
   */
  encodedCounter: Buffer | null;
  encodedOwner: Buffer | null;
  /** The reading in which the cell grew. */
  counters: Float64Array;
  /** Packets of the cell in earlier frames. */
  enqueued: number;
  samples: CellSamples | undefined;
  final: boolean;
  detail: string;
  /** Time of the violation if no sample has one. */
  nowMicros: number;
}

export function fillViolation(into: PreEncodedViolation, increment: Increment): void {
  const { origin, cell, counters, enqueued, samples, nowMicros } = increment;
  const name = CELL_NAMES[cell] as CellName;
  const packets = packetsOf(counters, cell);
  const grown = packets - enqueued;
  // Samples may belong to a part of the counter that was not read yet, so the increment limits
  // them.
  const count = Math.min(samples?.packets ?? 0, grown);
  into.vector = name.vector;
  into.action = name.action;
  into.state = name.state;
  into.counterEpoch = increment.epoch;
  into.cumulativePackets = packets;
  into.cumulativeSkbs = skbsOf(counters, cell);
  into.cumulativeBytes = bytesOf(counters, cell);
  into.count = count;
  into.suppressed = grown - count;
  into.firstSeenAt = samples?.first.observedAt ?? nowMicros;
  into.lastSeenAt = grown > count ? nowMicros : (samples?.last.observedAt ?? nowMicros);
  into.final = increment.final;
  into.interfaceName = origin.interfaceName;
  into.ifindex = origin.ifindex;
  into.generation = origin.generation;
  into.pod = origin.pod;
  into.sample = samples?.last ?? null;
  into.detail = increment.detail;
  into.encodedCounter = increment.encodedCounter;
  into.encodedOwner = increment.encodedOwner;
}

/**
 * A violation that user space found. Its epoch counts occurrences, of `unjudged` frames; it is never
 * a dropped packet.
 * @param count occurrences since the last violation
 */
export function userspaceViolation(
  origin: Origin,
  vector: 'identity-mismatch' | 'interface-moved' | 'unjudged',
  state: 'unknown' | 'provisional' | 'programmed',
  occurrences: number,
  detail: string,
  nowMicros: number,
  count = 1,
): Violation {
  return {
    kind: 'spoof',
    vector,
    action: 'audit',
    state,
    counterEpoch: counterEpoch(origin, { vector, action: 'audit', state }),
    cumulativePackets: occurrences,
    cumulativeSkbs: occurrences,
    cumulativeBytes: 0,
    count,
    suppressed: 0,
    firstSeenAt: nowMicros,
    lastSeenAt: nowMicros,
    final: false,
    interfaceName: origin.interfaceName,
    ifindex: origin.ifindex,
    generation: origin.generation,
    pod: origin.pod,
    sample: null,
    detail: cutEnd(detail, MAX_TEXT.Violation.detail.bytes),
    ...NO_POLICY,
  };
}

/**
 * Converts a kernel sample to its form on the bus.
 * @param bootWallMicros wall-clock microseconds at CLOCK_BOOTTIME 0
 * @param process creator of the packet's socket; null: unknown
 */
export function toPacketSample(
  sample: SpoofSample,
  bootWallMicros: number,
  process: SocketProcess | null,
): PacketSample {
  return {
    observedAt: bootWallMicros + Math.round(Number(sample.boottimeNs) / 1000),
    direction: sample.egress ? 'receive' : 'transmit',
    etherType: sample.etherType,
    l4Protocol: sample.l4Protocol,
    claimedMac: sample.claimedMac,
    expectedMac: sample.expectedMac,
    claimedAddress: sample.claimedAddress,
    expectedAddress: sample.expectedAddress,
    destinationAddress: sample.destinationAddress,
    sourcePort: sample.sourcePort,
    destinationPort: sample.destinationPort,
    length: sample.lengthBytes,
    gsoSegments: sample.gsoSegments,
    cgroupId: sample.cgroupId === 0n ? '' : sample.cgroupId.toString(),
    socketCookie: sample.socketCookie === 0n ? '' : sample.socketCookie.toString(),
    head: sample.head,
    process,
  };
}
