/**
 * rt_cache_control: whether decisions about opens are cached, and until when all that is remembered of
 * policies holds (bpf/runtime/cache.h).
 *
 * Data path: maps.ts and object.ts → here → one map. Invariants: the epoch only grows as long as the
 * map exists. One process at a time writes; a detach may end the cache beside it.
 */
import type { BpfMap } from '../core/bpf-map.ts';
import { encodeU32 } from '../core/integers.ts';
import { type CacheControl, type CacheLocks, decodeCacheControl, encodeCacheControl } from './encode.ts';
import { CacheEpochValues } from './layout.gen.ts';

const CHANGING = BigInt(CacheEpochValues.CACHE_EPOCH_CHANGING);
const EPOCH_SHIFT = BigInt(CacheEpochValues.CACHE_EPOCH_SHIFT);

const read = (map: BpfMap): CacheControl => decodeCacheControl(map.get(encodeU32(0))!);

const put = (map: BpfMap, next: (control: CacheControl) => Partial<CacheControl>): void => {
  const control = read(map);
  map.set(encodeU32(0), encodeCacheControl({ ...control, ...next(control) }));
};

/** Writes something that decisions read, and ends the cached decisions of before. */
export type Change = <T>(write: () => T) => T;

/**
 * While `write` runs, programs neither use nor fill a cache (cache.h). If this process ends
 * meanwhile, that lasts until the next one opens the maps.
 */
export function changeOf(map: BpfMap): Change {
  return (write) => {
    put(map, ({ epoch }) => ({ epoch: epoch | CHANGING }));
    try {
      return write();
    } finally {
      // A program may read half of a number that is written, so it is written under the flag.
      put(map, ({ epoch }) => ({ epoch: (((epoch >> EPOCH_SHIFT) + 1n) << EPOCH_SHIFT) | CHANGING }));
      put(map, ({ epoch }) => ({ epoch: epoch & ~CHANGING }));
    }
  };
}

/** Null: decisions about opens are not cached. */
export const cacheLocks = (map: BpfMap): CacheLocks | null => read(map).locks;

export function setCacheLocks(map: BpfMap, locks: CacheLocks | null): void {
  changeOf(map)(() => put(map, () => ({ locks })));
}
