/**
 * Unsigned integers as bytes of map keys and values. BPF is host-endian; both supported machines
 * are little-endian.
 */
import assert from 'node:assert/strict';

const U32_MAX = 0xffff_ffff;

/**
 * Returns the value. A value that is not a u32 is a programmer's error (assert), named by `what`.
 */
export function checkU32(value: number, what: string): number {
  assert(Number.isInteger(value) && value >= 0 && value <= U32_MAX, `${what} is not a u32: ${value}`);
  return value;
}

/** A key or value that is one u32: an ifindex, an array index. */
export function encodeU32(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32LE(checkU32(value, 'value'));
  return buffer;
}

/** A key or value that is one u64: a cgroup id, a socket cookie. */
export function encodeU64(value: bigint): Buffer {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64LE(value);
  return buffer;
}
