/**
 * What the spoof half offers to the collector: maps, links and samples in words, without a file descriptor in sight.
 *
 * Place in the path: collector → this interface → spoof-object.ts (real kernel) or a fake in unit tests.
 * Invariants: identity tables (ifaces, addresses, node addresses, ports, CIDRs, settings) are written by user space only;
 * counters, seen and losses by the kernel only, and only ever grow. All calls are synchronous system calls of
 * microseconds. Kernel errors are BpfError (errors.ts); what this layer itself refuses is SpoofError by code.
 * One process at a time uses a pin directory for writing (lockPins, ERR_SPOOF_IN_USE); reading (status) beside it is safe.
 */

import type { Probe } from '../core/feature-probe.ts';
import type { CounterCell } from './decode.ts';
import type { AddressGrant, IfaceKey, IfaceRecord, Meta, ProbePort, Settings } from './encode.ts';
import type { Loss, TunnelKind } from './names.ts';
import type { DecodedBatch } from './ring-batch.ts';

export type Direction = 'in' | 'out';
export type AttachMode = 'tcx' | 'clsact';

/** One program on one side of one interface, as pinned. */
export interface Attachment extends IfaceKey {
  /** in: what the pod sends (spoof_ingress); out: what it receives (spoof_egress). */
  readonly direction: Direction;
  readonly mode: AttachMode;
}

/** Where our program stands now. */
export type Place =
  /** First: nothing sees the packet before us. */
  | 'head'
  /** Attached, but another program runs first. */
  | 'behind'
  /** The interface is gone (tcx links stay as empty pins until detached). */
  | 'interface-gone'
  /** Somebody took it off, or it never was on. */
  | 'missing';

export interface PlacedAttachment extends Attachment {
  readonly place: Place;
}

/** ifindex → record. One update replaces the whole record. */
export interface IfaceTable {
  get(ifindex: number): IfaceRecord | undefined;
  set(ifindex: number, record: IfaceRecord): void;
  /** False when there was none. */
  delete(ifindex: number): boolean;
  entries(): [ifindex: number, record: IfaceRecord][];
  /** Makes the cards of all records anew, whatever cards there are. */
  rebuildFastPathCache(): void;
}

/** Addresses beyond the two inline ones, and allowed prefixes. */
export interface AddressTable {
  /** Makes the grants of this interface exactly these: adds first, removes after. Returns how many entries changed. */
  replace(key: IfaceKey, grants: readonly AddressGrant[]): number;
  entries(): (IfaceKey & AddressGrant)[];
}

/** Cumulative, per interface generation. An entry is created (zeroed) before the interface is attached. */
export interface CounterTable {
  /** Keeps an existing entry as it is. */
  create(key: IfaceKey): void;
  read(key: IfaceKey): CounterCell[] | undefined;
  /** All cells as numbers into an array of COUNTER_NUMBERS, in the order of `struct counters`; false: no such entry. */
  readInto(key: IfaceKey, into: Float64Array): boolean;
  /** All entries in one batch; cells that are zero are left out. */
  readAll(): (IfaceKey & { readonly cells: CounterCell[] })[];
  delete(key: IfaceKey): boolean;
}

/** A set the kernel looks things up in. */
export interface ReplaceableSet<T> {
  /** Makes the set exactly this: adds first, removes after. Returns how many entries changed. */
  replace(items: readonly T[]): number;
  entries(): T[];
}

export interface NodeAddress {
  readonly address: string;
  /** This node's own: may probe quarantined pods. */
  readonly thisNode: boolean;
}

export interface TunnelPort {
  readonly port: number;
  readonly kind: TunnelKind;
}

/** Ports on which this node may still probe a quarantined pod. */
export interface ProbePortTable {
  replace(key: IfaceKey, probes: readonly ProbePort[]): number;
  entries(): (IfaceKey & ProbePort)[];
}

/** What outlives the process: numbers that are given out once and never again. */
export interface MetaTable {
  read(): Meta;
  /** Gives out a generation, each one above the last. Written to the kernel before it is returned. */
  allocateGeneration(): number;
  /** Gives out `count` frame sequences and returns the first. Written before it is returned. */
  allocateFrameSequences(count: number): bigint;
}

export interface SpoofMaps {
  readonly ifaces: IfaceTable;
  readonly addresses: AddressTable;
  readonly counters: CounterTable;
  readonly nodeAddresses: ReplaceableSet<NodeAddress>;
  readonly tunnelPorts: ReplaceableSet<TunnelPort>;
  /** What quarantined pods may still exchange packets with, as CIDR text. */
  readonly allowedCidrs: ReplaceableSet<string>;
  readonly probePorts: ProbePortTable;
  readonly meta: MetaTable;
  settings(): Settings;
  setSettings(settings: Settings): void;
  /** skbs that entered spoof_ingress on this slot since the maps were made. A slot that is given out again goes on
   *  counting: note its value when the record is made. */
  seen(slot: number): bigint;
  /** Cumulative since the maps were made. */
  losses(): Readonly<Record<Loss, bigint>>;
  /** Entries against room, for node status. */
  fill(): Readonly<Record<string, { entries: number; maxEntries: number }>>;
  /** Slots run from 0 to this - 1. */
  readonly maxInterfaces: number;
}

export interface SampleReader {
  /** Stops delivery; what is still in the ring stays there for the next reader. Idempotent. */
  close(): void;
  /** Takes what is in the ring now, without waiting (before shutdown). Null when it is empty. */
  drain(): DecodedBatch | null;
}

export interface SpoofObject {
  readonly maps: SpoofMaps;
  readonly mode: AttachMode;
  /** True when pinned maps were found and taken over. */
  readonly reused: boolean;
  /** Links whose program was replaced at open. */
  readonly updatedLinks: number;
  readonly pinDir: string;
  /** Whether this kernel shows what the vector checksum-offload is judged by. */
  readonly offload: Probe;

  /**
   * Attaches both programs at the head and pins the links. The record and the counters entry come first; an interface
   * that has no record is judged by `unknownMode`. Idempotent for the same ifindex and generation.
   */
  attach(key: IfaceKey): void;
  /** Detaches and unpins what is there of it. False when nothing was. */
  detach(key: IfaceKey): boolean;
  /** What is attached under one generation goes on under another, without a gap. The record is the caller's to write. */
  rekey(from: IfaceKey, generation: number): void;
  /** What the pins say. */
  attached(): Attachment[];
  /** What the pins say, compared with the kernel. */
  verify(): PlacedAttachment[];
  /** Puts our program back to the head, without a gap. False when the interface is gone. */
  reattach(attachment: Attachment): boolean;

  /**
   * Delivers samples from the ring as they come, at most a batch a turn of the loop. The reader must be closed before
   * the object. A throwing callback ends the process as any uncaught error does.
   */
  openSamples(onBatch: (batch: DecodedBatch) => void): SampleReader;

  /** Closes descriptors only: programs, maps and links stay pinned and in force. Idempotent. */
  close(): void;
  [Symbol.dispose](): void;
}

export interface OpenSpoofOptions {
  /** A directory on a bpffs, this node's alone. Created when missing; its parent must exist and be a bpffs. */
  readonly pinDir: string;
  /** Default: this package's build/bpf/spoof.bpf.o. */
  readonly objectPath?: string;
  /** Default `auto`: tcx where the kernel has it, else clsact. */
  readonly mode?: AttachMode | 'auto';
  /** Default 512. Pinned maps keep the size they have. */
  readonly maxInterfaces?: number;
  /** Default 1 MiB; a power of two, at least a page. Likewise. */
  readonly ringSizeBytes?: number;
}

export type SpoofErrorCode =
  /** Pinned maps are of another ABI: `detachAll` and open afresh (enforcement has a gap, counters start anew). */
  | 'ERR_SPOOF_ABI'
  /** Some of the pinned maps are missing: `data.maps` says which. Opening the object makes them anew. */
  | 'ERR_SPOOF_PINS'
  /** The compiled object is missing: the build step did not run. */
  | 'ERR_SPOOF_OBJECT'
  /** The pin directory is not on a bpffs. */
  | 'ERR_SPOOF_BPFFS'
  /** Another process guards with this pin directory. */
  | 'ERR_SPOOF_IN_USE'
  /** tcx was asked for and the kernel has none. */
  | 'ERR_SPOOF_MODE'
  /** No such interface (any more). */
  | 'ERR_SPOOF_INTERFACE'
  /** A map is full; `data.map` says which. */
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

/** What detachAll took away. */
export interface DetachReport {
  /** Pins of links and filters removed. */
  readonly links: number;
  readonly programs: number;
  readonly maps: number;
  /** What could not be removed and why; empty when all is gone. */
  readonly failures: { readonly path: string; readonly error: unknown }[];
}
