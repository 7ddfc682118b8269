/** Pods from the node snapshots of ipam-sync (`bailiff_pods`). */
import { decodeToken, openBucket } from '@bailiff/bus';
import { CLUSTER_KEY, decodeSnapshotValue, nodeSnapshot, type PodIdentity } from '@bailiff/schemas';
import { matchesPod, type PodSelector, podName } from '../arguments.ts';
import { CliError } from '../errors.ts';
import type { Session } from '../session.ts';
import { parseJson } from './nodes.ts';

export interface PlacedPod extends PodIdentity {
  nodeName: string;
  /** Revision of the node's snapshot. */
  listRevision: number;
}

/** All pods. @throws BusError */
export async function readPods({ bus, out }: Session): Promise<PlacedPod[]> {
  const entries = await openBucket(bus, 'bailiff_pods').entries();
  return entries.flatMap(({ key, value }) => {
    if (key === CLUSTER_KEY) return [];
    const snapshot = parseJson(decodeSnapshotValue(value), nodeSnapshot);
    if (typeof snapshot === 'string') {
      out.note(`cannot read the pod snapshot ${key}: ${snapshot}`);
      return [];
    }
    const nodeName = decodeToken(key);
    if (snapshot.nodeName !== nodeName) {
      out.note(`cannot read the pod snapshot ${key}: it names node ${snapshot.nodeName}`);
      return [];
    }
    return snapshot.pods.map((pod) => ({ ...pod, nodeName, listRevision: snapshot.revision }));
  });
}

/** The one pod that a selector selects. Pure. @throws CliError CLI_NOT_FOUND | CLI_USAGE */
export function onePod(pods: readonly PlacedPod[], selector: PodSelector): PlacedPod {
  const [first, ...more] = pods.filter((pod) => matchesPod(selector, pod));
  if (!first) {
    throw new CliError('CLI_NOT_FOUND', `no pod "${selector.text}" exists`, {
      remedy:
        'check the name; `bailiff timeline` shows deleted pods. While ipam-sync runs, a new pod appears within a second after it is bound to a node',
    });
  }
  if (more.length === 0) return first;
  const names = [first, ...more].map((pod) => `${podName(pod)} on ${pod.nodeName}, uid ${pod.uid}`);
  throw new CliError('CLI_USAGE', `"${selector.text}" selects ${names.length} pods`, {
    remedy: `use namespace/name or a uid:\n${names.slice(0, 8).join('\n')}`,
  });
}
