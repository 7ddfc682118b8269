/** Ring buffer delivery: framing, order, bounds, draining. */

import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { DEFAULT_MAX_RECORDS } from '../src/core/ring-reader.ts';
import { BpfMap, BpfObject, type BpfProgram, MAP_TYPE, RingReader } from '../src/index.ts';
import { compileFixture, needsRoot, TempDir } from './helpers.ts';

const dir = new TempDir();
let tiny = '';

beforeAll(() => {
  tiny = compileFixture(dir, 'tiny');
});
afterAll(() => dir[Symbol.dispose]());

/** A record is 16 bytes: magic (7) and the frame's length. */
const RECORD_BYTES = 16;
/** 64 KiB of ring, 8 bytes of kernel header a record. */
const RING_RECORDS = 65536 / (RECORD_BYTES + 8);

function load(): { ring: BpfMap; emit: (lengthBytes: number, times?: number) => void } & Disposable {
  const object = BpfObject.open(tiny);
  object.load();
  const ring = object.map('ring');
  const program: BpfProgram = object.program('first');
  return {
    ring,
    emit: (lengthBytes, times = 1) => void program.testRun({ data: Buffer.alloc(lengthBytes), repeat: times }),
    [Symbol.dispose]: () => {
      for (const handle of [ring, program, object]) handle.close();
    },
  };
}

/** Payloads of a batch, as views into it. */
function* ringRecords(batch: Buffer): Generator<Buffer> {
  for (let offset = 0; offset < batch.length; ) {
    const end = offset + 4 + batch.readUInt32LE(offset);
    yield batch.subarray(offset + 4, end);
    offset = Math.ceil(end / 8) * 8;
  }
}

function lengths(batch: Buffer): number[] {
  return [...ringRecords(batch)].map((record) => record.readUInt32LE(8));
}

describe('native ring', () => {
  beforeEach(needsRoot);

  test('delivery - one framed batch per turn, in order, none before the loop turns', async () => {
    using source = load();
    const batches: [count: number, batch: Buffer][] = [];
    using _reader = new RingReader(source.ring, { onBatch: (batch, count) => batches.push([count, batch]) });
    for (const length of [60, 61, 62]) source.emit(length);
    expect(batches).toHaveLength(0);
    await waitFor(() => batches.length > 0, { what: 'a batch' });
    expect(batches).toHaveLength(1);
    const [count, batch] = batches[0]!;
    expect(count).toBe(3);
    expect(batch).toHaveLength(3 * 24);
    expect(batch.readUInt32LE(0)).toBe(RECORD_BYTES);
    expect([...ringRecords(batch)].map((record) => record.readBigUInt64LE())).toEqual([7n, 7n, 7n]);
    expect(lengths(batch)).toEqual([60, 61, 62]);
    source.emit(63);
    await waitFor(() => batches.length > 1, { what: 'a further batch' });
    expect(lengths(batches[1]![1])).toEqual([63]);
  });

  test('bounds - a batch ends at maxRecords, the loop turns, and the rest follows complete', async () => {
    using source = load();
    const counts: number[] = [];
    let turns = 0;
    let counting = true;
    const turn = () => {
      turns++;
      if (counting) setImmediate(turn);
    };
    using _reader = new RingReader(source.ring, { maxRecords: 100, onBatch: (_, count) => counts.push(count) });
    source.emit(60, 1050);
    setImmediate(turn);
    const sum = () => counts.reduce((total, count) => total + count, 0);
    await waitFor(() => sum() === 1050, { what: 'all records', state: () => counts });
    counting = false;
    expect(counts).toEqual([...Array(10).fill(100), 50]);
    expect(turns).toBeGreaterThanOrEqual(10);
  });

  test('bounds - a batch ends once maxBytes is reached, and a larger record travels alone', async () => {
    using source = load();
    const sizes: number[] = [];
    using _reader = new RingReader(source.ring, { maxBytes: 100, onBatch: (batch) => sizes.push(batch.length) });
    source.emit(60, 12);
    await waitFor(() => sizes.reduce((total, size) => total + size, 0) === 12 * 24, {
      what: 'all',
      state: () => sizes,
    });
    expect(new Set(sizes)).toEqual(new Set([120, 48]));
    sizes.length = 0;
    using tight = new RingReader(source.ring, { maxBytes: 1, onBatch: () => undefined });
    source.emit(60, 2);
    expect(tight.take()?.count).toBe(1);
  });

  test('overflow - a full ring keeps its oldest records, and accepts records again after a read', () => {
    using source = load();
    using reader = new RingReader(source.ring, { onBatch: () => undefined });
    source.emit(60, 5000);
    let taken = 0;
    for (let batch = reader.take(); batch !== null; batch = reader.take()) taken += batch.count;
    expect(taken).toBeGreaterThan(RING_RECORDS - 2);
    expect(taken).toBeLessThanOrEqual(RING_RECORDS);
    source.emit(61);
    expect(lengths(reader.take()!.batch)).toEqual([61]);
  });

  test('drain - delivers pending records at once, and a throw of onBatch reaches the caller', () => {
    using source = load();
    const seen: number[] = [];
    let fail = false;
    using reader = new RingReader(source.ring, {
      maxRecords: 2,
      onBatch: (batch) => {
        if (fail) throw new Error('shutdown');
        seen.push(...lengths(batch));
      },
    });
    for (const length of [60, 61, 62, 63, 64]) source.emit(length);
    expect(reader.drain()).toBe(5);
    expect(seen).toEqual([60, 61, 62, 63, 64]);
    expect(reader.drain()).toBe(0);
    fail = true;
    source.emit(70, 3);
    expect(() => reader.drain()).toThrow('shutdown');
    fail = false;
    expect(reader.drain()).toBe(1);
  });

  test('drain - one call delivers a full ring, of which take() returns one batch', () => {
    using source = load();
    let seen = 0;
    using reader = new RingReader(source.ring, {
      onBatch: (_, count) => {
        seen += count;
      },
    });
    source.emit(60, 5000);
    const records = reader.drain();
    expect(records).toBeGreaterThan(RING_RECORDS - 2);
    expect(seen).toBe(records);
    source.emit(60, 5000);
    expect(reader.take()?.count).toBe(DEFAULT_MAX_RECORDS);
    expect(reader.drain()).toBe(records - DEFAULT_MAX_RECORDS);
  });

  test('close - remaining records stay for the next reader', () => {
    using source = load();
    const first = new RingReader(source.ring, { maxRecords: 1, onBatch: () => undefined });
    source.emit(60, 3);
    expect(first.take()?.count).toBe(1);
    first.close();
    using second = new RingReader(source.ring, { onBatch: () => undefined });
    expect(second.take()?.count).toBe(2);
  });

  test('open - only on a ring buffer; the map may be closed afterwards', async () => {
    using hash = BpfMap.create({ type: MAP_TYPE.hash, keySizeBytes: 4, valueSizeBytes: 4, maxEntries: 1 });
    expect(() => new RingReader(hash, { onBatch: () => undefined })).toThrow(
      expect.objectContaining({ code: 'BPF_RING', errnoName: 'EINVAL' }),
    );
    using source = load();
    let batches = 0;
    using _reader = new RingReader(source.ring, { onBatch: () => batches++ });
    source.ring.close();
    source.emit(60);
    await waitFor(() => batches === 1, { what: 'a batch' });
  });
});
