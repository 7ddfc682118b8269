/**
 * Decodes kernel records: a batch of the ring → samples of packets and of operations, a counters
 * value → its cells. The LSM programs write to the ring of the packet programs, so this room imports
 * the runtime decoder; the size of a record identifies its kind.
 *
 * Data path: ring.cc (one Buffer per batch) → here → collector. Invariants: pure. No byte outside a
 * record is read. An invalid record is a SampleError with its offset. No returned object keeps the
 * batch alive.
 */
import assert from 'node:assert/strict';
import { formatAddress, formatMac } from '../core/addresses.ts';
import { SampleError } from '../core/sample-error.ts';
import { decodeRuntimeSample, type RuntimeSample } from '../runtime/decode.ts';
import { RuntimeSampleLayout } from '../runtime/layout.gen.ts';
import { CounterCellLayout, CountersLayout, SampleFlagValues, SpoofSampleLayout } from './layout.gen.ts';
import { IFACE_STATES, type IfaceState, PACKET_ACTIONS, type PacketAction, VECTORS, type Vector } from './names.ts';

/**
 * One violation as the kernel recorded it. A text is '' if the packet or the record had no value.
 */
export interface SpoofSample {
  /** CLOCK_BOOTTIME. */
  readonly boottimeNs: bigint;
  /** 0n: the packet had no socket any more. */
  readonly cgroupId: bigint;
  readonly socketCookie: bigint;
  readonly ifindex: number;
  readonly generation: number;
  readonly lengthBytes: number;
  readonly gsoSegments: number;
  readonly vector: Vector;
  readonly action: PacketAction;
  readonly state: IfaceState;
  /** True for a packet towards the pod (quarantine). */
  readonly egress: boolean;
  /** First violation of this vector on this interface generation. */
  readonly first: boolean;
  readonly l4Protocol: number;
  readonly etherType: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly claimedMac: string;
  readonly expectedMac: string;
  readonly claimedAddress: string;
  readonly expectedAddress: string;
  readonly destinationAddress: string;
  /** Copy of the first bytes of the frame, at most 64. */
  readonly head: Buffer;
}

function pick<T>(names: readonly T[], value: number, what: string, offset: number): T {
  const name = names[value];
  if (name === undefined) throw new SampleError(`unknown ${what} ${value}`, offset);
  return name;
}

/**
 * Bytes of a field as text, '' if the field is empty. Avoids views: a sample has seven such fields,
 * and views cost more than the text.
 */
function text(record: Buffer, field: { offset: number; size: number }, has: boolean): string {
  if (!has) return '';
  return field.size === 6 ? formatMac(record, field.offset) : formatAddress(record, field.offset);
}

function isSet(record: Buffer, { offset, size }: { offset: number; size: number }): boolean {
  for (let at = offset; at < offset + size; at += 1) if (record[at] !== 0) return true;
  return false;
}

/** Copies from Buffer's pool, because the copy is short-lived. */
function copyOf(record: Buffer, offset: number, length: number): Buffer {
  const copy = Buffer.allocUnsafe(length);
  record.copy(copy, 0, offset, offset + length);
  return copy;
}

/** Decodes one `struct spoof_sample`. `offset` is only for the error. Throws SampleError. */
export function decodeSample(record: Buffer, offset = 0): SpoofSample {
  const layout = SpoofSampleLayout;
  if (record.length !== layout.size) throw new SampleError(`${record.length} bytes, not ${layout.size}`, offset);
  const headLength = record.readUInt8(layout.headLength.offset);
  if (headLength > layout.head.size) throw new SampleError(`head of ${headLength} bytes`, offset);
  const flags = record.readUInt8(layout.flags.offset);
  // :: is a claimed address of all zeros. A flag says whether addresses were read.
  const hasAddresses = (flags & SampleFlagValues.SAMPLE_ADDRESSES) !== 0;
  return {
    boottimeNs: record.readBigUInt64LE(layout.boottimeNs.offset),
    cgroupId: record.readBigUInt64LE(layout.cgroupId.offset),
    socketCookie: record.readBigUInt64LE(layout.socketCookie.offset),
    ifindex: record.readUInt32LE(layout.ifindex.offset),
    generation: record.readUInt32LE(layout.generation.offset),
    lengthBytes: record.readUInt32LE(layout.length.offset),
    gsoSegments: record.readUInt32LE(layout.gsoSegments.offset),
    vector: pick(VECTORS, record.readUInt8(layout.vector.offset), 'vector', offset),
    action: pick(PACKET_ACTIONS, record.readUInt8(layout.action.offset), 'action', offset),
    state: pick(IFACE_STATES, record.readUInt8(layout.state.offset), 'state', offset),
    egress: (flags & SampleFlagValues.SAMPLE_EGRESS) !== 0,
    first: (flags & SampleFlagValues.SAMPLE_FIRST) !== 0,
    l4Protocol: record.readUInt8(layout.l4Protocol.offset),
    etherType: record.readUInt16BE(layout.etherType.offset),
    sourcePort: record.readUInt16BE(layout.sourcePort.offset),
    destinationPort: record.readUInt16BE(layout.destinationPort.offset),
    claimedMac: text(record, layout.claimedMac, true),
    expectedMac: text(record, layout.expectedMac, isSet(record, layout.expectedMac)),
    claimedAddress: text(record, layout.claimedAddress, hasAddresses),
    expectedAddress: text(record, layout.expectedAddress, isSet(record, layout.expectedAddress)),
    destinationAddress: text(record, layout.destinationAddress, hasAddresses),
    head: copyOf(record, layout.head.offset, headLength),
  };
}

export interface DecodedBatch {
  readonly samples: SpoofSample[];
  /** Records of kind `lsm`. */
  readonly runtime: RuntimeSample[];
  /** Records that were refused. A broken framing ends the batch with one of these. */
  readonly errors: SampleError[];
}

/**
 * Decodes all records of one batch, in the order of the ring. Invalid bytes never throw. Framing
 * (ring.h): u32 length (host order), that many bytes, zero padding to a multiple of 8.
 */
export function decodeBatch(batch: Buffer): DecodedBatch {
  const samples: SpoofSample[] = [];
  const runtime: RuntimeSample[] = [];
  const errors: SampleError[] = [];
  let offset = 0;
  while (offset < batch.length) {
    if (batch.length - offset < 4) {
      errors.push(new SampleError('no room for a length', offset));
      break;
    }
    const length = batch.readUInt32LE(offset);
    const start = offset + 4;
    if (length > batch.length - start) {
      errors.push(new SampleError(`length ${length} beyond the batch`, offset));
      break;
    }
    try {
      const record = batch.subarray(start, start + length);
      if (length === RuntimeSampleLayout.size) runtime.push(decodeRuntimeSample(record, offset));
      else samples.push(decodeSample(record, offset));
    } catch (error) {
      if (!(error instanceof SampleError)) throw error;
      errors.push(error);
    }
    offset = (start + length + 7) & ~7;
  }
  return { samples, runtime, errors };
}

/** One cell of an interface's counters, cumulative since the entry was created. */
export interface CounterCell {
  readonly vector: Vector;
  readonly action: PacketAction;
  readonly state: IfaceState;
  readonly packets: bigint;
  readonly skbs: bigint;
  readonly bytes: bigint;
}

/** Cells of a `struct counters` that are not zero, ordered by vector, action and state. */
export function decodeCounters(value: Buffer): CounterCell[] {
  assert.equal(value.length, CountersLayout.size, 'not a struct counters');
  const cells: CounterCell[] = [];
  let at = 0;
  for (const vector of VECTORS) {
    for (const action of PACKET_ACTIONS) {
      for (const state of IFACE_STATES) {
        const skbs = value.readBigUInt64LE(at + CounterCellLayout.skbs.offset);
        if (skbs !== 0n) {
          const packets = value.readBigUInt64LE(at + CounterCellLayout.packets.offset);
          const bytes = value.readBigUInt64LE(at + CounterCellLayout.bytes.offset);
          cells.push({ vector, action, state, packets, skbs, bytes });
        }
        at += CounterCellLayout.size;
      }
    }
  }
  return cells;
}

/** Length of the array that `readCounters` fills: packets, skbs and bytes of each cell. */
export const COUNTER_NUMBERS = CountersLayout.size / 8;
const HIGH = 2 ** 32;
const NOTHING_COUNTED = Buffer.alloc(CountersLayout.size);

/**
 * Reads all cells of a `struct counters` as numbers, for frequent reads. 2^53 packets are 285 years
 * at a million a second.
 * @param value at an offset of its memory that is a multiple of 4, as Buffer.alloc returns
 */
export function readCounters(value: Buffer, into: Float64Array): void {
  assert.equal(value.length, CountersLayout.size, 'not a struct counters');
  assert.equal(into.length, COUNTER_NUMBERS, 'the array must have COUNTER_NUMBERS elements');
  // The usual case: the interface has counted no violation.
  if (value.equals(NOTHING_COUNTED)) into.fill(0);
  else {
    // Several times faster than reading each by its offset. All supported machines are
    // little-endian.
    const halves = new Uint32Array(value.buffer, value.byteOffset, COUNTER_NUMBERS * 2);
    for (let i = 0; i < COUNTER_NUMBERS; i += 1)
      into[i] = (halves[2 * i] as number) + (halves[2 * i + 1] as number) * HIGH;
  }
}
