/**
 * Status of the nodes (`bailiff_nodes`), and the cluster's list of nodes (`bailiff_pods/_cluster`).
 */
import { decodeToken, encodeToken, type KvEntry, openBucket } from '@bailiff/bus';
import type { ReportedNode } from '@bailiff/response';
import { CLUSTER_KEY, clusterSnapshot, decodeSnapshotValue, nodeStatus } from '@bailiff/schemas';
import { Turns } from '@bailiff/service/turns';
import type * as z from 'zod';
import type { Reader } from '../reader.ts';
import { atBusTime } from './own-times.ts';

/** The parsed value, or a string with the reason why it cannot be parsed. Pure. */
export function parseJson<T>(json: string, schema: z.ZodType<T>): T | string {
  let raw: unknown;
  try {
    raw = JSON.parse(json);
  } catch {
    return 'not JSON';
  }
  const result = schema.safeParse(raw);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  return `${issue?.path.map(String).join('.') || 'the document'}: ${issue?.message ?? 'invalid'}`;
}

/**
 * Status by node, with bus times: a wrong clock on the node makes a status neither silent nor fresh. A string
 * is the reason why it cannot be parsed.
 */
export async function readNodes({ bus }: Pick<Reader, 'bus'>): Promise<Map<string, ReportedNode | string>> {
  const entries = await openBucket(bus, 'bailiff_nodes').entries('>', { injected: true });
  const turns = new Turns();
  const nodes = new Map<string, ReportedNode | string>();
  for (const entry of entries) {
    await turns.due();
    nodes.set(decodeToken(entry.key), statusOf(entry));
  }
  return nodes;
}

/** Of one node; null if it has never reported. @throws BusError */
export async function readNode({ bus }: Pick<Reader, 'bus'>, name: string): Promise<ReportedNode | string | null> {
  const entry = await openBucket(bus, 'bailiff_nodes').get(encodeToken(name));
  return entry && statusOf(entry);
}

/** The key names the node, because only the node may write it. */
function statusOf({ key, value, timestampMicros, injected }: KvEntry): ReportedNode | string {
  if (injected) return 'it was not stored by a collector';
  const status = parseJson(value.toString('utf8'), nodeStatus);
  if (typeof status === 'string') return status;
  if (status.nodeName !== decodeToken(key)) return `it names node ${status.nodeName}`;
  return atBusTime(status, timestampMicros / 1000);
}

/** Node names from ipam-sync; null if it has published none. */
export async function readExpectedNodes({ bus }: Reader): Promise<string[] | null> {
  const entry = await openBucket(bus, 'bailiff_pods').get(CLUSTER_KEY);
  const snapshot = entry && parseJson(decodeSnapshotValue(entry.value), clusterSnapshot);
  return snapshot === null || typeof snapshot === 'string' ? null : snapshot.nodes.map(({ name }) => name);
}
