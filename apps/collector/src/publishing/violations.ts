/**
 * Makes Violations: what grew in the kernel's counters, with the newest sample of the same cell beside it. Pure.
 *
 * A violation's cumulative value is exact. `count` is what was sampled since the cell's last violation, `suppressed` the rest of
 * what it grew by; the two add up to the growth, so that a reader without history has the base: cumulative - (count + suppressed).
 */
import type { SpoofSample } from '@bailiff/bpf';
import {
  cutEnd,
  MAX_TEXT,
  type PacketSample,
  type SocketProcess,
  type ToldViolation,
  type Violation,
} from '@bailiff/schemas';
import { bytesOf, CELL_NAMES, type CellName, packetsOf, skbsOf } from '../counting/epochs.ts';
import type { CellSamples, Origin } from '../interfaces/guarded-interface.ts';

export function counterEpoch(
  origin: Omit<Origin, 'pod' | 'interfaceName'>,
  { vector, action, state }: { vector: string; action: string; state: string },
): string {
  return `${origin.bootId}/${origin.ifindex}/${origin.generation}/${vector}/${action}/${state}`;
}

/** What is said of one cell. */
export interface Growth {
  origin: Origin;
  cell: number;
  /** counterEpoch() of the cell. */
  epoch: string;
  /** What is said of the cell and of the origin each time, as it goes over the bus; null: to be encoded. */
  toldCounter: Buffer | null;
  toldOwner: Buffer | null;
  /** The reading that the cell grew in. */
  counters: Float64Array;
  /** Packets of the cell that were in frames before. */
  enqueued: number;
  samples: CellSamples | undefined;
  final: boolean;
  /** Used when no sample says when the growth happened. */
  nowMicros: number;
}

/** What only violations of runtime policies have. */
const NO_POLICY = { operation: null, policy: '', policyRevision: 0, severity: '', tags: [], message: '' };

/** A violation to be filled again and again: frames are encoded at once, and objects that live so shortly would be most of the garbage. */
export function blankViolation(): ToldViolation {
  return {
    kind: 'spoof',
    vector: 'ipv4-source',
    action: 'drop',
    state: 'unknown',
    counterEpoch: '',
    cumulativePackets: 0,
    cumulativeSkbs: 0,
    cumulativeBytes: 0,
    count: 0,
    suppressed: 0,
    firstSeenAt: 0,
    lastSeenAt: 0,
    final: false,
    interfaceName: '',
    ifindex: 0,
    generation: 0,
    pod: null,
    sample: null,
    detail: '',
    ...NO_POLICY,
    toldCounter: null,
    toldOwner: null,
  };
}

/** Fills a violation with what one cell's growth says. */
export function fillViolation(into: ToldViolation, growth: Growth): void {
  const { origin, cell, counters, enqueued, samples, nowMicros } = growth;
  const name = CELL_NAMES[cell] as CellName;
  const packets = packetsOf(counters, cell);
  const grown = packets - enqueued;
  // A sample can arrive before the counter that includes it was read, never after: but a reading may also precede it by a whole
  // flush, so what was sampled is bounded by what grew.
  const count = Math.min(samples?.packets ?? 0, grown);
  into.vector = name.vector;
  into.action = name.action;
  into.state = name.state;
  into.counterEpoch = growth.epoch;
  into.cumulativePackets = packets;
  into.cumulativeSkbs = skbsOf(counters, cell);
  into.cumulativeBytes = bytesOf(counters, cell);
  into.count = count;
  into.suppressed = grown - count;
  into.firstSeenAt = samples?.first.observedAt ?? nowMicros;
  into.lastSeenAt = grown > count ? nowMicros : (samples?.last.observedAt ?? nowMicros);
  into.final = growth.final;
  into.interfaceName = origin.interfaceName;
  into.ifindex = origin.ifindex;
  into.generation = origin.generation;
  into.pod = origin.pod;
  into.sample = samples?.last ?? null;
  into.toldCounter = growth.toldCounter;
  into.toldOwner = growth.toldOwner;
}

/** A violation that user space found by itself. Its epoch counts occurrences, and it is never a packet that was dropped. */
export function userspaceViolation(
  origin: Origin,
  vector: 'identity-mismatch' | 'interface-moved',
  state: 'unknown' | 'provisional' | 'programmed',
  occurrences: number,
  detail: string,
  nowMicros: number,
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
    count: 1,
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
 * A kernel sample as it goes over the bus.
 * @param bootWallMicros wall-clock microseconds at CLOCK_BOOTTIME 0
 * @param process which made the packet's socket; null: nobody saw it
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
