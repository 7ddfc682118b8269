/**
 * Types of the packet programs for the collector: maps, links and samples as typed values.
 *
 * Data path: collector → object.ts → the kernel.
 * Invariants: user space alone writes ifaces, addresses, node addresses, ports, CIDRs and settings.
 * The kernel alone writes counters, seen and losses, which only grow. All calls are synchronous
 * system calls, which take microseconds. Kernel errors are BpfError. Errors of this layer are
 * SpoofError with a code. One process at a time may write with a pin directory (lockPins,
 * ERR_SPOOF_IN_USE). Readers such as `status` may run beside it.
 */

import type { CounterCell } from './decode.ts';
import type {
  AddressGrant,
  IfaceKey,
  IfaceRecord,
  Meta,
  Network,
  ProbePort,
  Settings,
  TunnelService,
} from './encode.ts';
import type { Loss, TunnelKind } from './names.ts';

/**
 * `pod-end`: at the other end of a veth, in the network namespace of the pod. `redirected`: at the host
 * side of a netkit pair, behind its guard.
 */
export type Direction = 'in' | 'out' | 'pod-end' | 'redirected';
export type AttachMode = 'tcx' | 'clsact';

/** One program on one side of one interface, as pinned. */
export interface Attachment extends IfaceKey {
  /**
   * in: what the pod sends (spoof_ingress); out: what it receives (spoof_egress); pod-end: frames that
   * would pass the host side unseen (spoof_pod_end); redirected: frames that passed the guard unseen
   * (spoof_redirected).
   */
  readonly direction: Direction;
  /** `tcx`: a pinned link, of tcx or of netkit. */
  readonly mode: AttachMode;
}

/** Where the program is in the hook's chain now. */
export type Place =
  /**
   * First in the chain: no other program sees the packet before it. Of a pod's end only: attached,
   * because its chain can be read in the pod's namespace alone.
   */
  | 'head'
  /** Attached, but another program runs first. */
  | 'behind'
  /** The interface is gone (tcx links stay as empty pins until detached). */
  | 'interface-gone'
  /** Another program or a person detached it, or it was never attached. */
  | 'missing';

export interface PlacedAttachment extends Attachment {
  readonly place: Place;
}

/** ifindex → record. One update replaces the whole record. */
export interface IfaceTable {
  get(ifindex: number): IfaceRecord | undefined;
  set(ifindex: number, record: IfaceRecord): void;
  /** False if there was no record. */
  delete(ifindex: number): boolean;
  entries(): [ifindex: number, record: IfaceRecord][];
  /** Rebuilds the fast-path cache from all records. */
  rebuildFastPathCache(): void;
}

/** Entries of all interfaces; those of one are replaced together. */
export interface OwnedTable<T> {
  /**
   * Replaces the entries of this interface: adds new ones first, then removes old ones.
   * @returns the number of changed entries
   */
  replace(key: IfaceKey, items: readonly T[]): number;
  entries(): (IfaceKey & T)[];
}

/**
 * Cumulative counters per interface generation. Create an entry (zeroed) before you attach the
 * programs.
 */
export interface CounterTable {
  /** Keeps an existing entry. */
  create(key: IfaceKey): void;
  read(key: IfaceKey): CounterCell[] | undefined;
  /**
   * Reads all cells as numbers into an array of COUNTER_NUMBERS, in the order of `struct counters`.
   * @returns false if there is no such entry
   */
  readInto(key: IfaceKey, into: Float64Array): boolean;
  /** All entries in one batch, without the cells that are zero. */
  readAll(): (IfaceKey & { readonly cells: CounterCell[] })[];
  delete(key: IfaceKey): boolean;
}

/** A set that the kernel looks keys up in. */
export interface ReplaceableSet<T> {
  /**
   * Replaces the set: adds new items first, then removes old ones.
   * @returns the number of changed entries
   */
  replace(items: readonly T[]): number;
  entries(): T[];
}

export interface NodeAddress {
  readonly address: string;
  /** True for an address of this node, which may probe quarantined pods. */
  readonly thisNode: boolean;
}

export interface TunnelPort {
  readonly port: number;
  readonly kind: TunnelKind;
}

/** Persistent allocators of numbers that are never reused. */
export interface MetaTable {
  read(): Meta;
  /**
   * Allocates a generation above all earlier ones. The kernel map is updated before this returns.
   */
  allocateGeneration(): number;
  /**
   * Allocates `count` frame sequences and returns the first. The kernel map is updated before this
   * returns.
   */
  allocateFrameSequences(count: number): bigint;
}

export interface SpoofMaps {
  readonly ifaces: IfaceTable;
  /** Addresses beyond the two inline ones, and allowed prefixes. */
  readonly addresses: OwnedTable<AddressGrant>;
  readonly counters: CounterTable;
  readonly nodeAddresses: ReplaceableSet<NodeAddress>;
  readonly networks: ReplaceableSet<Network>;
  readonly tunnelPorts: ReplaceableSet<TunnelPort>;
  readonly tunnelServices: ReplaceableSet<TunnelService>;
  /** CIDRs that quarantined pods may exchange packets with. */
  readonly allowedCidrs: ReplaceableSet<string>;
  /** Ports on which this node may still probe a quarantined pod. */
  readonly probePorts: OwnedTable<ProbePort>;
  readonly meta: MetaTable;
  settings(): Settings;
  setSettings(settings: Settings): void;
  /** Id of the cgroup that contains the cgroups of all pods; 0n: not known. */
  podsCgroup(): bigint;
  setPodsCgroup(id: bigint): void;
  /**
   * skbs that entered spoof_ingress on this slot since the maps were created. A reused slot
   * continues its count, so note the value when you create the record.
   */
  seen(slot: number): bigint;
  /** Cumulative since the maps were created. */
  losses(): Readonly<Record<Loss, bigint>>;
  /** Entries and capacity of each map, for the node status. */
  fill(): Readonly<Record<string, { entries: number; maxEntries: number }>>;
  /** Slots are 0 to maxInterfaces - 1. */
  readonly maxInterfaces: number;
}

export interface SampleReader {
  /**
   * Stops delivery. Records that are still in the ring stay there for the next reader. Idempotent.
   */
  close(): void;
  /**
   * Delivers the records that are in the ring now, without waiting. Returns their number.
   */
  drain(): number;
}

export interface PodEndPins {
  readonly program: string;
  readonly link: string;
}

export interface OpenSpoofOptions {
  /**
   * A directory on a bpffs, used by this node alone. Created if missing. Its parent must exist and
   * be on a bpffs.
   */
  readonly pinDir: string;
  /** Default: this package's build/bpf/spoof.bpf.o. */
  readonly objectPath?: string;
  /** Default `auto`: tcx if the kernel has it, otherwise clsact. */
  readonly mode?: AttachMode | 'auto';
  /** Default 512. Pinned maps keep their size. */
  readonly maxInterfaces?: number;
  /** Default 1 MiB; a power of two, at least a page. A pinned ring keeps its size. */
  readonly ringSizeBytes?: number;
  /** Default true. False: the open attaches nothing that stays; `restoreNotes` does it later. */
  readonly attaches?: boolean;
}

export type SpoofErrorCode =
  /**
   * Pinned maps have another ABI. Call `detachAll` and open again: enforcement has a gap and
   * counters restart.
   */
  | 'ERR_SPOOF_ABI'
  /**
   * Some pinned maps are missing; `data.maps` names them. Opening the object creates them again.
   */
  | 'ERR_SPOOF_PINS'
  /** The compiled object is missing because the build step did not run. */
  | 'ERR_SPOOF_OBJECT'
  /** The pin directory is not on a bpffs. */
  | 'ERR_SPOOF_BPFFS'
  /** Another process writes with this pin directory. */
  | 'ERR_SPOOF_IN_USE'
  /** tcx was requested and the kernel does not have it. */
  | 'ERR_SPOOF_MODE'
  /** There is no such interface, or it is gone. */
  | 'ERR_SPOOF_INTERFACE'
  /** A map is full; `data.map` names it. */
  | 'ERR_SPOOF_MAP_FULL';

export class SpoofError extends Error {
  readonly code: SpoofErrorCode;
  readonly data: Readonly<Record<string, unknown>>;
  constructor(code: SpoofErrorCode, message: string, data: Readonly<Record<string, unknown>> = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'SpoofError';
    this.code = code;
    this.data = data;
  }
}

/** Result of detachAll. */
export interface DetachReport {
  /** Number of removed pins of links and filters. */
  readonly links: number;
  readonly programs: number;
  readonly maps: number;
  /** Paths that could not be removed, with the error. Empty on success. */
  readonly failures: { readonly path: string; readonly error: unknown }[];
}
