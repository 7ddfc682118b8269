/** One interface generation as the collector holds it in memory: whose it is, what the kernel was told, what was counted. */
import type { AddressGrant, IfaceKey, IfaceRecord, ProbePort } from '@bailiff/bpf';
import type { PacketSample, PodRef, Violation } from '@bailiff/schemas';
import { EpochLedger } from '../counting/epochs.ts';
import type { StoredInterface } from '../identity/binding-store.ts';
import type { Binding, LinkFacts } from '../identity/identity.ts';
import type { Announcement } from '../identity/stall-detector.ts';

/** Violations found by user space that wait for a frame, per interface; beyond it only their number is kept. */
export const MAX_PENDING = 16;

/** Entries of one interface in the kernel's maps. */
export interface KernelEntries {
  /** Without `slot` and `generation`, which belong to the interface and are never planned. */
  record: Omit<IfaceRecord, 'slot' | 'generation'>;
  /** Further addresses and allowed prefixes, for which the record has no room. */
  grants: AddressGrant[];
  probePorts: ProbePort[];
}

/** Pod and interface that violations belong to. */
export interface Origin {
  bootId: string;
  ifindex: number;
  generation: number;
  interfaceName: string;
  pod: PodRef | null;
}

/** Samples of one cell since its last violation. */
export interface CellSamples {
  /** Packets that the samples stand for: a GSO sample stands for all its segments. */
  packets: number;
  first: PacketSample;
  last: PacketSample;
}

/** Name of a counter epoch, and what a violation says of it as it goes over the bus. */
export interface ToldEpoch {
  epoch: string;
  bytes: Buffer;
}

export interface GuardedInterface {
  readonly ifindex: number;
  readonly generation: number;
  /** A live generation's own; a gone one has none, NO_SLOT. */
  readonly slot: number;
  /** `seen` of the slot when this generation got it. */
  readonly seenBase: number;
  /** Of what its programs saw since then: what passed before anybody was known for it. */
  seenUnjudged: number;
  link: LinkFacts;
  binding: Binding | null;
  /** The pod that its network namespace belongs to, while the bus does not list that pod; empty otherwise. */
  unlistedPod?: string;
  pod: PodRef | null;
  /** What was written into the kernel's maps; null before the first write. */
  kernel: KernelEntries | null;
  readonly book: EpochLedger;
  /** Since the last violation of the cell; by index of the cell. */
  readonly samples: Map<number, CellSamples>;
  /** Names of the counter epochs that have spoken, by index of the cell: a cell that spoke will speak again. */
  readonly counterEpochs: (ToldEpoch | undefined)[];
  /** What its violations say of whose it is, as it goes over the bus, of this name and pod; null: nobody has spoken. */
  toldOwner: { bytes: Buffer; name: string; pod: PodRef | null } | null;
  pending: Violation[];
  /** Violations found by user space so far, by `<vector>/<state>`. */
  occurrences: Record<string, number>;
  /** Words of the last reported disagreement or move, so that each is reported once. */
  lastReported: Record<string, string>;
  /** When this process was first told of it, monotonic milliseconds. */
  appearedAtMs: number;
  /** When the kernel's event of its coming was read, monotonic milliseconds; null: it was there before, or its event was lost. */
  eventAtMs: number | null;
  /** From that event to its programs being attached; null: they are not, or nobody knows when it appeared. */
  guardedAfterMs: number | null;
  /** -1: not measured yet. */
  packetsBeforeGuard: number;
  gapReported: boolean;
  /** A frame that tells the gap is on its way. */
  gapInFlight: boolean;
  /** Frames on their way that speak of it. */
  framesInFlight: number;
  /** It went, and every count was put into a frame as final. */
  finalSaid: boolean;
  /** Counters are to be read at the next flush. */
  dirty: boolean;
  flushedAtMs: number;
  /** Least time until the next flush; 0 = nothing grew at the last one. */
  paceMs: number;
  /** The link went; kept until its last count is acknowledged. */
  gone: boolean;
  /** Empty: attached in both directions. */
  attachError: string;
  /** Grants or probe ports beyond the bounds of one interface. */
  omitted: number;
  /** Why not all of its identity is in the kernel; empty or absent: it is. */
  applyError?: string;
  /** null: it was there when the process began. */
  announced: Announcement | null;
}

/** How this process came to know of an interface. */
export type FirstTold = Pick<GuardedInterface, 'eventAtMs' | 'announced'>;

/** Slot of a generation that is gone: its counts need none. */
export const NO_SLOT = -1;

/** A generation of which nothing is known but its link. */
export function newInterface(
  own: Pick<GuardedInterface, 'ifindex' | 'generation' | 'slot' | 'seenBase' | 'link'>,
  nowMs: number,
  acked?: Float64Array,
): GuardedInterface {
  return {
    ...own,
    seenUnjudged: 0,
    binding: null,
    pod: null,
    kernel: null,
    book: new EpochLedger(acked),
    samples: new Map(),
    counterEpochs: [],
    toldOwner: null,
    pending: [],
    occurrences: {},
    lastReported: {},
    appearedAtMs: nowMs,
    eventAtMs: null,
    guardedAfterMs: null,
    packetsBeforeGuard: -1,
    gapReported: false,
    gapInFlight: false,
    framesInFlight: 0,
    finalSaid: false,
    dirty: false,
    flushedAtMs: 0,
    paceMs: 0,
    gone: false,
    attachError: 'not attached yet',
    omitted: 0,
    applyError: '',
    announced: null,
  };
}

export const keyOf = (iface: GuardedInterface): IfaceKey => ({ ifindex: iface.ifindex, generation: iface.generation });

export function originOf(iface: GuardedInterface, bootId: string): Origin {
  return {
    bootId,
    ifindex: iface.ifindex,
    generation: iface.generation,
    interfaceName: iface.link.name,
    pod: iface.pod,
  };
}

export function storedOf(iface: GuardedInterface): StoredInterface {
  return {
    ifindex: iface.ifindex,
    generation: iface.generation,
    slot: iface.slot,
    seenBase: iface.seenBase,
    interfaceName: iface.link.name,
    binding: iface.binding,
    pod: iface.pod,
    guardedAfterMs: iface.guardedAfterMs,
    packetsBeforeGuard: iface.packetsBeforeGuard,
    gapReported: iface.gapReported,
    occurrences: iface.occurrences,
    lastReported: iface.lastReported,
  };
}
