/**
 * Typed kernel maps of the LSM programs: RuntimeMaps over BpfMap.
 *
 * Data path: collector → here → map system calls. encode.ts converts the bytes. Invariants: a
 * policy set is written whole, its head last, under a number that was never used. Then one update
 * of `pods` or `containers` puts it in force. Entries of a set that a program may still read are
 * never deleted. A full map is RuntimeError ERR_RUNTIME_MAP_FULL with the map's name. Closing
 * closes descriptors, never pins.
 */
import assert from 'node:assert/strict';
import type { BpfMap } from '../core/bpf-map.ts';
import { EntryCount } from '../core/entry-count.ts';
import { BpfError } from '../core/errors.ts';
import { encodeU32, encodeU64 } from '../core/integers.ts';
import { type Change, cacheLocks, changeOf, setCacheLocks } from './cache-control.ts';
import {
  type CacheLocks,
  decodeBirth,
  decodePodUid,
  decodeRuntimeSettings,
  decodeSocketMaker,
  decodeSubject,
  decodeTasks,
  encodePodUid,
  encodeRuntimeSettings,
  encodeSubject,
  type RuntimeSettings,
  type RuntimeSubject,
  type SocketMaker,
} from './encode.ts';
import { RuntimeError } from './errors.ts';
import { CounterExtraValues } from './layout.gen.ts';

/** Counter cells behind those of a set's rules: default postures and operations without a path. */
export const RUNTIME_EXTRA_CELLS = CounterExtraValues.COUNTER_EXTRA;

/**
 * Samples, counts and decisions that the kernel could not make; cumulative since the maps were
 * created. Order: enum rt_loss.
 */
export const RUNTIME_LOSSES = [
  'ring-full',
  'no-cell',
  'no-scratch',
  'unresolved',
  'no-state',
  'unarmed',
  'orphan',
  'unbound',
  'cgroups-full',
  'cgroup-refused',
  'task-share',
  'no-record',
] as const;
export type RuntimeLoss = (typeof RUNTIME_LOSSES)[number];

/**
 * Pinned maps of the LSM programs. `samples` belongs to the packet programs. Only the kernel uses
 * rt_buckets, rt_scratch and rt_opens. rt_peers is not pinned: a program that replaces another one
 * must not find what that one allowed.
 */
export const RUNTIME_MAP_NAMES = [
  'rt_pods',
  'rt_containers',
  'rt_cgroups',
  'rt_born',
  'rt_mounts',
  'rt_shares',
  'rt_totals',
  'rt_tasks',
  'rt_sets',
  'rt_paths',
  'rt_addresses',
  'rt_values',
  'rt_sources',
  'rt_counters',
  'rt_buckets',
  'rt_settings',
  'rt_losses',
  'rt_sockets',
  'rt_scratch',
  'rt_opens',
  'rt_cache_control',
] as const;
export type RuntimeMapName = (typeof RUNTIME_MAP_NAMES)[number];
export type RuntimeRawMaps = Readonly<Record<RuntimeMapName, BpfMap>>;

export interface RuntimeMapEntry {
  readonly key: Buffer;
  readonly value: Buffer;
}

/** A policy set as bytes, from encodeSet of libs/runtime. */
export interface EncodedRuntimeSet {
  readonly head: RuntimeMapEntry;
  readonly paths: readonly RuntimeMapEntry[];
  readonly addresses: readonly RuntimeMapEntry[];
  readonly values: readonly RuntimeMapEntry[];
  readonly sources: readonly RuntimeMapEntry[];
}

/** Maps with entries of policy sets: one head a set, and the others by its rules. */
export const SET_PARTS = ['head', 'paths', 'addresses', 'values', 'sources'] as const;
export type SetPart = (typeof SET_PARTS)[number];

/**
 * Keys of a set in the kernel, those of each map one after another: a twentieth of the memory of the
 * set as buffers of entries.
 */
export type RuntimeSetKeys = Readonly<Record<SetPart, Buffer>>;

/** Of a set that is about to be written. */
export function keysOfSet(set: EncodedRuntimeSet): RuntimeSetKeys {
  const of = (entries: readonly RuntimeMapEntry[]) => Buffer.concat(entries.map(({ key }) => key));
  const { head, paths, addresses, values, sources } = set;
  return { head: of([head]), paths: of(paths), addresses: of(addresses), values: of(values), sources: of(sources) };
}

export interface RuntimeTable<K, V> {
  get(key: K): V | undefined;
  /** One update replaces the whole value. */
  set(key: K, value: V): void;
  /** False if there was no entry. */
  delete(key: K): boolean;
  entries(): [key: K, value: V][];
}

export interface RuntimeMaps {
  /** Key: the pod's UID, 32 hex digits. */
  readonly pods: RuntimeTable<string, RuntimeSubject>;
  /** Key: the id of the container's cgroup. */
  readonly containers: RuntimeTable<bigint, RuntimeSubject>;
  /** Id of a pod's cgroup → UID of the pod. */
  readonly cgroups: RuntimeTable<bigint, string>;
  /**
   * Time at which the cgroup of a container was created, CLOCK_BOOTTIME. Undefined: it is gone, or
   * older than the programs.
   */
  born(cgroupId: bigint): bigint | undefined;
  /** Writes a whole set, its head last. */
  writeSet(set: EncodedRuntimeSet): void;
  /** Deletes a set, its head first. Missing entries are not errors. */
  deleteSet(keys: RuntimeSetKeys): void;
  /** All sets of earlier processes by number, also incomplete ones. Reads the maps whole. */
  setKeys(): Map<number, RuntimeSetKeys>;
  /** Entries of a set by map. */
  setEntries(keys: RuntimeSetKeys): Record<SetPart, number>;
  /** Entries that all sets may have together, by map. */
  readonly setCapacities: Readonly<Record<SetPart, number>>;
  /** Counter cells from `base` on. */
  counters(base: number, count: number): bigint[];
  /** Call it before you assign cells to a subject. */
  zeroCounters(base: number, count: number): void;
  readonly counterCells: number;
  readonly maxSubjects: number;
  losses(): Readonly<Record<RuntimeLoss, bigint>>;
  settings(): RuntimeSettings;
  setSettings(settings: RuntimeSettings): void;
  socketMaker(cookie: bigint): SocketMaker | undefined;
  /** Null: decisions about opens are not cached. */
  cacheLocks(): CacheLocks | null;
  setCacheLocks(locks: CacheLocks | null): void;
  /** Entries and capacity of each map, for the node status. */
  fill(): Readonly<Record<string, { entries: number; maxEntries: number }>>;
}

interface Codec<T> {
  readonly encode: (value: T) => Buffer;
  readonly decode: (buffer: Buffer) => T;
}

const UIDS: Codec<string> = { encode: encodePodUid, decode: decodePodUid };
const IDS: Codec<bigint> = { encode: encodeU64, decode: (buffer) => buffer.readBigUInt64LE() };
const SUBJECTS: Codec<RuntimeSubject> = { encode: encodeSubject, decode: decodeSubject };

/** Errors by which the kernel reports a full map. */
const FULL: readonly string[] = ['E2BIG', 'ENOSPC', 'ENOMEM'];

function put(map: BpfMap, key: Buffer, value: Buffer): void {
  try {
    map.set(key, value);
  } catch (error) {
    if (!(error instanceof BpfError) || !FULL.includes(error.errnoName)) throw error;
    const { name, maxEntries } = map.info;
    throw new RuntimeError('ERR_RUNTIME_MAP_FULL', `map ${name} is full`, { map: name, maxEntries }, error);
  }
}

function table<K, V>(map: BpfMap, keys: Codec<K>, values: Codec<V>, change: Change): RuntimeTable<K, V> {
  return {
    get(key) {
      const found = map.get(keys.encode(key));
      return found === null ? undefined : values.decode(found);
    },
    set: (key, value) => change(() => put(map, keys.encode(key), values.encode(value))),
    delete: (key) => change(() => map.delete(keys.encode(key))),
    entries: () => map.entries().map(([key, value]) => [keys.decode(key), values.decode(value)]),
  };
}

/** All keys but those of the trie begin with the set's number. The head is written last and deleted first. */
const SET_MAPS = {
  head: { map: 'rt_sets', setOffset: 0 },
  paths: { map: 'rt_paths', setOffset: 0 },
  addresses: { map: 'rt_addresses', setOffset: 4 },
  values: { map: 'rt_values', setOffset: 0 },
  sources: { map: 'rt_sources', setOffset: 0 },
} as const satisfies Record<SetPart, { map: RuntimeMapName; setOffset: number }>;

const FILL: readonly RuntimeMapName[] = [
  ...(['rt_pods', 'rt_containers', 'rt_cgroups', 'rt_born', 'rt_sets', 'rt_paths'] as const),
  ...(['rt_addresses', 'rt_values', 'rt_sources', 'rt_mounts', 'rt_shares', 'rt_tasks', 'rt_sockets'] as const),
];

const byPart = <T>(of: (part: SetPart) => T): Record<SetPart, T> =>
  Object.fromEntries(SET_PARTS.map((part) => [part, of(part)])) as Record<SetPart, T>;

/** Keys of a map by the number of their set, one after another. */
function keysByNumber(map: BpfMap, setOffset: number): Map<number, Buffer> {
  const all = map.keys();
  const size = map.info.keySizeBytes;
  const lengths = new Map<number, number>();
  const each = (take: (number: number, at: number) => void) => {
    for (let at = 0; at < all.length; at += size) take(all.readUInt32LE(at + setOffset), at);
  };
  each((number) => void lengths.set(number, (lengths.get(number) ?? 0) + size));
  const filled = new Map([...lengths].map(([number, length]) => [number, { keys: Buffer.alloc(length), at: 0 }]));
  each((number, at) => {
    const own = filled.get(number) as { keys: Buffer; at: number };
    own.at += all.copy(own.keys, own.at, at, at + size);
  });
  return new Map([...filled].map(([number, { keys }]) => [number, keys]));
}

function setFunctions(raw: RuntimeRawMaps, change: Change) {
  const mapOf = (part: SetPart) => raw[SET_MAPS[part].map];
  /** Only this process writes them, so they are counted by walking the maps once. */
  let entries: Record<SetPart, number> | null = null;
  const changed = (part: SetPart, by: number) => {
    if (entries) entries[part] += by;
  };
  return {
    writeSet({ head, ...rest }: EncodedRuntimeSet): void {
      for (const part of ['sources', 'values', 'addresses', 'paths'] as const)
        for (const { key, value } of rest[part]) {
          put(mapOf(part), key, value);
          changed(part, 1);
        }
      put(mapOf('head'), head.key, head.value);
      changed('head', 1);
    },
    deleteSet(keys: RuntimeSetKeys): void {
      change(() => {
        for (const part of SET_PARTS) {
          const map = mapOf(part);
          const size = map.info.keySizeBytes;
          for (let at = 0; at < keys[part].length; at += size)
            if (map.delete(keys[part].subarray(at, at + size))) changed(part, -1);
        }
      });
    },
    setKeys(): Map<number, RuntimeSetKeys> {
      const found = new Map<number, Record<SetPart, Buffer>>();
      for (const part of SET_PARTS)
        for (const [number, keys] of keysByNumber(mapOf(part), SET_MAPS[part].setOffset)) {
          const set = found.get(number) ?? byPart(() => Buffer.alloc(0));
          found.set(number, set);
          set[part] = keys;
        }
      return found;
    },
    setEntries: (keys: RuntimeSetKeys) => byPart((part) => keys[part].length / mapOf(part).info.keySizeBytes),
    setCapacities: byPart((part) => mapOf(part).info.maxEntries),
    countSets(): Record<SetPart, number> {
      entries ??= byPart((part) => mapOf(part).count());
      return entries;
    },
  };
}

function counterFunctions(map: BpfMap) {
  const cells = map.info.maxEntries;
  const check = (base: number, count: number) =>
    assert(base >= 0 && count >= 0 && base + count <= cells, `cells ${base}+${count} are not within ${cells}`);
  return {
    counterCells: cells,
    counters(base: number, count: number): bigint[] {
      check(base, count);
      return Array.from({ length: count }, (_, i) => map.get(encodeU32(base + i))!.readBigUInt64LE());
    },
    zeroCounters(base: number, count: number): void {
      check(base, count);
      for (let i = 0; i < count; i++) map.set(encodeU32(base + i), encodeU64(0n));
    },
  };
}

function readLosses(map: BpfMap): Record<RuntimeLoss, bigint> {
  const { maxEntries } = map.info;
  const sum = (index: number) => {
    // A pinned map of an earlier release has fewer entries.
    if (index >= maxEntries) return 0n;
    return map.perCpu(map.get(encodeU32(index))!).reduce((total, cell) => total + cell.readBigUInt64LE(), 0n);
  };
  return Object.fromEntries(RUNTIME_LOSSES.map((name, index) => [name, sum(index)])) as Record<RuntimeLoss, bigint>;
}

/** RuntimeMaps over open maps, which the caller closes. */
export function runtimeMaps(raw: RuntimeRawMaps): RuntimeMaps {
  const change = changeOf(raw.rt_cache_control);
  const { countSets, ...sets } = setFunctions(raw, change);
  const counts = new Map(FILL.map((name) => [name, new EntryCount(raw[name])]));
  const partOf = new Map(SET_PARTS.map((part) => [SET_MAPS[part].map as RuntimeMapName, part]));
  const entriesOf = (name: RuntimeMapName): number => {
    // Counting the entries of this one is a system call for each task of the node.
    if (name === 'rt_tasks') return decodeTasks(raw.rt_totals.get(encodeU32(0))!);
    const part = partOf.get(name);
    return part === undefined ? (counts.get(name) as EntryCount).read() : countSets()[part];
  };
  return {
    pods: table(raw.rt_pods, UIDS, SUBJECTS, change),
    containers: table(raw.rt_containers, IDS, SUBJECTS, change),
    cgroups: table(raw.rt_cgroups, IDS, UIDS, change),
    born(cgroupId) {
      const found = raw.rt_born.get(encodeU64(cgroupId));
      return found === null ? undefined : decodeBirth(found);
    },
    ...sets,
    ...counterFunctions(raw.rt_counters),
    maxSubjects: raw.rt_buckets.info.maxEntries,
    losses: () => readLosses(raw.rt_losses),
    settings: () => decodeRuntimeSettings(raw.rt_settings.get(encodeU32(0))!),
    setSettings: (settings) => change(() => raw.rt_settings.set(encodeU32(0), encodeRuntimeSettings(settings))),
    cacheLocks: () => cacheLocks(raw.rt_cache_control),
    setCacheLocks: (locks) => setCacheLocks(raw.rt_cache_control, locks),
    socketMaker(cookie) {
      const found = raw.rt_sockets.get(encodeU64(cookie));
      return found === null ? undefined : decodeSocketMaker(found);
    },
    fill: () =>
      Object.fromEntries(
        FILL.map((name) => [name, { entries: entriesOf(name), maxEntries: raw[name].info.maxEntries }]),
      ),
  };
}
