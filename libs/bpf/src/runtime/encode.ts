/**
 * Encodes the records of the LSM programs as bytes of their maps, and decodes them again.
 *
 * Data path: collector → maps.ts → here. Offsets come from layout.gen.ts, so they match the object.
 * Invariants: pure. Every buffer has exactly the size of the struct and no unwritten byte. A number
 * out of range is a programmer's error (assert). libs/runtime encodes the entries of a policy set
 * (heads, paths, values).
 */
import assert from 'node:assert/strict';
import { checkU32 } from '../core/integers.ts';
import {
  PodUidLayout,
  RtBirthLayout,
  RtCacheControlLayout,
  RtSettingsLayout,
  RtTotalsLayout,
  SocketMakerLayout,
  SubjectFlagValues,
  SubjectLayout,
} from './layout.gen.ts';

/** Policy of a pod or of one of its containers, as the kernel reads it. */
export interface RuntimeSubject {
  /** 0: no policy. */
  readonly set: number;
  /**
   * First counter cell, and the number of cells: one per rule of the set and RUNTIME_EXTRA_CELLS
   * behind them.
   */
  readonly counterBase: number;
  readonly counterCount: number;
  /** Never 0. New for each pair of set and cells that this subject receives. */
  readonly generation: number;
  /** 0 to maxSubjects - 1, unique among live subjects. */
  readonly bucket: number;
  /** True if containers of the pod have subjects of their own. */
  readonly hasContainers: boolean;
  /** CLOCK_BOOTTIME. Until then block and kill are judged as audit. 0n: armed. */
  readonly auditUntilNs: bigint;
}

export interface RuntimeSettings {
  /** 16 random bytes per pin directory. Never changes while sets are loaded. */
  readonly hashKey: Buffer;
  /** Inode number of the mount namespace of container runtimes. */
  readonly hostMountNs: number;
  readonly sampleBurst: number;
  readonly samplesPerSecond: number;
  /** RUNTIME_ABI of the release that created the maps. */
  readonly abi: number;
  /** Size of rt_tasks. Pods share it: each may hold as many entries as are free. */
  readonly maxTasks: number;
}

/** Addresses of the kernel's locks whose counters say that names or mounts changed. */
export interface CacheLocks {
  readonly rename: bigint;
  readonly mount: bigint;
}

export interface CacheControl {
  readonly epoch: bigint;
  /** Null: nothing is cached. */
  readonly locks: CacheLocks | null;
}

/** The process that created a raw or packet socket. */
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

/** UID of a pod as 32 hex digits, without dashes and underscores. Null if the text is no UID. */
export function normalPodUid(text: string): string | null {
  const digits = text.replace(/[-_]/g, '').toLowerCase();
  return UID.test(digits) ? digits : null;
}

/** Encodes `struct pod_uid` from 32 hex digits, with or without dashes. */
export function encodePodUid(uid: string): Buffer {
  const digits = normalPodUid(uid);
  assert(digits !== null, `not a pod's UID: ${uid}`);
  assert.equal(PodUidLayout.size, 16);
  return Buffer.from(digits, 'hex');
}

/** UID of a pod as 32 hex digits. */
export function decodePodUid(buffer: Buffer): string {
  return buffer.toString('hex');
}

/** Encodes `struct subject`. */
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

/** Decodes `struct subject`, for example after a restart. */
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

/** Encodes `struct rt_settings`. */
export function encodeRuntimeSettings(settings: RuntimeSettings): Buffer {
  const at = RtSettingsLayout;
  const buffer = Buffer.alloc(at.size);
  assert.equal(settings.hashKey.length, at.hashKey.size, 'a hash key has 16 bytes');
  settings.hashKey.copy(buffer, at.hashKey.offset);
  buffer.writeUInt32LE(checkU32(settings.hostMountNs, 'hostMountNs'), at.hostMountNs.offset);
  buffer.writeUInt32LE(checkU32(settings.sampleBurst, 'sampleBurst'), at.sampleBurst.offset);
  buffer.writeUInt32LE(checkU32(settings.samplesPerSecond, 'samplesPerSecond'), at.samplesPerSecond.offset);
  buffer.writeUInt32LE(checkU32(settings.abi, 'abi'), at.abi.offset);
  buffer.writeUInt32LE(checkU32(settings.maxTasks, 'maxTasks'), at.maxTasks.offset);
  return buffer;
}

/** Decodes `struct rt_settings`. */
export function decodeRuntimeSettings(buffer: Buffer): RuntimeSettings {
  const at = RtSettingsLayout;
  return {
    hashKey: Buffer.from(buffer.subarray(at.hashKey.offset, at.hashKey.offset + at.hashKey.size)),
    hostMountNs: buffer.readUInt32LE(at.hostMountNs.offset),
    sampleBurst: buffer.readUInt32LE(at.sampleBurst.offset),
    samplesPerSecond: buffer.readUInt32LE(at.samplesPerSecond.offset),
    abi: buffer.readUInt32LE(at.abi.offset),
    maxTasks: buffer.readUInt32LE(at.maxTasks.offset),
  };
}

/** Encodes `struct rt_cache_control`. */
export function encodeCacheControl({ epoch, locks }: CacheControl): Buffer {
  const at = RtCacheControlLayout;
  const buffer = Buffer.alloc(at.size);
  buffer.writeBigUInt64LE(epoch, at.epoch.offset);
  buffer.writeBigUInt64LE(locks?.rename ?? 0n, at.renameLock.offset);
  buffer.writeBigUInt64LE(locks?.mount ?? 0n, at.mountLock.offset);
  return buffer;
}

/** Decodes `struct rt_cache_control`. */
export function decodeCacheControl(buffer: Buffer): CacheControl {
  const at = RtCacheControlLayout;
  const [rename, mount] = [buffer.readBigUInt64LE(at.renameLock.offset), buffer.readBigUInt64LE(at.mountLock.offset)];
  return { epoch: buffer.readBigUInt64LE(at.epoch.offset), locks: mount === 0n ? null : { rename, mount } };
}

/** Decodes the time of `struct rt_birth`, CLOCK_BOOTTIME; undefined: not known. */
export function decodeBirth(buffer: Buffer): bigint | undefined {
  return buffer.readBigUInt64LE(RtBirthLayout.ns.offset) || undefined;
}

/** Decodes the tasks of `struct rt_totals`. */
export function decodeTasks(buffer: Buffer): number {
  return buffer.readInt32LE(RtTotalsLayout.tasks.offset);
}

/** Text up to the first zero byte, such as the kernel's comm. */
export function untilZero(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end < 0 ? bytes.length : end);
}

/** Decodes `struct socket_maker`. */
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
