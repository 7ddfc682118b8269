/**
 * A BPF map with keys and values as Buffers, without their meaning.
 *
 * Place in the data path: bpf-object.ts or a pin → here → typed maps.
 * Invariants: a key has `keySizeBytes` and a value `valueBlockBytes` bytes, otherwise TypeError.
 * The value of a per-CPU map is one Buffer of possible CPUs × the value size rounded up to 8;
 * `perCpu` splits it. Returned Buffers are copies.
 * Errors: BpfError BPF_MAP, BPF_PIN, BPF_CLOSED. Close it, or leave it to the garbage collector.
 */
import { type NativeMap, type NativeMapInfo, native } from './native.ts';
import { NativeHandle } from './native-handle.ts';

/** Map types that Bailiff uses, as in the kernel's bpf_map_type. */
export const MAP_TYPE = {
  hash: 1,
  array: 2,
  perCpuHash: 5,
  perCpuArray: 6,
  lruHash: 9,
  lpmTrie: 11,
  ringBuffer: 27,
  taskStorage: 29,
  cgroupStorage: 32,
} as const;

/** BPF_F_NO_PREALLOC, which an LPM trie needs. */
export const NO_PREALLOC = 1;

/**
 * Flags of `set`: any key, only a new key (otherwise EEXIST), only an existing one (otherwise
 * ENOENT).
 */
export const UPDATE = { any: 0, create: 1, replace: 2 } as const;
export type UpdateMode = keyof typeof UPDATE;

export interface CreateMapOptions {
  /** A value of MAP_TYPE. */
  readonly type: number;
  /** At most 15 characters. Default `unnamed`. */
  readonly name?: string;
  readonly keySizeBytes: number;
  readonly valueSizeBytes: number;
  readonly maxEntries: number;
  /** BPF_F_*; default 0. */
  readonly flags?: number;
}

export class BpfMap extends NativeHandle<NativeMap> {
  /** Fixed since the map was opened. */
  readonly info: NativeMapInfo;

  constructor(handle: NativeMap) {
    super(handle);
    this.info = handle.info();
  }

  static create(options: CreateMapOptions): BpfMap {
    const { type, name = 'unnamed', keySizeBytes, valueSizeBytes, maxEntries, flags = 0 } = options;
    return new BpfMap(native().createMap(type, name, keySizeBytes, valueSizeBytes, maxEntries, flags));
  }

  static openPinned(path: string): BpfMap {
    return new BpfMap(native().openPinnedMap(path));
  }

  /** Null if there is no such key. */
  get(key: Uint8Array): Buffer | null {
    return this.native.get(key);
  }

  /**
   * For frequent reads: allocates no Buffer. Returns false if there is no such key, and leaves the
   * value as it was. @param into of `valueBlockBytes` bytes, otherwise TypeError
   */
  getInto(key: Uint8Array, into: Uint8Array): boolean {
    return this.native.getInto(key, into);
  }

  /** A full map is E2BIG (hash) or ENOSPC (LPM trie). */
  set(key: Uint8Array, value: Uint8Array, mode: UpdateMode = 'any'): void {
    this.native.set(key, value, UPDATE[mode]);
  }

  /** False if there was no such key. */
  delete(key: Uint8Array): boolean {
    return this.native.delete(key);
  }

  /**
   * All entries, read in batches if the kernel supports it. While others write, an entry may be
   * missed, but is never returned twice.
   */
  entries(): [key: Buffer, value: Buffer][] {
    const { count, keys, values } = this.native.entries();
    const { keySizeBytes, valueBlockBytes } = this.info;
    return Array.from({ length: count }, (_, i) => [
      keys.subarray(i * keySizeBytes, (i + 1) * keySizeBytes),
      values.subarray(i * valueBlockBytes, (i + 1) * valueBlockBytes),
    ]);
  }

  /** All keys one after another, like `entries`, without a Buffer for each. */
  keys(): Buffer {
    return this.native.entries().keys;
  }

  /** Number of entries, without reading values. While others delete, it may be too high. */
  count(): number {
    return this.native.count();
  }

  /** Splits the block of a per-CPU map into one Buffer per possible CPU. */
  perCpu(block: Buffer): Buffer[] {
    const strideBytes = Math.ceil(this.info.valueSizeBytes / 8) * 8;
    return Array.from({ length: block.length / strideBytes }, (_, i) =>
      block.subarray(i * strideBytes, i * strideBytes + this.info.valueSizeBytes),
    );
  }

  /** Unlink the path to unpin. EEXIST if the path exists. */
  pin(path: string): void {
    this.native.pin(path);
  }
}
