import { randomBytes } from 'node:crypto';
import { deflateRawSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import {
  decodeSnapshotValue,
  encodeSnapshotValue,
  MAX_SNAPSHOT_JSON_BYTES,
  PLAIN_SNAPSHOT_BYTES,
} from './snapshot-value.ts';

const compressed = (bytes: Buffer) => Buffer.concat([Buffer.of(1), deflateRawSync(bytes)]);

describe('snapshot value', () => {
  test('snapshot value - an ordinary one is plain JSON', () => {
    const json = JSON.stringify({ text: 'ü'.repeat(1_000) });
    expect(encodeSnapshotValue(json).toString()).toBe(json);
    expect(decodeSnapshotValue(encodeSnapshotValue(json))).toBe(json);
  });
  test('snapshot value - a large one is compressed and read again', () => {
    const json = JSON.stringify({ text: 'ü'.repeat(PLAIN_SNAPSHOT_BYTES) });
    const value = encodeSnapshotValue(json);
    expect(value[0]).toBe(1);
    expect(value.length).toBeLessThan(4_096);
    expect(decodeSnapshotValue(value)).toBe(json);
    // A view of a larger buffer, as the client of the bus gives it.
    const around = Buffer.concat([randomBytes(7), value, randomBytes(7)]);
    expect(decodeSnapshotValue(new Uint8Array(around.buffer, around.byteOffset + 7, value.length))).toBe(json);
  });
  test.each([
    ['more than the limit', compressed(Buffer.alloc(MAX_SNAPSHOT_JSON_BYTES + 1, 0x20))],
    ['a broken stream', Buffer.from([1, 0xff, 0xff, 0xff])],
    ['a truncated stream', compressed(randomBytes(512)).subarray(0, 100)],
    ['nothing', Buffer.of(1)],
  ])('snapshot value - %s is no JSON', (_, value) => {
    expect(decodeSnapshotValue(value)).toMatch(/^compressed, cannot be inflated: /);
    expect(() => JSON.parse(decodeSnapshotValue(value))).toThrow();
  });
  test('snapshot value - a value at the limit is read', () => {
    expect(decodeSnapshotValue(compressed(Buffer.alloc(MAX_SNAPSHOT_JSON_BYTES, 0x20)))).toHaveLength(
      MAX_SNAPSHOT_JSON_BYTES,
    );
  });
});
