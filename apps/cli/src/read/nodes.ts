/** What the nodes say of themselves (`bailiff_nodes`), and which nodes there are (`bailiff_pods/_cluster`). */
import { decodeToken, openBucket } from '@bailiff/bus';
import { CLUSTER_KEY, clusterSnapshot, type NodeStatus, nodeStatus } from '@bailiff/schemas';
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

/** By node; a string says why a status cannot be read. */
export async function readNodes({ bus }: Pick<Session, 'bus'>): Promise<Map<string, NodeStatus | string>> {
  const entries = await openBucket(bus, 'bailiff_nodes').entries();
  return new Map(entries.map(({ key, value }) => [decodeToken(key), parseJson(value.toString('utf8'), nodeStatus)]));
}

/** Names of the cluster's nodes as ipam-sync sees them; null when it has not said. */
export async function readExpectedNodes({ bus }: Session): Promise<string[] | null> {
  const entry = await openBucket(bus, 'bailiff_pods').get(CLUSTER_KEY);
  const snapshot = entry && parseJson(entry.value.toString('utf8'), clusterSnapshot);
  return snapshot === null || typeof snapshot === 'string' ? null : snapshot.nodes.map(({ name }) => name);
}
