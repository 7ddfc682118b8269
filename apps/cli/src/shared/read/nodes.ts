/** What the nodes say of themselves (`bailiff_nodes`), and which nodes there are (`bailiff_pods/_cluster`). */
import { decodeToken, openBucket } from '@bailiff/bus';
import { CLUSTER_KEY, clusterSnapshot, decodeSnapshotValue, type NodeStatus, nodeStatus } from '@bailiff/schemas';
import type { Session } from '../session.ts';

interface Schema<T> {
  safeParse(
    value: unknown,
  ):
    | { success: true; data: T }
    | { success: false; error: { issues: readonly { path: PropertyKey[]; message: string }[] } };
}

/** The value, or a string that says why it cannot be read. Pure. */
export function parseJson<T>(json: string, schema: Schema<T>): T | string {
  let raw: unknown;
  try {
    raw = JSON.parse(json);
  } catch {
    return 'not JSON';
  }
  const result = schema.safeParse(raw);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  return `${issue?.path.map(String).join('.') || 'the whole'}: ${issue?.message ?? 'wrong shape'}`;
}

/**
 * A status as it was read, or a string that says why it cannot be. Its `updatedAt` is when the bus stored it: by a clock that is the same for all, so
 * that a node or a service whose own clock is wrong is neither called silent nor heard after its end.
 */
export function storedStatus<T extends { updatedAt: string }>(
  { value, timestampMicros }: { value: Buffer; timestampMicros: number },
  schema: Schema<T>,
): T | string {
  const status = parseJson(value.toString('utf8'), schema);
  if (typeof status === 'string') return status;
  return { ...status, updatedAt: new Date(timestampMicros / 1000).toISOString() };
}

/** By node; a string says why a status cannot be read. */
export async function readNodes({ bus }: Pick<Session, 'bus'>): Promise<Map<string, NodeStatus | string>> {
  const entries = await openBucket(bus, 'bailiff_nodes').entries();
  return new Map(entries.map((entry) => [decodeToken(entry.key), storedStatus(entry, nodeStatus)]));
}

/** Names of the cluster's nodes as ipam-sync sees them; null when it has not said. */
export async function readExpectedNodes({ bus }: Session): Promise<string[] | null> {
  const entry = await openBucket(bus, 'bailiff_pods').get(CLUSTER_KEY);
  const snapshot = entry && parseJson(decodeSnapshotValue(entry.value), clusterSnapshot);
  return snapshot === null || typeof snapshot === 'string' ? null : snapshot.nodes.map(({ name }) => name);
}
