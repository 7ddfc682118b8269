import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SampleError } from '../core/sample-error.ts';
import { decodeBatch } from '../spoof/decode.ts';
import { decodeRuntimeSample } from './decode.ts';
import { decodeSubject, encodeSubject, normalPodUid } from './encode.ts';
import { RuntimeSampleLayout as at, OpValues, RtSampleFlagValues, RuleActionValues } from './layout.gen.ts';

const UID = '0123456789abcdef0123456789abcdef';

function record(): Buffer {
  const bytes = Buffer.alloc(at.size);
  Buffer.from(UID, 'hex').copy(bytes, at.pod.offset);
  bytes.writeBigUInt64LE(77n, at.boottimeNs.offset);
  bytes.writeUInt32LE(OpValues.OP_EXECUTE, at.op.offset);
  bytes.writeUInt8(RuleActionValues.RULE_BLOCK, at.action.offset);
  bytes.writeUInt8(RtSampleFlagValues.RT_SAMPLE_PATH | RtSampleFlagValues.RT_SAMPLE_FIRST, at.flags.offset);
  bytes.write('/bin/sh', at.subject.offset);
  bytes.writeUInt16LE(7, at.subjectLength.offset);
  bytes.write('sh\0-c\0', at.args.offset);
  bytes.writeUInt16LE(6, at.argsLength.offset);
  bytes.write('runc', at.comm.offset);
  return bytes;
}

const framed = (payload: Buffer): Buffer => {
  const bytes = Buffer.alloc((4 + payload.length + 7) & ~7);
  bytes.writeUInt32LE(payload.length);
  payload.copy(bytes, 4);
  return bytes;
};

describe('runtime decode', () => {
  it('sample - returns every field', () => {
    expect(decodeRuntimeSample(record())).toMatchObject({
      boottimeNs: 77n,
      pod: UID,
      op: OpValues.OP_EXECUTE,
      action: RuleActionValues.RULE_BLOCK,
      subject: '/bin/sh',
      subjectIsPath: true,
      first: true,
      extra: false,
      cut: false,
      args: ['sh', '-c'],
      comm: 'runc',
      program: '',
      address: null,
    });
  });

  it('batch - recognises a record of kind lsm by its size', () => {
    const { samples, runtime, errors } = decodeBatch(Buffer.concat([framed(record()), framed(record())]));
    expect([samples.length, runtime.length, errors.length]).toEqual([0, 2, 0]);
  });

  it.each([
    { name: 'a text longer than its field', write: (b: Buffer) => b.writeUInt16LE(257, at.subjectLength.offset) },
    { name: 'an operation beyond the last', write: (b: Buffer) => b.writeUInt32LE(OpValues.OP_COUNT, at.op.offset) },
    { name: 'an action beyond the last', write: (b: Buffer) => b.writeUInt8(9, at.action.offset) },
  ])('sample - refuses $name', ({ write }) => {
    const bytes = record();
    write(bytes);
    expect(() => decodeRuntimeSample(bytes)).toThrow(SampleError);
  });

  it('sample - any bytes of the right size decode or are a SampleError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: at.size, maxLength: at.size }), (bytes) => {
        try {
          decodeRuntimeSample(Buffer.from(bytes));
        } catch (error) {
          expect(error).toBeInstanceOf(SampleError);
        }
      }),
    );
  });

  it('subject - survives the way to the kernel and back', () => {
    const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
    const subject = fc.record({
      set: u32,
      counterBase: u32,
      counterCount: u32,
      bucket: u32,
      hasContainers: fc.boolean(),
      generation: fc.integer({ min: 1, max: 0xffff_ffff }),
      auditUntilNs: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    });
    fc.assert(
      fc.property(subject, (value) => {
        expect(decodeSubject(encodeSubject(value))).toEqual(value);
      }),
    );
  });

  it.each([
    { text: '01234567-89ab-cdef-0123-456789abcdef', uid: UID },
    { text: '01234567_89ab_cdef_0123_456789ABCDEF', uid: UID },
    { text: UID, uid: UID },
    { text: `${UID}0`, uid: null },
    { text: 'pod', uid: null },
  ])('uid - $text', ({ text, uid }) => expect(normalPodUid(text)).toBe(uid));
});
