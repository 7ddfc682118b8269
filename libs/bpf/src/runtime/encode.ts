/**
 * Records of the runtime half → the bytes of its maps, and back where user space reads what it wrote or what the kernel did.
 *
 * Place in the path: collector → runtime-maps.ts → here. Offsets come from runtime-layout.gen.ts, so they are the object's.
 * Invariants: pure; every buffer has exactly the struct's size and no unwritten byte; numbers out of range are a programmer's
 * error (assert). What belongs to a policy set (heads, paths, values) is encoded by libs/runtime, which knows what it means.
 */
import assert from 'node:assert/strict';
import { checkU32 } from '../core/integers.ts';
import { PodUidLayout, RtSettingsLayout, SocketMakerLayout, SubjectFlagValues, SubjectLayout } from './layout.gen.ts';

/** What a pod, or one of its containers, is held to. */
export interface RuntimeSubject {
  /** 0 = no policy. */
  readonly set: number;
  /** First cell in the counters, and how many: the set's rules and RUNTIME_EXTRA_CELLS behind them. */
  readonly counterBase: number;
  readonly counterCount: number;
  /** Never 0; new with every (set, cells) given to this subject. */
  readonly generation: number;
  /** 0 to maxSubjects - 1, unique among live subjects. */
  readonly bucket: number;
  /** Containers of the pod have subjects of their own. */
  readonly hasContainers: boolean;
  /** CLOCK_BOOTTIME; until then block and kill are judged as audit; 0n = armed. */
  readonly auditUntilNs: bigint;
}

export interface RuntimeSettings {
  /** 16 bytes, random for each pin directory: never changed while sets are loaded. */
  readonly hashKey: Buffer;
  /** Inode number of the mount namespace that container runtimes work in. */
  readonly hostMountNs: number;
  readonly sampleBurst: number;
  readonly samplesPerSecond: number;
  /** RUNTIME_ABI of whoever made the maps. */
  readonly abi: number;
}

/** Which process made a raw or packet socket. */
export interface SocketMaker {
  readonly boottimeNs: bigint;
  /** 32 hex digits. */
  readonly pod: string;
  readonly containerCgroupId: bigint;
  readonly tgid: number;
  readonly uid: number;
  readonly comm: string;
  readonly program: string;
  readonly family: number;
  readonly type: number;
  readonly protocol: number;
}

const UID = /^[0-9a-f]{32}$/;

/** A pod's UID as 32 hex digits: dashes and underscores are dropped. Null: it is none. */
export function normalPodUid(text: string): string | null {
  const digits = text.replace(/[-_]/g, '').toLowerCase();
  return UID.test(digits) ? digits : null;
}

/** `struct pod_uid`, of 32 hex digits with or without dashes. */
export function encodePodUid(uid: string): Buffer {
  const digits = normalPodUid(uid);
  assert(digits !== null, `not a pod's UID: ${uid}`);
  assert.equal(PodUidLayout.size, 16);
  return Buffer.from(digits, 'hex');
}

/** 32 hex digits. */
export function decodePodUid(buffer: Buffer): string {
  return buffer.toString('hex');
}

/** `struct subject`. */
export function encodeSubject(subject: RuntimeSubject): Buffer {
  const at = SubjectLayout;
  const buffer = Buffer.alloc(at.size);
  assert(subject.generation > 0, 'a generation is never 0');
  buffer.writeUInt32LE(checkU32(subject.set, 'set'), at.set.offset);
  buffer.writeUInt32LE(checkU32(subject.counterBase, 'counterBase'), at.counterBase.offset);
  buffer.writeUInt32LE(checkU32(subject.counterCount, 'counterCount'), at.counterCount.offset);
  buffer.writeUInt32LE(checkU32(subject.generation, 'generation'), at.generation.offset);
  buffer.writeUInt32LE(checkU32(subject.bucket, 'bucket'), at.bucket.offset);
  buffer.writeUInt32LE(subject.hasContainers ? SubjectFlagValues.SUBJECT_CONTAINERS : 0, at.flags.offset);
  buffer.writeBigUInt64LE(subject.auditUntilNs, at.auditUntilNs.offset);
  return buffer;
}

/** Back from `struct subject`, as after a restart. */
export function decodeSubject(buffer: Buffer): RuntimeSubject {
  const at = SubjectLayout;
  assert.equal(buffer.length, at.size, 'not a struct subject');
  return {
    set: buffer.readUInt32LE(at.set.offset),
    counterBase: buffer.readUInt32LE(at.counterBase.offset),
    counterCount: buffer.readUInt32LE(at.counterCount.offset),
    generation: buffer.readUInt32LE(at.generation.offset),
    bucket: buffer.readUInt32LE(at.bucket.offset),
    hasContainers: (buffer.readUInt32LE(at.flags.offset) & SubjectFlagValues.SUBJECT_CONTAINERS) !== 0,
    auditUntilNs: buffer.readBigUInt64LE(at.auditUntilNs.offset),
  };
}

/** `struct rt_settings`. */
export function encodeRuntimeSettings(settings: RuntimeSettings): Buffer {
  const at = RtSettingsLayout;
  const buffer = Buffer.alloc(at.size);
  assert.equal(settings.hashKey.length, at.hashKey.size, 'a hash key has 16 bytes');
  settings.hashKey.copy(buffer, at.hashKey.offset);
  buffer.writeUInt32LE(checkU32(settings.hostMountNs, 'hostMountNs'), at.hostMountNs.offset);
  buffer.writeUInt32LE(checkU32(settings.sampleBurst, 'sampleBurst'), at.sampleBurst.offset);
  buffer.writeUInt32LE(checkU32(settings.samplesPerSecond, 'samplesPerSecond'), at.samplesPerSecond.offset);
  buffer.writeUInt32LE(checkU32(settings.abi, 'abi'), at.abi.offset);
  return buffer;
}

/** Back from `struct rt_settings`. */
export function decodeRuntimeSettings(buffer: Buffer): RuntimeSettings {
  const at = RtSettingsLayout;
  return {
    hashKey: Buffer.from(buffer.subarray(at.hashKey.offset, at.hashKey.offset + at.hashKey.size)),
    hostMountNs: buffer.readUInt32LE(at.hostMountNs.offset),
    sampleBurst: buffer.readUInt32LE(at.sampleBurst.offset),
    samplesPerSecond: buffer.readUInt32LE(at.samplesPerSecond.offset),
    abi: buffer.readUInt32LE(at.abi.offset),
  };
}

/** Bytes up to the first zero, as the kernel's comm. */
export function untilZero(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end < 0 ? bytes.length : end);
}

/** Back from `struct socket_maker`. */
export function decodeSocketMaker(buffer: Buffer): SocketMaker {
  const at = SocketMakerLayout;
  const slice = (field: { offset: number; size: number }) => buffer.subarray(field.offset, field.offset + field.size);
  const length = Math.min(buffer.readUInt16LE(at.programLength.offset), at.program.size);
  return {
    boottimeNs: buffer.readBigUInt64LE(at.boottimeNs.offset),
    pod: decodePodUid(slice(at.pod)),
    containerCgroupId: buffer.readBigUInt64LE(at.containerCgroupId.offset),
    tgid: buffer.readUInt32LE(at.tgid.offset),
    uid: buffer.readUInt32LE(at.uid.offset),
    comm: untilZero(slice(at.comm)),
    program: slice(at.program).toString('utf8', 0, length),
    family: buffer.readUInt16LE(at.family.offset),
    type: buffer.readUInt16LE(at.type.offset),
    protocol: buffer.readUInt16LE(at.protocol.offset),
  };
}
