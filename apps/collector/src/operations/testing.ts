/**
 * Test helpers of operations: kernel maps in memory, a pod of the bus, and a policy that
 * denies programs.
 */
import {
  type EncodedRuntimeSet,
  RUNTIME_LOSSES,
  RuntimeError,
  type RuntimeMaps,
  type RuntimeSetKeys,
  type RuntimeSubject,
  type RuntimeTable,
} from '@bailiff/bpf';
import { PathKeyLayout, RtAddressKeyLayout, SourceKeyLayout, ValueKeyLayout } from '@bailiff/bpf/runtime-layout';
import type { RuntimePolicyInput } from '@bailiff/policy';
import type { PodIdentity } from '@bailiff/schemas';
import { samplePodIdentity } from '@bailiff/schemas/testing';
import type { AckedCells } from './counting/acked-cells.ts';

function tableOf<K, V>(): RuntimeTable<K, V> {
  const entries = new Map<K, V>();
  return {
    get: (key) => entries.get(key),
    set: (key, value) => void entries.set(key, value),
    delete: (key) => entries.delete(key),
    entries: () => [...entries],
  };
}

export interface MemoryMaps extends RuntimeMaps {
  /** Complete sets in the kernel. */
  readonly sets: Set<number>;
  /** Limit of sets. */
  maxSets: number;
  /** Counts operations in a cell of a subject. */
  count(subject: RuntimeSubject, cell: number, times?: number): void;
}

const EMPTY = Buffer.alloc(0);
const NO_KEYS: RuntimeSetKeys = { head: EMPTY, paths: EMPTY, addresses: EMPTY, values: EMPTY, sources: EMPTY };
const HEAD_KEY_BYTES = 4;
const MANY = 1 << 20;

function encodeU32(value: number): Buffer {
  const buffer = Buffer.alloc(HEAD_KEY_BYTES);
  buffer.writeUInt32LE(value);
  return buffer;
}

export const SETTINGS = {
  hashKey: Buffer.alloc(16, 7),
  hostMountNs: 1,
  sampleBurst: 8,
  samplesPerSecond: 10,
  abi: 1,
  maxTasks: 1024,
};

export function memoryMaps(cells = 1024): MemoryMaps {
  const counters = new BigUint64Array(cells);
  const sets = new Set<number>();
  const numberOf = ({ head }: EncodedRuntimeSet) => head.key.readUInt32LE();
  const maps: MemoryMaps = {
    pods: tableOf(),
    containers: tableOf(),
    cgroups: tableOf(),
    cacheLocks: () => null,
    setCacheLocks: () => {},
    born: () => undefined,
    sets,
    maxSets: 64,
    writeSet(set) {
      if (sets.size >= maps.maxSets) throw new RuntimeError('ERR_RUNTIME_MAP_FULL', 'map rt_sets is full');
      sets.add(numberOf(set));
    },
    deleteSet: ({ head }) => void (head.length > 0 && sets.delete(head.readUInt32LE())),
    setKeys: () => new Map([...sets].map((number) => [number, { ...NO_KEYS, head: encodeU32(number) }])),
    setEntries: (keys) => ({
      head: keys.head.length / HEAD_KEY_BYTES,
      paths: keys.paths.length / PathKeyLayout.size,
      addresses: keys.addresses.length / RtAddressKeyLayout.size,
      values: keys.values.length / ValueKeyLayout.size,
      sources: keys.sources.length / SourceKeyLayout.size,
    }),
    setCapacities: { head: MANY, paths: MANY, addresses: MANY, values: MANY, sources: MANY },
    counters: (base, count) => [...counters.subarray(base, base + count)],
    zeroCounters: (base, count) => void counters.fill(0n, base, base + count),
    counterCells: cells,
    maxSubjects: 16,
    losses: () => Object.fromEntries(RUNTIME_LOSSES.map((loss) => [loss, 0n])) as ReturnType<RuntimeMaps['losses']>,
    settings: () => ({ ...SETTINGS }),
    setSettings: () => undefined,
    socketMaker: () => undefined,
    fill: () => ({}),
    count(subject, cell, times = 1) {
      const at = subject.counterBase + cell;
      counters[at] = (counters[at] as bigint) + BigInt(times);
    },
  };
  return maps;
}

/** Acknowledged counts that outlive a process of a test, like the pinned map. */
export function memoryAcked(cells = 1024): AckedCells {
  const acked = new Float64Array(cells);
  return {
    read: (base, count) => acked.slice(base, base + count),
    write: (cell, value) => {
      acked[cell] = value;
    },
    zero: (base, count) => void acked.fill(0, base, base + count),
    close: () => undefined,
  };
}

export function podIdentity(digit: string, more: Partial<PodIdentity> = {}): PodIdentity {
  return samplePodIdentity({ uid: `${digit.repeat(8)}-0000-4000-8000-000000000000`, name: `web-${digit}`, ...more });
}

export const uidOf = (pod: PodIdentity): string => pod.uid.replaceAll('-', '');

/** JSON of a policy with one rule per path. */
export function denying(paths: Readonly<Record<string, string>>, more: RuntimePolicyInput = {}): string {
  const rules = Object.entries(paths).map(([name, path]) => ({
    name,
    action: 'block' as const,
    execute: { paths: [path], operations: ['execute' as const] },
  }));
  return JSON.stringify({ mode: 'enforce', rules, ...more });
}
