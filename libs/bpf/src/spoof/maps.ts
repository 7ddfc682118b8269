/**
 * Typed kernel maps of the packet programs: SpoofMaps over BpfMap.
 *
 * Data path: collector → here → map system calls. encode.ts and decode.ts convert the bytes.
 * Invariants: replacing a set adds first and removes after, so that no allowed packet is dropped in
 * between. A full map is SpoofError ERR_SPOOF_MAP_FULL with the map's name. Closing closes
 * descriptors, never pins.
 */

import assert from 'node:assert/strict';
import { formatAddress, parseAddress } from '../core/addresses.ts';
import type { BpfMap } from '../core/bpf-map.ts';
import { EntryCount } from '../core/entry-count.ts';
import { BpfError } from '../core/errors.ts';
import { encodeU32 } from '../core/integers.ts';
import {
  type CounterTable,
  type IfaceTable,
  type MetaTable,
  type NodeAddress,
  type OwnedTable,
  type ReplaceableSet,
  SpoofError,
  type SpoofMaps,
  type TunnelPort,
} from './api.ts';
import { decodeCounters, readCounters } from './decode.ts';
import {
  type AddressGrant,
  decodeAddressGrant,
  decodeCidrKey,
  decodeCounterKey,
  decodeIface,
  decodeMeta,
  decodeNetwork,
  decodeProbeKey,
  decodeSettings,
  decodeTunnelService,
  encodeAddressGrant,
  encodeAllowedCidr,
  encodeCounterKey,
  encodeIface,
  encodeMeta,
  encodeNetwork,
  encodeProbeKey,
  encodeSettings,
  encodeTunnelService,
  type IfaceKey,
  type IfaceRecord,
  type ProbePort,
  type Settings,
} from './encode.ts';
import { type FastPathCache, fastPathCache } from './fast-path-cache.ts';
import { CountersLayout, TunnelPortsLayout } from './layout.gen.ts';
import { LOSSES, type Loss, TUNNEL_KINDS } from './names.ts';

/** Maps of every version, by their names in maps.h. */
export const MAP_NAMES = [
  ...(['ifaces', 'addresses', 'counters', 'seen', 'buckets', 'settings', 'meta'] as const),
  ...(['node_addresses', 'tunnel_ports', 'allowed_cidrs', 'probe_ports', 'losses', 'samples'] as const),
] as const;
export type MapName = (typeof MAP_NAMES)[number];
/** Maps that pins of an older collector may lack. */
export const LATER_MAP_NAMES = ['cards', 'networks', 'tunnel_services', 'pods_cgroup', 'redirections'] as const;
export type LaterMapName = (typeof LATER_MAP_NAMES)[number];
export type RawMaps = Readonly<Record<MapName, BpfMap> & Record<LaterMapName, BpfMap | null>>;

interface Entry {
  readonly key: Buffer;
  readonly value: Buffer;
}

const ZERO = encodeU32(0);
const NODE_OTHER = 1;
const NODE_THIS = 2;

function setEntry(map: BpfMap, key: Buffer, value: Buffer, mode: 'any' | 'create' = 'any'): void {
  try {
    map.set(key, value, mode);
  } catch (error) {
    if (!(error instanceof BpfError) || !['E2BIG', 'ENOSPC'].includes(error.errnoName)) throw error;
    const { name, maxEntries } = map.info;
    throw new SpoofError('ERR_SPOOF_MAP_FULL', `map ${name} is full (${maxEntries})`, { map: name, maxEntries }, error);
  }
}

/**
 * Makes the entries that `isMine` selects equal to `wanted`.
 * @returns the number of entries written or removed
 */
function replaceEntries(map: BpfMap, wanted: readonly Entry[], isMine: (key: Buffer) => boolean = () => true): number {
  const current = new Map(
    map
      .entries()
      .filter(([key]) => isMine(key))
      .map(([key, value]) => [key.toString('hex'), { key, value }]),
  );
  const kept = new Set<string>();
  let changed = 0;
  for (const { key, value } of wanted) {
    const name = key.toString('hex');
    if (!kept.has(name) && !current.get(name)?.value.equals(value)) {
      setEntry(map, key, value);
      changed++;
    }
    kept.add(name);
  }
  for (const [name, { key }] of current) if (!kept.has(name) && map.delete(key)) changed++;
  return changed;
}

function sumOfCpus(map: BpfMap, index: number): bigint {
  const block = map.get(encodeU32(index));
  return block === null ? 0n : map.perCpu(block).reduce((sum, value) => sum + value.readBigUInt64LE(0), 0n);
}

function counterTable(map: BpfMap): CounterTable {
  // Shared by all readings: a busy node makes tens of thousands a second.
  const value = Buffer.alloc(CountersLayout.size);
  return {
    create: (key) => {
      try {
        setEntry(map, encodeCounterKey(key), Buffer.alloc(CountersLayout.size), 'create');
      } catch (error) {
        if (!(error instanceof BpfError) || error.errnoName !== 'EEXIST') throw error;
      }
    },
    read: (key) => {
      const read = map.get(encodeCounterKey(key));
      return read === null ? undefined : decodeCounters(read);
    },
    readInto: (key, into) => {
      const there = map.getInto(encodeCounterKey(key), value);
      if (there) readCounters(value, into);
      return there;
    },
    readAll: () => map.entries().map(([key, value]) => ({ ...decodeCounterKey(key), cells: decodeCounters(value) })),
    delete: (key) => map.delete(encodeCounterKey(key)),
  };
}

function ifaceTable(map: BpfMap, cache: FastPathCache | null): IfaceTable {
  const entries = (): [number, IfaceRecord][] =>
    map.entries().map(([key, value]) => [key.readUInt32LE(0), decodeIface(value)]);
  return {
    get: (ifindex) => {
      const value = map.get(encodeU32(ifindex));
      return value === null ? undefined : decodeIface(value);
    },
    set: (ifindex, record) => {
      cache?.invalidate(ifindex);
      setEntry(map, encodeU32(ifindex), encodeIface(record));
      cache?.publish(ifindex, record);
    },
    delete: (ifindex) => {
      cache?.invalidate(ifindex);
      return map.delete(encodeU32(ifindex));
    },
    entries,
    rebuildFastPathCache: () => {
      cache?.invalidateAll();
      for (const [ifindex, record] of entries()) cache?.publish(ifindex, record);
    },
  };
}

/** Entries of all interfaces; those of one are replaced together. */
function ownedTable<T>(
  map: BpfMap,
  encode: (key: IfaceKey, item: T) => Entry,
  decode: (key: Buffer, value: Buffer) => IfaceKey & T,
): OwnedTable<T> {
  const isOf = (wanted: IfaceKey) => (key: Buffer) => {
    const found = decode(key, ZERO);
    return found.ifindex === wanted.ifindex && found.generation === wanted.generation;
  };
  return {
    replace: (key, items) =>
      replaceEntries(
        map,
        items.map((item) => encode(key, item)),
        isOf(key),
      ),
    entries: () => map.entries().map(([key, value]) => decode(key, value)),
  };
}

const encodeNodeAddress = ({ address, thisNode }: NodeAddress): Entry => ({
  key: parseAddress(address),
  value: encodeU32(thisNode ? NODE_THIS : NODE_OTHER),
});
const decodeNodeAddress = (key: Buffer, value: Buffer): NodeAddress => ({
  address: formatAddress(key),
  thisNode: value.readUInt32LE(0) === NODE_THIS,
});

const TUNNEL_FIELDS = { vxlan: TunnelPortsLayout.vxlan, geneve: TunnelPortsLayout.geneve } as const;

const NO_TUNNEL_PORTS = Buffer.alloc(TunnelPortsLayout.size);

function tunnelPortSet(map: BpfMap): ReplaceableSet<TunnelPort> {
  const entries = (): TunnelPort[] =>
    map.entries().flatMap(([key, value]) => {
      if (value.equals(NO_TUNNEL_PORTS)) return []; // the usual case
      const first = key.readUInt32LE(0) * 64;
      return TUNNEL_KINDS.flatMap((kind) => {
        const bits = value.readBigUInt64LE(TUNNEL_FIELDS[kind].offset);
        return Array.from({ length: 64 }, (_, bit) => ({ port: first + bit, kind })).filter(
          (_, bit) => (bits >> BigInt(bit)) & 1n,
        );
      });
    });
  return {
    replace: (items) => {
      const words = new Map<number, Buffer>();
      for (const { port } of entries()) words.set(port >> 6, Buffer.alloc(TunnelPortsLayout.size));
      for (const { port, kind } of items) {
        const word = words.get(port >> 6) ?? Buffer.alloc(TunnelPortsLayout.size);
        const { offset } = TUNNEL_FIELDS[kind];
        word.writeBigUInt64LE(word.readBigUInt64LE(offset) | (1n << BigInt(port & 63)), offset);
        words.set(port >> 6, word);
      }
      const changed = [...words].filter(([index, word]) => !map.get(encodeU32(index))!.equals(word));
      for (const [index, word] of changed) map.set(encodeU32(index), word);
      return changed.length;
    },
    entries,
  };
}

/** A set of entries; without a map it is empty and cannot be written. */
function entrySet<T>(
  map: BpfMap | null,
  encode: (item: T) => Entry,
  decode: (key: Buffer, value: Buffer) => T,
): ReplaceableSet<T> {
  return {
    replace: (items) => {
      assert(map !== null, 'only a loaded object writes maps, and it has all of them');
      return replaceEntries(map, items.map(encode));
    },
    entries: () => map?.entries().map(([key, value]) => decode(key, value)) ?? [],
  };
}

function metaTable(map: BpfMap): MetaTable {
  const read = () => decodeMeta(map.get(ZERO)!);
  return {
    read,
    allocateGeneration: () => {
      const meta = read();
      // 0 is never a generation: an unused token bucket holds it.
      const generation = meta.nextGeneration === 0 ? 1 : meta.nextGeneration;
      map.set(ZERO, encodeMeta({ ...meta, nextGeneration: generation + 1 }));
      return generation;
    },
    allocateFrameSequences: (count) => {
      const meta = read();
      map.set(ZERO, encodeMeta({ ...meta, frameSequence: meta.frameSequence + BigInt(count) }));
      return meta.frameSequence + 1n;
    },
  };
}

/** Maps whose number of entries varies. Arrays are always full. */
const FILLABLE = [
  ...(['ifaces', 'addresses', 'counters', 'node_addresses', 'networks'] as const),
  ...(['tunnel_services', 'allowed_cidrs', 'probe_ports'] as const),
] as const;

/** Typed view of the raw maps. The caller closes them. */
export function spoofMaps(raw: RawMaps): SpoofMaps {
  const counts = FILLABLE.flatMap((name) => {
    const map = raw[name];
    return map === null ? [] : [{ name, count: new EntryCount(map), maxEntries: map.info.maxEntries }];
  });
  return {
    ifaces: ifaceTable(raw.ifaces, raw.cards && fastPathCache(raw.cards)),
    addresses: ownedTable<AddressGrant>(raw.addresses, encodeAddressGrant, decodeAddressGrant),
    counters: counterTable(raw.counters),
    nodeAddresses: entrySet(raw.node_addresses, encodeNodeAddress, decodeNodeAddress),
    networks: entrySet(raw.networks, encodeNetwork, decodeNetwork),
    tunnelPorts: tunnelPortSet(raw.tunnel_ports),
    tunnelServices: entrySet(raw.tunnel_services, encodeTunnelService, decodeTunnelService),
    allowedCidrs: entrySet(raw.allowed_cidrs, encodeAllowedCidr, decodeCidrKey),
    probePorts: ownedTable<ProbePort>(
      raw.probe_ports,
      (key, probe) => ({ key: encodeProbeKey(key, probe), value: encodeU32(1) }),
      decodeProbeKey,
    ),
    meta: metaTable(raw.meta),
    settings: () => decodeSettings(raw.settings.get(ZERO)!),
    setSettings: (settings: Settings) => raw.settings.set(ZERO, encodeSettings(settings)),
    podsCgroup: () => raw.pods_cgroup?.get(ZERO)?.readBigUInt64LE() ?? 0n,
    setPodsCgroup: (id) => {
      assert(raw.pods_cgroup !== null, 'only a loaded object writes maps, and it has all of them');
      const value = Buffer.alloc(8);
      value.writeBigUInt64LE(id);
      raw.pods_cgroup.set(ZERO, value);
    },
    seen: (slot) => sumOfCpus(raw.seen, slot),
    losses: () =>
      Object.fromEntries(LOSSES.map((loss, index) => [loss, sumOfCpus(raw.losses, index)])) as Record<Loss, bigint>,
    fill: () =>
      Object.fromEntries(counts.map(({ name, count, maxEntries }) => [name, { entries: count.read(), maxEntries }])),
    maxInterfaces: raw.ifaces.info.maxEntries,
  };
}
