/** The facts that problems are derived from. A reader fills them in; judge.ts judges them. */
import type { InstanceStatus, NodeStatus } from '@bailiff/schemas';
import type { StreamInfo } from '../status/service-health.ts';
import type { ServiceStatus } from '../status/service-status.ts';
import type { CertificateFacts } from './certificates.ts';
import type { DeadLetters } from './dead-letters.ts';
import type { ActiveDisarm, ConfigValue } from './enforcement.ts';

export interface StoredConfig extends ConfigValue {
  /** In the bucket. */
  revision: number;
  /** Bus time. */
  storedMs: number;
}

/** The clock of the writer of a status, whose times were converted to bus time. */
export interface OwnClock {
  /** Against the bus when it stored the status; absent: not known. */
  clockAheadMs?: number;
}
export type ReportedNode = NodeStatus & OwnClock;
export type ReportedInstance = InstanceStatus & OwnClock;

/** A key whose newest change the signers of the reader refuse, or of which they miss a change. */
export interface UnsignedConfig {
  key: string;
  reason: string;
}

/** What was read, all at about the same time. */
export interface ClusterFacts {
  /** Status by node; a string is the reason why it cannot be parsed. */
  nodes: ReadonlyMap<string, ReportedNode | string>;
  /** The cluster's nodes; null if unknown. */
  expected: readonly string[] | null;
  config: readonly StoredConfig[];
  /** Empty if the reader has no signers. */
  unsigned: readonly UnsignedConfig[];
  /** Keys of which CONFIG_LOG, which services read, has another value than the bucket; null: it could not be read. */
  unlogged: readonly string[] | null;
  disarms: readonly ActiveDisarm[];
  instances: readonly ReportedInstance[];
  /** Null if it could not be read. */
  services: ServiceStatus | null;
  /** By name; null if the stream does not exist. */
  streams: ReadonlyMap<string, StreamInfo | null>;
  deadLetters: DeadLetters;
  certificates: CertificateFacts;
  /** Bus time: the clocks of the reader and of the nodes may be wrong. */
  nowMs: number;
  /** A node without a status for this long is silent. */
  staleMs: number;
}
