// Policy sets in maps of the kernel: written, found by the next process, counted and deleted.

import { execFileSync } from 'node:child_process';
import { mkdirSync, rmdirSync, unlinkSync } from 'node:fs';
import path from 'node:path';
import { temporaryDirectory } from '@bailiff/service/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { BpfMap, MAP_TYPE, NO_PREALLOC } from '../src/core/bpf-map.ts';
import { mountBpffs } from '../src/core/system.ts';
import { decodeCacheControl } from '../src/runtime/encode.ts';
import {
  PathKeyLayout,
  RtAddressKeyLayout,
  RtCacheControlLayout,
  RtSettingsLayout,
  RuntimeAbiValues,
  SourceKeyLayout,
  ValueKeyLayout,
} from '../src/runtime/layout.gen.ts';
import {
  type EncodedRuntimeSet,
  keysOfSet,
  RUNTIME_MAP_NAMES,
  type RuntimeMaps,
  type RuntimeRawMaps,
  runtimeMaps,
} from '../src/runtime/maps.ts';
import { openPinnedRuntimeMaps } from '../src/runtime/object.ts';

const KEY_BYTES: Readonly<Record<string, number>> = {
  rt_paths: PathKeyLayout.size,
  rt_addresses: RtAddressKeyLayout.size,
  rt_values: ValueKeyLayout.size,
  rt_sources: SourceKeyLayout.size,
};
const VALUE_BYTES: Readonly<Record<string, number>> = {
  rt_cache_control: RtCacheControlLayout.size,
  rt_settings: RtSettingsLayout.size,
};
const PARTS = { paths: 'rt_paths', addresses: 'rt_addresses', values: 'rt_values', sources: 'rt_sources' } as const;
const SIZE = 64;

let raw: RuntimeRawMaps;
let maps: RuntimeMaps;
beforeEach(() => {
  const make = (name: string) =>
    BpfMap.create({
      name,
      keySizeBytes: KEY_BYTES[name] ?? 4,
      valueSizeBytes: VALUE_BYTES[name] ?? 8,
      maxEntries: SIZE,
      ...(name === 'rt_addresses' ? { type: MAP_TYPE.lpmTrie, flags: NO_PREALLOC } : { type: MAP_TYPE.hash }),
    });
  raw = Object.fromEntries(RUNTIME_MAP_NAMES.map((name) => [name, make(name)])) as RuntimeRawMaps;
  // The programs count tasks here.
  raw.rt_totals.set(Buffer.alloc(4), Buffer.alloc(8));
  raw.rt_cache_control.set(Buffer.alloc(4), Buffer.alloc(RtCacheControlLayout.size));
  maps = runtimeMaps(raw);
});
afterEach(() => {
  for (const map of Object.values(raw)) map.close();
});

/** A set with `count` entries of each kind. */
function setOf(number: number, count: number): EncodedRuntimeSet {
  const value = Buffer.alloc(8);
  const entries = (map: string) =>
    Array.from({ length: count }, (_, n) => {
      const key = Buffer.alloc(KEY_BYTES[map] as number);
      const isTrie = map === 'rt_addresses';
      if (isTrie) key.writeUInt32LE((key.length - 4) * 8);
      key.writeUInt32LE(number, isTrie ? 4 : 0);
      key.writeUInt8(n + 1, key.length - 1);
      return { key, value };
    });
  const head = Buffer.alloc(4);
  head.writeUInt32LE(number);
  const { paths, addresses, values, sources } = PARTS;
  return {
    head: { key: head, value },
    paths: entries(paths),
    addresses: entries(addresses),
    values: entries(values),
    sources: entries(sources),
  };
}
const inKernel = () => [raw.rt_sets.count(), ...Object.values(PARTS).map((name) => raw[name].count())];
/** As the status shows it: counted once, then by what this process writes. */
const filled = () => {
  const fill = maps.fill();
  return ['rt_sets', ...Object.values(PARTS)].map((name) => fill[name]?.entries);
};

it('sets - the next process finds the keys of each, also of one without a head, and deletes them alone', () => {
  const sets = [setOf(1, 3), setOf(2, 5)];
  maps.writeSet(sets[0] as EncodedRuntimeSet);
  expect(filled()).toEqual([1, 3, 3, 3, 3]);
  maps.writeSet(sets[1] as EncodedRuntimeSet);
  expect([inKernel(), filled()]).toEqual([
    [2, 8, 8, 8, 8],
    [2, 8, 8, 8, 8],
  ]);
  const next = runtimeMaps(raw);
  const found = next.setKeys();
  expect([...found.keys()].sort()).toEqual([1, 2]);
  expect(next.setEntries(found.get(2) as never)).toEqual({ head: 1, paths: 5, addresses: 5, values: 5, sources: 5 });
  next.deleteSet(keysOfSet(sets[0] as EncodedRuntimeSet));
  expect(inKernel()).toEqual([1, 5, 5, 5, 5]);
  raw.rt_sets.delete((sets[1] as EncodedRuntimeSet).head.key);
  const torn = next.setKeys();
  expect([...torn.keys()]).toEqual([2]);
  next.deleteSet(torn.get(2) as never);
  expect(inKernel()).toEqual([0, 0, 0, 0, 0]);
});

it('sets - one that does not fit leaves nothing when its keys are deleted', () => {
  maps.writeSet(setOf(1, 40));
  const large = setOf(2, 30);
  filled();
  expect(() => maps.writeSet(large)).toThrow('is full');
  maps.deleteSet(keysOfSet(large));
  expect([inKernel(), filled()]).toEqual([
    [1, 40, 40, 40, 40],
    [1, 40, 40, 40, 40],
  ]);
});

it('cache of opens - each change has a later epoch without the flag, also one that fails, and keeps the locks', () => {
  const epoch = () => decodeCacheControl(raw.rt_cache_control.get(Buffer.alloc(4))!).epoch;
  const locks = { rename: 0xffffffff82a0c0c0n, mount: 0xffffffff82a0c0c8n };
  expect([maps.cacheLocks(), epoch()]).toEqual([null, 0n]);
  maps.setCacheLocks(locks);
  const set = setOf(1, 1);
  maps.writeSet(set);
  const before = epoch();
  maps.deleteSet(keysOfSet(set));
  const deleted = epoch();
  // These maps have shorter keys.
  expect(() => maps.pods.delete('0'.repeat(32))).toThrow();
  const failed = epoch();
  expect([before < deleted, deleted < failed, [before, deleted, failed].map((value) => value & 0xffn)]).toEqual([
    true,
    true,
    [0n, 0n, 0n],
  ]);
  expect(maps.cacheLocks()).toEqual(locks);
});

it('cache of opens - ends when the link of the program that counts new dentries is gone, and only then', () => {
  const pinDir = temporaryDirectory();
  mountBpffs(pinDir);
  const link = path.join(pinDir, 'runtime/links/handle_d_instantiate');
  try {
    for (const dir of ['maps', 'links']) mkdirSync(path.join(pinDir, 'runtime', dir), { recursive: true });
    maps.setSettings({
      hashKey: Buffer.alloc(16, 7),
      hostMountNs: 1,
      sampleBurst: 8,
      samplesPerSecond: 10,
      abi: RuntimeAbiValues.RUNTIME_ABI,
      maxTasks: SIZE,
    });
    for (const [name, map] of Object.entries(raw)) map.pin(path.join(pinDir, 'runtime/maps', name));
    raw.rt_totals.pin(link);
    using pinned = openPinnedRuntimeMaps(pinDir)!;
    const locks = { rename: 0xffffffff82a0c0c0n, mount: 0xffffffff82a0c0c8n };
    maps.setCacheLocks(locks);
    expect([pinned.checkCache(), maps.cacheLocks()]).toEqual([null, locks]);
    unlinkSync(link);
    expect(pinned.checkCache()).toBe('handle_d_instantiate is not attached any more: restart the collector');
    expect([pinned.checkCache(), maps.cacheLocks()]).toEqual([null, null]);
  } finally {
    execFileSync('umount', [pinDir]);
    rmdirSync(pinDir);
  }
});
