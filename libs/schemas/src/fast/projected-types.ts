/** The fields of a frame that correlation reads, and their types. All other fields are skipped. */
import type {
  OperationSample,
  PacketSample,
  PodRef,
  SocketProcess,
  Violation,
  ViolationFrame,
} from '../generated/types.gen.ts';

/** Kept fields by record. */
export const KEPT = {
  ViolationFrame: ['nodeName', 'frameSequence', 'violations'],
  Violation: [
    'kind',
    'vector',
    'action',
    'state',
    'counterEpoch',
    'cumulativePackets',
    'count',
    'suppressed',
    'firstSeenAt',
    'lastSeenAt',
    'pod',
    'sample',
    'operation',
    'severity',
  ],
  PodRef: ['uid', 'namespace', 'name', 'ownerKind', 'ownerName', 'ownerUid'],
  PacketSample: ['claimedMac', 'claimedAddress', 'destinationAddress', 'destinationPort', 'process'],
  SocketProcess: ['tgid', 'uid', 'comm', 'executable', 'containerName'],
  OperationSample: ['operation', 'subject', 'tgid', 'uid', 'comm', 'executable', 'parentExecutable', 'containerName'],
} as const;

/** Fields that all violations of one counter have in common. */
export type CounterFields = Pick<Violation, 'kind' | 'vector' | 'action' | 'state' | 'counterEpoch'>;
export type JudgedPod = Pick<PodRef, (typeof KEPT.PodRef)[number]>;
export type JudgedProcess = Pick<SocketProcess, (typeof KEPT.SocketProcess)[number]>;
export type JudgedSample = Omit<Pick<PacketSample, (typeof KEPT.PacketSample)[number]>, 'process'> & {
  process: JudgedProcess | null;
};
export type JudgedOperation = Pick<OperationSample, (typeof KEPT.OperationSample)[number]>;
/** The counter of a violation and the pod that it was attributed to. */
export interface CounterIdentity extends Readonly<CounterFields> {
  readonly pod: JudgedPod | null;
  /**
   * Small index for arrays that cache something by identity; -1: the identity is not kept. Indexes
   * are reused when the reader drops its identities, so a cache must compare the object as well.
   */
  readonly number: number;
}
export type JudgedViolation = Omit<Pick<Violation, (typeof KEPT.Violation)[number]>, 'pod' | 'sample' | 'operation'> & {
  pod: JudgedPod | null;
  sample: JudgedSample | null;
  operation: JudgedOperation | null;
  /** One object for all violations of a counter with the same pod. Absent if fast-frame-reader.ts did not read the violation. */
  identity?: CounterIdentity;
};
export type JudgedFrame = Omit<Pick<ViolationFrame, (typeof KEPT.ViolationFrame)[number]>, 'violations'> & {
  violations: JudgedViolation[];
};
