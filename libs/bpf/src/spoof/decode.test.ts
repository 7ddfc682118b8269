import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseAddress, parseMac } from '../core/addresses.ts';
import { SampleError } from '../core/sample-error.ts';
import { COUNTER_NUMBERS, decodeBatch, decodeCounters, decodeSample, readCounters } from './decode.ts';
import { CountersLayout, SpoofSampleLayout as L, SampleFlagValues } from './layout.gen.ts';
import { IFACE_STATES, PACKET_ACTIONS, VECTORS } from './names.ts';

interface Fields {
  vector?: number;
  action?: number;
  state?: number;
  flags?: number;
  headLength?: number;
}

function record({ vector = 0, action = 1, state = 2, flags = 0, headLength = 42 }: Fields = {}): Buffer {
  const bytes = Buffer.alloc(L.size);
  bytes.writeBigUInt64LE(2n ** 62n, L.boottimeNs.offset);
  bytes.writeBigUInt64LE(77n, L.cgroupId.offset);
  bytes.writeUInt32LE(12, L.ifindex.offset);
  bytes.writeUInt32LE(3, L.generation.offset);
  bytes.writeUInt32LE(30_042, L.length.offset);
  bytes.writeUInt32LE(30, L.gsoSegments.offset);
  bytes[L.vector.offset] = vector;
  bytes[L.action.offset] = action;
  bytes[L.state.offset] = state;
  bytes[L.flags.offset] = flags;
  bytes[L.headLength.offset] = headLength;
  bytes.writeUInt16BE(0x86dd, L.etherType.offset);
  bytes.writeUInt16BE(4789, L.destinationPort.offset);
  parseMac('02:00:00:00:00:09').copy(bytes, L.claimedMac.offset);
  parseAddress('2001:db8::2').copy(bytes, L.expectedAddress.offset);
  bytes.fill(0xab, L.head.offset);
  return bytes;
}

function frame(payload: Buffer): Buffer {
  const bytes = Buffer.alloc((4 + payload.length + 7) & ~7);
  bytes.writeUInt32LE(payload.length);
  payload.copy(bytes, 4);
  return bytes;
}

describe('decode', () => {
  it('decode - returns every field of a record', () => {
    const { SAMPLE_ADDRESSES, SAMPLE_FIRST } = SampleFlagValues;
    const sample = decodeSample(record({ vector: 10, flags: SAMPLE_ADDRESSES | SAMPLE_FIRST }));
    expect(sample).toMatchObject({
      boottimeNs: 2n ** 62n,
      cgroupId: 77n,
      socketCookie: 0n,
      ifindex: 12,
      generation: 3,
      lengthBytes: 30_042,
      gsoSegments: 30,
      vector: 'tunnel',
      action: 'drop',
      state: 'programmed',
      egress: false,
      first: true,
      etherType: 0x86dd,
      destinationPort: 4789,
      claimedMac: '02:00:00:00:00:09',
      expectedMac: '',
      claimedAddress: '::',
      expectedAddress: '2001:db8::2',
    });
    expect(sample.head).toEqual(Buffer.alloc(42, 0xab));
  });

  it('decode - addresses that were not read are empty, not ::', () => {
    expect(decodeSample(record()).claimedAddress).toBe('');
  });

  const refused: [what: string, bytes: Buffer][] = [
    ['vector beyond the list', record({ vector: VECTORS.length })],
    ['action beyond the list', record({ action: 2 })],
    ['state beyond the list', record({ state: 3 })],
    ['head longer than its field', record({ headLength: 65 })],
    ['one byte short', record().subarray(1)],
    ['one byte long', Buffer.concat([record(), Buffer.alloc(1)])],
    ['empty', Buffer.alloc(0)],
  ];
  it.each(refused)('decode - refused: %s', (_, bytes) => {
    expect(() => decodeSample(bytes)).toThrow(SampleError);
    const good = frame(record());
    const batch = decodeBatch(Buffer.concat([good, frame(bytes), good]));
    expect(batch.samples).toHaveLength(2);
    expect(batch.errors).toMatchObject([{ code: 'ERR_BPF_SAMPLE', offset: good.length }]);
  });

  it('decode - a batch that is cut anywhere yields its whole records, and one error unless the cut is between records', () => {
    const one = frame(record());
    const whole = Buffer.concat([one, one, one]);
    for (let length = 0; length <= whole.length; length++) {
      const { samples, errors } = decodeBatch(whole.subarray(0, length));
      // The padding of the last frame carries no data.
      expect(samples).toHaveLength(Math.floor((length + one.length - 4 - L.size) / one.length));
      const rest = length % one.length;
      expect(errors).toHaveLength(rest === 0 || rest >= 4 + L.size ? 0 : 1);
    }
  });

  it('decode - any bytes: no throw, no read outside, samples keep no batch alive', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2048 }), (bytes) => {
        const batch = Buffer.from(bytes);
        const { samples, errors } = decodeBatch(batch);
        expect(samples.length + errors.length).toBeLessThanOrEqual(bytes.length / 4 + 1);
        for (const error of errors) expect(error.offset).toBeLessThan(bytes.length);
      }),
    );
    const batch = frame(record());
    const [sample] = decodeBatch(batch).samples;
    batch.fill(0);
    expect(sample!.head[0]).toBe(0xab);
  });

  it('decode - mutated records: the sample is in range or the record is refused', () => {
    const mutation = fc.array(fc.tuple(fc.nat(L.size - 1), fc.nat(255)), { maxLength: 8 });
    fc.assert(
      fc.property(mutation, (changes) => {
        const bytes = record();
        for (const [at, value] of changes) bytes[at] = value;
        const { samples, errors } = decodeBatch(frame(bytes));
        expect(samples.length + errors.length).toBe(1);
        for (const sample of samples) {
          expect(VECTORS).toContain(sample.vector);
          expect(PACKET_ACTIONS).toContain(sample.action);
          expect(IFACE_STATES).toContain(sample.state);
          expect(sample.head.length).toBeLessThanOrEqual(64);
        }
      }),
    );
  });

  it('decode - counters: cells that are not zero, each in its place', () => {
    const value = Buffer.alloc(CountersLayout.size);
    // malformed (9), drop (1), provisional (1)
    const at = ((9 * 2 + 1) * 3 + 1) * 24;
    value.writeBigUInt64LE(30n, at);
    value.writeBigUInt64LE(1n, at + 8);
    value.writeBigUInt64LE(2n ** 63n, at + 16);
    expect(decodeCounters(value)).toEqual([
      { vector: 'malformed', action: 'drop', state: 'provisional', packets: 30n, skbs: 1n, bytes: 2n ** 63n },
    ]);
    expect(() => decodeCounters(value.subarray(1))).toThrow(/struct counters/);
    const numbers = new Float64Array(COUNTER_NUMBERS).fill(7);
    readCounters(value, numbers);
    expect([...numbers.subarray(at / 8, at / 8 + 3)]).toEqual([30, 1, 2 ** 63]);
    expect(numbers.filter((n) => n !== 0)).toHaveLength(3);
    expect(() => readCounters(value.subarray(1), numbers)).toThrow(/struct counters/);
    expect(() => readCounters(value, numbers.subarray(1))).toThrow(/COUNTER_NUMBERS/);
  });
});
