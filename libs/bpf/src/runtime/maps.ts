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
import { BpfError } from '../core/errors.ts';
import { encodeU32, encodeU64 } from '../core/integers.ts';
import {
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
 * rt_buckets and rt_scratch.
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
  deleteSet(set: EncodedRuntimeSet): void;
  /**
   * Deletes all entries of these sets, for sets whose content is unknown after a restart. Reads the
   * maps whole.
   */
  deleteSetNumbers(numbers: ReadonlySet<number>): void;
  /** Numbers of the sets that have a head. */
  setNumbers(): number[];
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

function table<K, V>(map: BpfMap, keys: Codec<K>, values: Codec<V>): RuntimeTable<K, V> {
  return {
    get(key) {
      const found = map.get(keys.encode(key));
      return found === null ? undefined : values.decode(found);
    },
    set: (key, value) => put(map, keys.encode(key), values.encode(value)),
    delete: (key) => map.delete(keys.encode(key)),
    entries: () => map.entries().map(([key, value]) => [keys.decode(key), values.decode(value)]),
  };
}

/**
 * Maps with one entry per rule or path of a set. All keys but those of the trie begin with the
 * set's number.
 */
const SET_MAPS = [
  { part: 'sources', map: 'rt_sources', setOffset: 0 },
  { part: 'values', map: 'rt_values', setOffset: 0 },
  { part: 'addresses', map: 'rt_addresses', setOffset: 4 },
  { part: 'paths', map: 'rt_paths', setOffset: 0 },
] as const;

const FILL: readonly RuntimeMapName[] = [
  ...(['rt_pods', 'rt_containers', 'rt_cgroups', 'rt_born', 'rt_sets', 'rt_paths'] as const),
  ...(['rt_addresses', 'rt_values', 'rt_sources', 'rt_mounts', 'rt_shares', 'rt_tasks', 'rt_sockets'] as const),
];

function setFunctions(raw: RuntimeRawMaps) {
  return {
    writeSet(set: EncodedRuntimeSet): void {
      for (const { part, map } of SET_MAPS) for (const { key, value } of set[part]) put(raw[map], key, value);
      put(raw.rt_sets, set.head.key, set.head.value);
    },
    deleteSet(set: EncodedRuntimeSet): void {
      raw.rt_sets.delete(set.head.key);
      for (const { part, map } of SET_MAPS) for (const { key } of set[part]) raw[map].delete(key);
    },
    deleteSetNumbers(numbers: ReadonlySet<number>): void {
      for (const number of numbers) raw.rt_sets.delete(encodeU32(number));
      for (const { map, setOffset } of SET_MAPS)
        for (const [key] of raw[map].entries()) if (numbers.has(key.readUInt32LE(setOffset))) raw[map].delete(key);
    },
    setNumbers: () => raw.rt_sets.entries().map(([key]) => key.readUInt32LE()),
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
  return {
    pods: table(raw.rt_pods, UIDS, SUBJECTS),
    containers: table(raw.rt_containers, IDS, SUBJECTS),
    cgroups: table(raw.rt_cgroups, IDS, UIDS),
    born(cgroupId) {
      const found = raw.rt_born.get(encodeU64(cgroupId));
      return found === null ? undefined : decodeBirth(found);
    },
    ...setFunctions(raw),
    ...counterFunctions(raw.rt_counters),
    maxSubjects: raw.rt_buckets.info.maxEntries,
    losses: () => readLosses(raw.rt_losses),
    settings: () => decodeRuntimeSettings(raw.rt_settings.get(encodeU32(0))!),
    setSettings: (settings) => raw.rt_settings.set(encodeU32(0), encodeRuntimeSettings(settings)),
    socketMaker(cookie) {
      const found = raw.rt_sockets.get(encodeU64(cookie));
      return found === null ? undefined : decodeSocketMaker(found);
    },
    fill: () =>
      Object.fromEntries(
        FILL.map((name) => {
          // Counting the entries of this one is a system call for each task of the node.
          const entries = name === 'rt_tasks' ? decodeTasks(raw.rt_totals.get(encodeU32(0))!) : raw[name].count();
          return [name, { entries, maxEntries: raw[name].info.maxEntries }];
        }),
      ),
  };
}
