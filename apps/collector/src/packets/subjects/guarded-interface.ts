/**
 * State of one interface generation in memory: its pod, the entries that were written into the
 * kernel, and what of its counts was published. binding-store.ts keeps the part that outlives the
 * process.
 */
import type { AddressGrant, IfaceKey, IfaceRecord, LinkRecord, ProbePort } from '@bailiff/bpf';
import type { PacketSample, PodRef, Violation } from '@bailiff/schemas';
import { type Binding, isPrimary, type LinkFacts, type MacStanding } from '../../identity/identity.ts';
import { NEVER_SEEN, type Seen } from '../../identity/pod-life.ts';
import type { Source } from '../../publishing/flusher.ts';
import { EpochLedger } from '../counting/cells.ts';
import { type Conservation, newConservation } from '../counting/conservation.ts';
import type { StoredInterface } from './binding-store.ts';
import type { Announcement } from './stall-detector.ts';

/**
 * Limit per interface of violations that user space found and that wait for a frame; the newest are
 * kept.
 */
export const MAX_FOUND = 16;

/** Entries of one interface in the kernel's maps. */
export interface KernelEntries {
  /** Without `slot` and `generation`, which belong to the interface and are never planned. */
  record: Omit<IfaceRecord, 'slot' | 'generation'>;
  /** Further addresses and allowed prefixes, for which the record has no room. */
  grants: AddressGrant[];
  probePorts: ProbePort[];
}

/**
 * Pod and interface that violations belong to. An orphaned interface has no pod: no list names the
 * one that has ended, and a node may not report on it.
 */
export interface Origin {
  bootId: string;
  ifindex: number;
  generation: number;
  interfaceName: string;
  pod: PodRef | null;
}

/** Samples of one cell since its last violation. */
export interface CellSamples {
  /** Packets of the samples: a GSO sample counts as all its segments. */
  packets: number;
  first: PacketSample;
  last: PacketSample;
}

/** Name of a counter epoch, and its encoded part of a violation. */
export interface EncodedEpoch {
  epoch: string;
  bytes: Buffer;
}

export interface GuardedInterface extends Source {
  readonly ifindex: number;
  readonly generation: number;
  /** Unique among live generations; NO_SLOT if the generation is gone. */
  readonly slot: number;
  /** `seen` of the slot when this generation got it. */
  readonly seenBase: number;
  /** Packets that its programs saw since then and before it was bound. */
  seenUnbound: number;
  link: LinkFacts;
  binding: Binding | null;
  /** Its pod has ended, or has left its network: everything that it sends violates `orphaned`. */
  orphaned: boolean;
  /** Links of its pod with a part in the node's network namespace, which no guard judges. */
  foreignLinks: string[];
  /** Its pod has more links than are compared. */
  hasUnreadLinks: boolean;
  /** Where the pod of the binding was seen. */
  podSeen: Seen;
  /**
   * UID of the pod that its network namespace belongs to, while the bus does not list it; empty
   * otherwise.
   */
  unlistedPod?: string;
  pod: PodRef | null;
  /** Entries in the kernel's maps; null before the first write. */
  kernel: KernelEntries | null;
  readonly ledger: EpochLedger;
  /** By cell index. */
  readonly samples: Map<number, CellSamples>;
  /** By cell index, of the cells that were published: they will be published again. */
  readonly counterEpochs: (EncodedEpoch | undefined)[];
  /** Encoded owner of its violations, for this name and pod; null: none was published. */
  encodedOwner: { bytes: Buffer; name: string; pod: PodRef | null } | null;
  /** Violations that user space found and that wait for a frame. */
  found: Violation[];
  /** Violations that user space found so far, by `<vector>/<state>`. */
  occurrences: Record<string, number>;
  /** Text of the last reported disagreement or move, so that each is reported once. */
  lastReported: Record<string, string>;
  /** When this process first saw it, monotonic milliseconds. */
  appearedAtMs: number;
  /**
   * When the netlink event of its creation was read, monotonic milliseconds; null: it existed
   * before, or the event was lost.
   */
  eventAtMs: number | null;
  /**
   * From that event to its attached programs; null: they are not attached, or its age is unknown.
   */
  guardedAfterMs: number | null;
  /** -1: not measured yet. */
  packetsBeforeGuard: number;
  /** Packets that its link had received when it appeared and that a former guard judged or reported. */
  receivedBase: number;
  /** Whether the bus has `packetsBeforeGuard`. */
  unguardedReported: boolean;
  /** Whether an unacknowledged frame contains `packetsBeforeGuard`. */
  unguardedInFlight: boolean;
  /** Empty: attached in both directions. */
  attachError: string;
  /** A tcx program of another agent runs before its clsact filters. */
  isBehind: boolean;
  /** The error means a lack of descriptors or memory at that moment. */
  isShort?: boolean;
  /** Frames that it received, against those that its programs judged. */
  conservation: Conservation;
  /** Why these are not compared; empty: they are. */
  notCompared: string;
  /** Frames that its pod received past the guard. */
  pastGuardFrames: number;
  /** Grants and probe ports beyond the limits of one interface. */
  omitted: number;
  /** Granted MACs and addresses that are not in force, because another interface has them. */
  takenGrants: string[];
  /** Addresses of its pod that a newer interface has: its pod has ended. */
  reusedAddresses: string[];
  /** Addresses of its pod that another pod has too, while CNI holds both. */
  sharedAddresses: string[];
  /** Addresses of a former sandbox of its pod, which the list had when it was bound (identity/listed-before.ts). */
  listedBefore: string[];
  /** Whose the MAC of its pod is. */
  macStanding: MacStanding;
  /** Why the kernel does not have its whole identity; empty or absent: it has. */
  applyError?: string;
  /** null: it existed before the process. */
  announced: Announcement | null;
}

/** When and how this process first saw an interface. */
export type FirstSeen = Pick<GuardedInterface, 'eventAtMs' | 'announced'>;

/** Slot of a generation that is gone: its counts need none. */
export const NO_SLOT = -1;

/** A generation of which only the link is known. */
export function newInterface(
  own: Pick<GuardedInterface, 'ifindex' | 'generation' | 'slot' | 'seenBase' | 'link'>,
  nowMs: number,
  acked?: Float64Array,
): GuardedInterface {
  return {
    ...own,
    seenUnbound: 0,
    binding: null,
    orphaned: false,
    foreignLinks: [],
    hasUnreadLinks: false,
    podSeen: NEVER_SEEN,
    pod: null,
    kernel: null,
    ledger: new EpochLedger(acked),
    samples: new Map(),
    counterEpochs: [],
    encodedOwner: null,
    found: [],
    occurrences: {},
    lastReported: {},
    appearedAtMs: nowMs,
    eventAtMs: null,
    guardedAfterMs: null,
    packetsBeforeGuard: -1,
    receivedBase: 0,
    unguardedReported: false,
    unguardedInFlight: false,
    framesInFlight: 0,
    finalPublished: false,
    dirty: false,
    flushedAtMs: 0,
    minIntervalMs: 0,
    gone: false,
    attachError: 'not attached yet',
    isBehind: false,
    conservation: newConservation(),
    notCompared: '',
    pastGuardFrames: 0,
    omitted: 0,
    takenGrants: [],
    reusedAddresses: [],
    sharedAddresses: [],
    listedBefore: [],
    macStanding: null,
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
    pod: iface.orphaned ? null : iface.pod,
  };
}

/** Whether its pod has ended, and all that it sends is dropped. */
export function isDroppedOrphan({ kernel, orphaned }: Pick<GuardedInterface, 'kernel' | 'orphaned'>): boolean {
  const { modes, auditUntilNs = 0n } = kernel?.record ?? {};
  return orphaned && modes?.orphaned === 'enforce' && auditUntilNs === 0n;
}

/** What an interface outlives, for people: its pod, or one of its pod's further networks. */
export function outlivedBy({ binding, pod }: Pick<GuardedInterface, 'binding' | 'pod'>): string {
  const what = binding && !isPrimary(binding) ? 'a network of pod' : 'pod';
  return `${what} ${pod?.namespace ?? ''}/${pod?.name ?? ''} (${binding?.podUid ?? pod?.uid ?? 'unknown'})`;
}

export function storedOf(iface: GuardedInterface): StoredInterface {
  return {
    ifindex: iface.ifindex,
    generation: iface.generation,
    slot: iface.slot,
    seenBase: iface.seenBase,
    interfaceName: iface.link.name,
    binding: iface.binding,
    podSeen: iface.podSeen,
    listedBefore: iface.listedBefore,
    pod: iface.pod,
    guardedAfterMs: iface.guardedAfterMs,
    packetsBeforeGuard: iface.packetsBeforeGuard,
    receivedBase: iface.receivedBase,
    conservationBase: iface.conservation.base,
    gapReported: iface.unguardedReported,
    occurrences: iface.occurrences,
    lastReported: iface.lastReported,
  };
}

export const factsOf = (link: LinkRecord): LinkFacts => ({
  ifindex: link.ifindex,
  name: link.name,
  kind: link.kind,
  mac: link.mac,
  linkNetnsid: link.linkNetnsid,
  peerIfindex: link.peerIfindex,
  ...(link.netkit?.peerDrops ? { dropsAlone: true } : {}),
});
