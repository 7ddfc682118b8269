/** Pods from the node snapshots of ipam-sync (`bailiff_pods`). */
import { decodeToken, openBucket } from '@bailiff/bus';
import { CLUSTER_KEY, decodeSnapshotValue, nodeSnapshot, type PodIdentity } from '@bailiff/schemas';
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
  return entries.flatMap(({ key, value }) => {
    if (key === CLUSTER_KEY) return [];
    const snapshot = parseJson(decodeSnapshotValue(value), nodeSnapshot);
    if (typeof snapshot === 'string') {
      note(`cannot read the pod snapshot ${key}: ${snapshot}`);
      return [];
    }
    const nodeName = decodeToken(key);
    if (snapshot.nodeName !== nodeName) {
      note(`cannot read the pod snapshot ${key}: it names node ${snapshot.nodeName}`);
      return [];
    }
    return snapshot.pods.map((pod) => ({ ...pod, nodeName, listRevision: snapshot.revision }));
  });
}
