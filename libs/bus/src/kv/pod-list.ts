/** Messages of `bailiff_pods` in the form in which pod inventories take them. Pure. */
import { CLUSTER_KEY, decodeSnapshotValue } from '@bailiff/schemas';
import type { StreamMessage } from '../streams/direct.ts';
import { decodeToken } from '../topology/subjects.ts';
import { isDeletion } from './bucket.ts';

const PREFIX = '$KV.bailiff_pods.';
/** A header that key-value clients set on a put. */
const REPLACES = 'Nats-Expected-Last-Subject-Sequence';

export interface StoredPodList {
  node: string;
  timestampMicros: number;
  /** Sequence in the bucket. */
  revision: number;
  /** Sequence of the list that it replaced, 0 = none; null = not known. */
  previousRevision: number | null;
  /** null if the node's key was deleted. */
  json: string | null;
}

/** The list that a message stores; null for the list of the cluster. */
export function podListOf(message: StreamMessage): StoredPodList | null {
  const { data, headers, sequence, subject, timestampMicros } = message;
  const key = subject.slice(PREFIX.length);
  if (key === CLUSTER_KEY) return null;
  const replaces = headers?.get(REPLACES) ?? '';
  return {
    node: decodeToken(key),
    timestampMicros,
    revision: sequence,
    previousRevision: /^\d+$/.test(replaces) ? Number(replaces) : null,
    json: isDeletion(message) ? null : decodeSnapshotValue(data),
  };
}
