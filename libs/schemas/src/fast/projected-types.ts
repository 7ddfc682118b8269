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
export type ProjectedPod = Pick<PodRef, (typeof KEPT.PodRef)[number]>;
export type ProjectedProcess = Pick<SocketProcess, (typeof KEPT.SocketProcess)[number]>;
export type ProjectedSample = Omit<Pick<PacketSample, (typeof KEPT.PacketSample)[number]>, 'process'> & {
  process: ProjectedProcess | null;
};
export type ProjectedOperation = Pick<OperationSample, (typeof KEPT.OperationSample)[number]>;
/** The counter of a violation and the pod that it was attributed to. */
export interface CounterIdentity extends Readonly<CounterFields> {
  readonly pod: ProjectedPod | null;
  /**
   * Small index for arrays that cache something by identity; -1: the identity is not kept. Indexes
   * are reused when the reader drops its identities, so a cache must compare the object as well.
   */
  readonly number: number;
}
export type ProjectedViolation = Omit<
  Pick<Violation, (typeof KEPT.Violation)[number]>,
  'pod' | 'sample' | 'operation'
> & {
  pod: ProjectedPod | null;
  sample: ProjectedSample | null;
  operation: ProjectedOperation | null;
  /** One object for all violations of a counter with the same pod. Absent if fast-frame-reader.ts did not read it. */
  identity?: CounterIdentity;
};
export type ProjectedFrame = Omit<Pick<ViolationFrame, (typeof KEPT.ViolationFrame)[number]>, 'violations'> & {
  violations: ProjectedViolation[];
};
