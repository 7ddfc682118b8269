import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { childHash, PathHasher, pathHash, rootHash, siphash13 } from './hash.ts';

const upTo = (length: number) => Uint8Array.from({ length }, (_, i) => i);
const ZERO_KEY = new Uint8Array(16);
const COUNTING_KEY = upTo(16);

/** SipHash as defined in its paper, on BigInt. */
function reference(key: Uint8Array, data: Uint8Array): bigint {
  const mask = (1n << 64n) - 1n;
  const word = (bytes: Uint8Array) => bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
  const [k0, k1] = [word(key.subarray(0, 8)), word(key.subarray(8))];
  let [v0, v1, v2, v3] = [
    k0 ^ 0x736f6d6570736575n,
    k1 ^ 0x646f72616e646f6dn,
    k0 ^ 0x6c7967656e657261n,
    k1 ^ 0x7465646279746573n,
  ];
  const rotate = (value: bigint, bits: bigint) => ((value << bits) | (value >> (64n - bits))) & mask;
  const round = () => {
    v0 = (v0 + v1) & mask;
    v1 = rotate(v1, 13n) ^ v0;
    v0 = rotate(v0, 32n);
    v2 = (v2 + v3) & mask;
    v3 = rotate(v3, 16n) ^ v2;
    v0 = (v0 + v3) & mask;
    v3 = rotate(v3, 21n) ^ v0;
    v2 = (v2 + v1) & mask;
    v1 = rotate(v1, 17n) ^ v2;
    v2 = rotate(v2, 32n);
  };
  const padded = new Uint8Array((data.length & ~7) + 8);
  padded.set(data);
  padded[padded.length - 1] = data.length;
  for (let at = 0; at < padded.length; at += 8) {
    const m = word(padded.subarray(at, at + 8));
    v3 ^= m;
    round();
    v0 ^= m;
  }
  v2 ^= 0xffn;
  round();
  round();
  round();
  return v0 ^ v1 ^ v2 ^ v3;
}

describe('siphash13', () => {
  // From the authors' reference implementation, and (negative numbers, as signed words) CPython
  // 3.11 with PYTHONHASHSEED=0.
  it.each<[string, Uint8Array, number, bigint]>([
    ['zero key', ZERO_KEY, 0, 0xd1fba762150c532cn],
    ['zero key', ZERO_KEY, 1, 0x68a914128e01e473n],
    ['zero key', ZERO_KEY, 7, 3389392686435873370n],
    ['zero key', ZERO_KEY, 8, BigInt.asUintN(64, -1525574692105212182n)],
    ['zero key', ZERO_KEY, 9, 8471974163824919394n],
    ['zero key', ZERO_KEY, 15, BigInt.asUintN(64, -932606700130547222n)],
    ['zero key', ZERO_KEY, 16, BigInt.asUintN(64, -8542738587087157833n)],
    ['zero key', ZERO_KEY, 63, 4061470857350050649n],
    ['counting key', COUNTING_KEY, 0, 0xabac0158050fc4dcn],
  ])('%s %#, %i bytes - the published value', (_name, key, length, hash) => {
    expect(siphash13(key, upTo(length))).toBe(hash);
  });

  it('any key and data - equals the definition of the paper', () => {
    const bytes = fc.uint8Array({ minLength: 16, maxLength: 16 });
    fc.assert(
      fc.property(bytes, fc.uint8Array({ maxLength: 80 }), (key, data) => {
        expect(siphash13(key, data)).toBe(reference(key, data));
      }),
    );
  });
});

describe('path hashes', () => {
  it('chain - each name is hashed after the hash of its parent, as bytes', () => {
    const key = COUNTING_KEY;
    const data = Buffer.concat([Buffer.alloc(8), Buffer.from('etc')]);
    data.writeBigUInt64LE(siphash13(key, Buffer.from('/')));
    const etc = siphash13(key, data);
    expect(rootHash(key)).toBe(pathHash(key, '/'));
    expect(pathHash(key, '/etc')).toBe(etc);
    expect(pathHash(key, '/etc/passwd')).toBe(childHash(key, etc, 'passwd'));
    expect(pathHash(key, '/ätc')).not.toBe(etc);
  });

  it('hasher - caches and equals the plain chain; /a/b differs from /ab', () => {
    const hasher = new PathHasher(COUNTING_KEY);
    for (const path of ['/a/b', '/a', '/ab', '/', '/a/b'])
      expect([path, hasher.path(path)]).toEqual([path, pathHash(COUNTING_KEY, path)]);
    expect(new Set(['/a/b', '/a', '/ab', '/'].map((path) => hasher.path(path))).size).toBe(4);
  });
});
