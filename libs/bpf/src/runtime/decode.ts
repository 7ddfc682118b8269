/**
 * Decodes a ring record of kind `lsm` into a RuntimeSample.
 *
 * Data path: ring → spoof/decode.ts, which distinguishes records by size → here → collector.
 * Invariants: pure. Lengths are checked before use. Operations and actions stay numbers;
 * libs/runtime names them. No returned object keeps the batch alive. Invalid UTF-8 becomes
 * replacement characters.
 */
import { formatAddress } from '../core/addresses.ts';
import { SampleError } from '../core/sample-error.ts';
import { decodePodUid, untilZero } from './encode.ts';
import { OpValues, RtSampleFlagValues, RuleActionValues, RuntimeSampleLayout } from './layout.gen.ts';

/** One violation of a policy as the kernel recorded it. */
export interface RuntimeSample {
  /** CLOCK_BOOTTIME. */
  readonly boottimeNs: bigint;
  /** Cgroup of the task at that time, and of its container when the task was armed. */
  readonly cgroupId: bigint;
  readonly containerCgroupId: bigint;
  /** 0n: no socket is involved. */
  readonly socketCookie: bigint;
  /** Judged value, for operations on a value. */
  readonly value: bigint;
  /** 32 hex digits. */
  readonly pod: string;
  /** Generation of the subject, which the cell number `rule` belongs to. */
  readonly generation: number;
  /** Cell behind counterBase. With `extra`, counted from the first of the extra cells. */
  readonly rule: number;
  readonly extra: boolean;
  /** enum op; enum rule_action as carried out. */
  readonly op: number;
  readonly action: number;
  /** First violation that this cell counted. */
  readonly first: boolean;
  /** In the host's pid namespace. */
  readonly tgid: number;
  readonly tid: number;
  readonly parentTgid: number;
  readonly uid: number;
  readonly gid: number;
  /** Effective capabilities, one bit each. */
  readonly capabilities: bigint;
  readonly comm: string;
  /**
   * Paths within the task's mount namespace, as the host's kernel resolves them. '' if there is
   * none.
   */
  readonly program: string;
  readonly parentProgram: string;
  /** A path or an abstract unix name, by `subjectIsPath`. '' if the operation has neither. */
  readonly subject: string;
  readonly subjectIsPath: boolean;
  /** True if a text lacks its beginning. */
  readonly cut: boolean;
  /** Null: no internet address is involved. */
  readonly address: string | null;
  readonly port: number;
  readonly family: number;
  readonly protocol: number;
  /** argv of the running program. Empty if it could not be read; the last one may be cut. */
  readonly args: readonly string[];
}

interface Field {
  readonly offset: number;
  readonly size: number;
}

function textOf(record: Buffer, field: Field, lengthField: Field, offset: number): Buffer {
  const length = record.readUInt16LE(lengthField.offset);
  if (length > field.size) throw new SampleError(`text of ${length} bytes in ${field.size}`, offset);
  return record.subarray(field.offset, field.offset + length);
}

function argsOf(bytes: Buffer): string[] {
  const words = bytes.toString('utf8').split('\0');
  // A text that ends in a zero is complete. Otherwise the last word was cut.
  return words.at(-1) === '' ? words.slice(0, -1) : words;
}

/** Decodes one `struct runtime_sample`. `offset` is only for the error. Throws SampleError. */
export function decodeRuntimeSample(record: Buffer, offset = 0): RuntimeSample {
  const at = RuntimeSampleLayout;
  if (record.length !== at.size) throw new SampleError(`${record.length} bytes, not ${at.size}`, offset);
  const op = record.readUInt32LE(at.op.offset);
  const action = record.readUInt8(at.action.offset);
  if (op >= OpValues.OP_COUNT) throw new SampleError(`unknown operation ${op}`, offset);
  if (action >= RuleActionValues.RULE_ACTIONS) throw new SampleError(`unknown action ${action}`, offset);
  const flags = record.readUInt8(at.flags.offset);
  const has = (flag: number) => (flags & flag) !== 0;
  const u32 = (field: Field) => record.readUInt32LE(field.offset);
  const u64 = (field: Field) => record.readBigUInt64LE(field.offset);
  const slice = (field: Field) => record.subarray(field.offset, field.offset + field.size);
  return {
    boottimeNs: u64(at.boottimeNs),
    cgroupId: u64(at.cgroupId),
    containerCgroupId: u64(at.containerCgroupId),
    socketCookie: u64(at.socketCookie),
    value: u64(at.value),
    pod: decodePodUid(slice(at.pod)),
    generation: u32(at.generation),
    rule: u32(at.rule),
    extra: has(RtSampleFlagValues.RT_SAMPLE_POSTURE),
    op,
    action,
    first: has(RtSampleFlagValues.RT_SAMPLE_FIRST),
    tgid: u32(at.tgid),
    tid: u32(at.tid),
    parentTgid: u32(at.parentTgid),
    uid: u32(at.uid),
    gid: u32(at.gid),
    capabilities: u64(at.capabilities),
    comm: untilZero(slice(at.comm)),
    program: textOf(record, at.program, at.programLength, offset).toString('utf8'),
    parentProgram: textOf(record, at.parentProgram, at.parentLength, offset).toString('utf8'),
    subject: textOf(record, at.subject, at.subjectLength, offset).toString('utf8'),
    subjectIsPath: has(RtSampleFlagValues.RT_SAMPLE_PATH),
    cut: has(RtSampleFlagValues.RT_SAMPLE_CUT),
    address: has(RtSampleFlagValues.RT_SAMPLE_ADDRESS) ? formatAddress(slice(at.address)) : null,
    port: record.readUInt16BE(at.port.offset),
    family: record.readUInt8(at.family.offset),
    protocol: record.readUInt8(at.protocol.offset),
    args: argsOf(textOf(record, at.args, at.argsLength, offset)),
  };
}
