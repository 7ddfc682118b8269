/**
 * SipHash-1-3 and the chain of path hashes, equal to those of the kernel programs
 * (bpf/runtime/walk.h).
 *
 * h0 = siphash13(key, "/"); h(i) = siphash13(key, le64(h(i-1)) || name of component i). Each pin
 * directory has a random key, so that a pod cannot create colliding names. A word is two 32-bit
 * halves, because BigInt is ten times slower and a policy change hashes tens of thousands of
 * components within a second.
 */
import assert from 'node:assert/strict';

/** 16 bytes, as in `rt_settings.hash_key` (two little-endian words). */
export type HashKey = Uint8Array;

/** v0..v3 as (low, high) pairs. */
type State = Int32Array;

function add(v: State, to: number, from: number): void {
  const low = (v[to]! >>> 0) + (v[from]! >>> 0);
  v[to + 1] = v[to + 1]! + v[from + 1]! + (low > 0xffff_ffff ? 1 : 0);
  v[to] = low;
}

function xorRotated(v: State, word: number, bits: number, other: number): void {
  const low = v[word]!;
  const high = v[word + 1]!;
  v[word] = ((low << bits) | (high >>> (32 - bits))) ^ v[other]!;
  v[word + 1] = ((high << bits) | (low >>> (32 - bits))) ^ v[other + 1]!;
}

function swapHalves(v: State, word: number): void {
  const low = v[word]!;
  v[word] = v[word + 1]!;
  v[word + 1] = low;
}

function round(v: State): void {
  add(v, 0, 2);
  xorRotated(v, 2, 13, 0);
  swapHalves(v, 0);
  add(v, 4, 6);
  xorRotated(v, 6, 16, 4);
  add(v, 0, 6);
  xorRotated(v, 6, 21, 0);
  add(v, 4, 2);
  xorRotated(v, 2, 17, 4);
  swapHalves(v, 4);
}

const INITIAL = [0x70736575, 0x736f6d65, 0x6e646f6d, 0x646f7261, 0x6e657261, 0x6c796765, 0x79746573, 0x74656462];

/** SipHash with one compression and three finalisation rounds. `key` is 16 bytes. */
export function siphash13(key: HashKey, data: Uint8Array): bigint {
  assert.equal(key.length, 16, 'a hash key is 16 bytes');
  const keys = new DataView(key.buffer, key.byteOffset, 16);
  const words = new DataView(data.buffer, data.byteOffset, data.length);
  const v = new Int32Array(8);
  for (let i = 0; i < 8; i++) v[i] = INITIAL[i]! ^ keys.getInt32((i % 4) * 4, true);
  const whole = data.length & ~7;
  const absorb = (low: number, high: number) => {
    v[6] = v[6]! ^ low;
    v[7] = v[7]! ^ high;
    round(v);
    v[0] = v[0]! ^ low;
    v[1] = v[1]! ^ high;
  };
  for (let at = 0; at < whole; at += 8) absorb(words.getInt32(at, true), words.getInt32(at + 4, true));
  let low = 0;
  let high = data.length << 24;
  for (let i = whole; i < data.length; i++) {
    if (i - whole < 4) low |= data[i]! << ((i - whole) * 8);
    else high |= data[i]! << ((i - whole - 4) * 8);
  }
  absorb(low, high);
  v[4] = v[4]! ^ 0xff;
  for (let i = 0; i < 3; i++) round(v);
  const resultLow = (v[0]! ^ v[2]! ^ v[4]! ^ v[6]!) >>> 0;
  const resultHigh = (v[1]! ^ v[3]! ^ v[5]! ^ v[7]!) >>> 0;
  return (BigInt(resultHigh) << 32n) | BigInt(resultLow);
}

/**
 * Names of a path's components; none for the root. A file outside every mount namespace (memfd,
 * detached mounts) has a root of its own, written as the empty text. So `memfd:x` is below it and
 * never equals a path of a container.
 */
export function components(path: string): string[] {
  if (path === '/' || path === '') return [];
  return (path.startsWith('/') ? path.slice(1) : path).split('/');
}

/** Hash of a child: one step of the chain. */
export function childHash(key: HashKey, parent: bigint, name: string): bigint {
  const bytes = Buffer.from(name);
  const data = Buffer.allocUnsafe(8 + bytes.length);
  data.writeBigUInt64LE(parent);
  bytes.copy(data, 8);
  return siphash13(key, data);
}

/** Start of a path's chain. */
export function rootHash(key: HashKey, path = '/'): bigint {
  return siphash13(key, Buffer.from(path.startsWith('/') ? '/' : ''));
}

/** Hashes paths under one key and caches the hashes of directories. Lives for one compilation. */
export class PathHasher {
  readonly #key: HashKey;
  readonly #known = new Map<string, bigint>();

  constructor(key: HashKey) {
    this.#key = key;
    for (const root of ['/', '']) this.#known.set(root, rootHash(key, root));
  }

  /**
   * `path` is absolute and normalised by libs/policy, or belongs to a file outside every mount
   * namespace.
   */
  path(path: string): bigint {
    const known = this.#known.get(path);
    if (known !== undefined) return known;
    const slash = path.lastIndexOf('/');
    const parent = slash === 0 ? '/' : path.slice(0, Math.max(slash, 0));
    const hash = childHash(this.#key, this.path(parent), path.slice(slash + 1));
    this.#known.set(path, hash);
    return hash;
  }

  /** Hash of a basename suffix or of an abstract unix name. */
  text(text: string): bigint {
    return siphash13(this.#key, Buffer.from(text));
  }
}

/** Chain hash of one path. */
export function pathHash(key: HashKey, path: string): bigint {
  return new PathHasher(key).path(path);
}
