/** Pods from the node snapshots of ipam-sync (`bailiff_pods`). */
import { decodeToken, openBucket } from '@bailiff/bus';
import { CLUSTER_KEY, decodeSnapshotValue, nodeSnapshot, type PodIdentity } from '@bailiff/schemas';
import { Turns } from '@bailiff/service/turns';
import type { Reader } from '../reader.ts';
import { parseJson } from './nodes.ts';

export interface PlacedPod extends PodIdentity {
  nodeName: string;
  /** Revision of the node's snapshot. */
  listRevision: number;
}

/** All pods. @throws BusError */
export async function readPods({ bus, note }: Reader): Promise<PlacedPod[]> {
  const entries = await openBucket(bus, 'bailiff_pods').entries();
  const turns = new Turns();
  const pods: PlacedPod[] = [];
  for (const { key, value } of entries) {
    await turns.due();
    if (key === CLUSTER_KEY) continue;
    const nodeName = decodeToken(key);
    const snapshot = parseJson(decodeSnapshotValue(value), nodeSnapshot);
    if (typeof snapshot === 'string') note(`cannot read the pod snapshot ${key}: ${snapshot}`);
    else if (snapshot.nodeName !== nodeName)
      note(`cannot read the pod snapshot ${key}: it names node ${snapshot.nodeName}`);
    else for (const pod of snapshot.pods) pods.push({ ...pod, nodeName, listRevision: snapshot.revision });
  }
  return pods;
}
