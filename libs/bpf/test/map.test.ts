/** Maps of every kind that Bailiff uses: get, set, delete, batches, per-CPU blocks, full maps. */
import { beforeEach, describe, expect, test } from 'vitest';
import { BpfMap, MAP_TYPE, NO_PREALLOC, possibleCpus } from '../src/index.ts';
import { needsRoot } from './helpers.ts';

function u32(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32LE(value);
  return buffer;
}

function u64(value: bigint): Buffer {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64LE(value);
  return buffer;
}

function create(type: keyof typeof MAP_TYPE, valueSizeBytes: number, maxEntries: number, flags = 0): BpfMap {
  return BpfMap.create({
    type: MAP_TYPE[type],
    name: type.slice(0, 15),
    keySizeBytes: 4,
    valueSizeBytes,
    maxEntries,
    flags,
  });
}

describe('native map', () => {
  beforeEach(needsRoot);

  test('hash - set, get, replace, delete', () => {
    using map = create('hash', 8, 4);
    expect(map.get(u32(1))).toBeNull();
    map.set(u32(1), u64(10n));
    expect(map.get(u32(1))).toEqual(u64(10n));
    map.set(u32(1), u64(11n), 'replace');
    expect(map.get(u32(1))).toEqual(u64(11n));
    map.set(u32(2), u64(12n));
    expect(map.count()).toBe(2);
    expect(map.delete(u32(1))).toBe(true);
    expect(map.delete(u32(1))).toBe(false);
    expect(map.count()).toBe(1);
    expect(map.get(u32(1))).toBeNull();
  });

  test('hash - create and replace are refused on the wrong state', () => {
    using map = create('hash', 8, 4);
    expect(() => map.set(u32(1), u64(1n), 'replace')).toThrow(
      expect.objectContaining({ code: 'BPF_MAP', operation: 'map.set', errnoName: 'ENOENT' }),
    );
    map.set(u32(1), u64(1n), 'create');
    expect(() => map.set(u32(1), u64(2n), 'create')).toThrow(expect.objectContaining({ errnoName: 'EEXIST' }));
    expect(map.get(u32(1))).toEqual(u64(1n));
  });

  test('hash - a full map is reported, and accepts the entry once there is room', () => {
    using map = create('hash', 8, 2);
    map.set(u32(1), u64(1n));
    map.set(u32(2), u64(2n));
    expect(() => map.set(u32(3), u64(3n))).toThrow(
      expect.objectContaining({ errnoName: 'E2BIG', hint: 'the map is full' }),
    );
    map.delete(u32(1));
    map.set(u32(3), u64(3n));
  });

  test.each([0, 1, 255, 256, 257, 3000])('hash - entries returns each of %d entries once', (count) => {
    using map = create('hash', 8, 4096);
    for (let i = 0; i < count; i++) map.set(u32(i), u64(BigInt(i) * 3n));
    const entries = map.entries();
    const seen = new Map(entries.map(([key, value]) => [key.readUInt32LE(), value.readBigUInt64LE()]));
    expect(entries).toHaveLength(count);
    expect(seen.size).toBe(count);
    for (const [key, value] of seen) expect(value).toBe(BigInt(key) * 3n);
  });

  test('array - entries returns all slots, and none can be deleted', () => {
    using map = create('array', 8, 300);
    map.set(u32(299), u64(9n));
    const entries = map.entries();
    expect(entries).toHaveLength(300);
    expect(entries[299]).toEqual([u32(299), u64(9n)]);
    expect(() => map.delete(u32(0))).toThrow(expect.objectContaining({ errnoName: 'EINVAL' }));
    expect(() => map.set(u32(300), u64(1n))).toThrow(expect.objectContaining({ errnoName: 'E2BIG' }));
  });

  test.each(['perCpuArray', 'perCpuHash'] as const)(
    '%s - a value is one block of possible CPUs, rounded up to 8',
    (type) => {
      using map = create(type, 12, 5);
      const cpus = possibleCpus();
      expect(map.info).toMatchObject({ valueSizeBytes: 12, valueBlockBytes: cpus * 16 });
      const block = Buffer.alloc(cpus * 16);
      for (let cpu = 0; cpu < cpus; cpu++) block.writeUInt32LE(cpu + 1, cpu * 16);
      map.set(u32(2), block);
      const read = map.get(u32(2));
      expect(read).toHaveLength(cpus * 16);
      expect(map.perCpu(read!).map((value) => [value.length, value.readUInt32LE()])).toEqual(
        Array.from({ length: cpus }, (_, cpu) => [12, cpu + 1]),
      );
      expect(() => map.set(u32(2), Buffer.alloc(12))).toThrow(TypeError);
      const entry = map.entries().find(([key]) => key.equals(u32(2)));
      expect(map.perCpu(entry![1]).map((value) => value.readUInt32LE())).toEqual(
        Array.from({ length: cpus }, (_, cpu) => cpu + 1),
      );
    },
  );

  test('LPM trie - longest match on get, entries as stored, and a full map is reported', () => {
    using map = BpfMap.create({
      type: MAP_TYPE.lpmTrie,
      keySizeBytes: 8,
      valueSizeBytes: 4,
      maxEntries: 2,
      flags: NO_PREALLOC,
    });
    const prefix = (length: number, ...address: number[]) => Buffer.concat([u32(length), Buffer.from(address)]);
    map.set(prefix(8, 10, 0, 0, 0), u32(8));
    map.set(prefix(24, 10, 1, 2, 0), u32(24));
    expect(map.get(prefix(32, 10, 1, 2, 3))).toEqual(u32(24));
    expect(map.get(prefix(32, 10, 9, 9, 9))).toEqual(u32(8));
    expect(map.get(prefix(32, 11, 0, 0, 1))).toBeNull();
    expect(map.entries().map(([, value]) => value.readUInt32LE())).toHaveLength(2);
    expect(() => map.set(prefix(16, 12, 0, 0, 0), u32(1))).toThrow(
      expect.objectContaining({ errnoName: 'ENOSPC', hint: 'the map is full' }),
    );
  });

  test('LRU hash - works and never refuses', () => {
    using map = create('lruHash', 8, 16);
    for (let i = 0; i < 64; i++) map.set(u32(i), u64(1n));
    expect(map.entries().length).toBeLessThanOrEqual(16);
  });

  test('ring buffer - has no entries to list', () => {
    using map = BpfMap.create({ type: MAP_TYPE.ringBuffer, keySizeBytes: 0, valueSizeBytes: 0, maxEntries: 4096 });
    expect(() => map.entries()).toThrow(expect.objectContaining({ code: 'BPF_MAP', errnoName: 'EOPNOTSUPP' }));
  });

  test('create - a refusal by the kernel is a typed error, and the name is kept', () => {
    expect(() => create('hash', 8, 0)).toThrow(
      expect.objectContaining({ operation: 'map.create', errnoName: 'EINVAL' }),
    );
    using map = BpfMap.create({ type: MAP_TYPE.hash, name: 'pods', keySizeBytes: 2, valueSizeBytes: 1, maxEntries: 3 });
    expect(map.info).toMatchObject({ name: 'pods', type: 1, keySizeBytes: 2, valueSizeBytes: 1, maxEntries: 3 });
    expect(map.info.id).toBeGreaterThan(0);
  });

  test('buffers - a returned value is a copy, and a view is accepted as a key', () => {
    using map = create('hash', 8, 4);
    const memory = Buffer.concat([Buffer.from([0xee]), u32(5), u64(50n)]);
    map.set(memory.subarray(1, 5), memory.subarray(5));
    memory.fill(0);
    const first = map.get(u32(5))!;
    first.fill(0xff);
    expect(map.get(new Uint8Array([5, 0, 0, 0]))).toEqual(u64(50n));
  });

  test('buffers - a value is read into memory of the caller, and nothing is written if there is no value or no room', () => {
    using map = create('hash', 8, 4);
    map.set(u32(5), u64(50n));
    const memory = Buffer.alloc(10, 0xee);
    expect(map.getInto(u32(6), memory.subarray(1, 9))).toBe(false);
    expect(memory.every((byte) => byte === 0xee)).toBe(true);
    expect(map.getInto(u32(5), memory.subarray(1, 9))).toBe(true);
    expect(memory).toEqual(Buffer.concat([Buffer.from([0xee]), u64(50n), Buffer.from([0xee])]));
    for (const size of [7, 9])
      expect(() => map.getInto(u32(5), memory.subarray(0, size))).toThrow(/value must have 8 bytes, not/);
    expect(() => map.getInto(u32(5), 'text' as unknown as Buffer)).toThrow(TypeError);
    map.close();
    expect(() => map.getInto(u32(5), u64(0n))).toThrow(expect.objectContaining({ code: 'BPF_CLOSED' }));
  });
});
