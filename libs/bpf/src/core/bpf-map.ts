/**
 * A BPF map: keys and values as Buffers, nothing of what they mean.
 *
 * Place in the path: bpf-object.ts or a pin → here → whoever knows the layout.
 * Invariants: a key has `keySizeBytes` and a value `valueBlockBytes` bytes, else TypeError. Values of per-CPU maps are one
 * Buffer of possible CPUs × the value size rounded up to 8; `perCpu` cuts it. Buffers returned are copies.
 * Errors: BpfError BPF_MAP, BPF_PIN, BPF_CLOSED. Close it, or leave it to the garbage collector.
 */
import { type NativeMap, type NativeMapInfo, native } from './native.ts';

/** The types that Bailiff uses, of the kernel's bpf_map_type. */
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

/** `set` flags: either way, only a new key (else EEXIST), only an existing one (else ENOENT). */
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

export class BpfMap implements Disposable {
  /** Fixed when the map was opened. */
  readonly info: NativeMapInfo;
  /** For the other classes of this package. */
  readonly native: NativeMap;

  constructor(handle: NativeMap) {
    this.native = handle;
    this.info = handle.info();
  }

  static create(options: CreateMapOptions): BpfMap {
    const { type, name = 'unnamed', keySizeBytes, valueSizeBytes, maxEntries, flags = 0 } = options;
    return new BpfMap(native().createMap(type, name, keySizeBytes, valueSizeBytes, maxEntries, flags));
  }

  static openPinned(path: string): BpfMap {
    return new BpfMap(native().openPinnedMap(path));
  }

  /** Null when there is no such key. */
  get(key: Uint8Array): Buffer | null {
    return this.native.get(key);
  }

  /**
   * For who reads often: no Buffer is made. False when there is no such key, and then the value is left as it was.
   * @param into of `valueBlockBytes` bytes, else TypeError
   */
  getInto(key: Uint8Array, into: Uint8Array): boolean {
    return this.native.getInto(key, into);
  }

  /** A full map is E2BIG (hash) or ENOSPC (LPM trie). */
  set(key: Uint8Array, value: Uint8Array, mode: UpdateMode = 'any'): void {
    this.native.set(key, value, UPDATE[mode]);
  }

  /** False when there was no such key. */
  delete(key: Uint8Array): boolean {
    return this.native.delete(key);
  }

  /** All entries, read in batches where the kernel can. While others write, an entry may be missed, never seen twice. */
  entries(): [key: Buffer, value: Buffer][] {
    const { count, keys, values } = this.native.entries();
    const { keySizeBytes, valueBlockBytes } = this.info;
    return Array.from({ length: count }, (_, i) => [
      keys.subarray(i * keySizeBytes, (i + 1) * keySizeBytes),
      values.subarray(i * valueBlockBytes, (i + 1) * valueBlockBytes),
    ]);
  }

  /** How many entries there are, without reading a value. While others delete, it may be too high. */
  count(): number {
    return this.native.count();
  }

  /** The block of a per-CPU map as one Buffer a possible CPU. */
  perCpu(block: Buffer): Buffer[] {
    const strideBytes = Math.ceil(this.info.valueSizeBytes / 8) * 8;
    return Array.from({ length: block.length / strideBytes }, (_, i) =>
      block.subarray(i * strideBytes, i * strideBytes + this.info.valueSizeBytes),
    );
  }

  /** Unpinning is unlink. EEXIST when the path is taken. */
  pin(path: string): void {
    this.native.pin(path);
  }

  close(): void {
    this.native.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
