/** Pods as ipam-sync tells them (`bailiff_pods`): by labels policies select, by names people do. */
import { openBucket } from '@bailiff/bus';
import { CLUSTER_KEY, decodeSnapshotValue, nodeSnapshot, type PodIdentity } from '@bailiff/schemas';
import { CliError } from '../errors.ts';
import { isMeant, type PodSelector, podName } from '../selectors.ts';
import type { Session } from '../session.ts';
import { parseJson } from './nodes.ts';

export interface PlacedPod extends PodIdentity {
  nodeName: string;
  /** Of the node's list that it is in. */
  listRevision: number;
}

/** All of them. @throws BusError */
export async function readPods({ bus, out }: Session): Promise<PlacedPod[]> {
  const entries = await openBucket(bus, 'bailiff_pods').entries();
  return entries.flatMap(({ key, value }) => {
    if (key === CLUSTER_KEY) return [];
    const snapshot = parseJson(decodeSnapshotValue(value), nodeSnapshot);
    if (typeof snapshot === 'string') {
      out.note(`the list of pods under ${key} cannot be read: ${snapshot}`);
      return [];
    }
    return snapshot.pods.map((pod) => ({ ...pod, nodeName: snapshot.nodeName, listRevision: snapshot.revision }));
  });
}

/** The one that is meant. Pure. @throws CliError CLI_NOT_FOUND | CLI_USAGE */
export function onePod(pods: readonly PlacedPod[], selector: PodSelector): PlacedPod {
  const [first, ...more] = pods.filter((pod) => isMeant(selector, pod));
  if (!first) {
    throw new CliError('CLI_NOT_FOUND', `no pod "${selector.text}" is known`, {
      remedy:
        'is it deleted, or mistyped? `bailiff timeline` tells of pods that are gone; a new one is known some hundred ms after it is bound to a node, while ipam-sync runs',
    });
  }
  if (more.length === 0) return first;
  const names = [first, ...more].map((pod) => `${podName(pod)} on ${pod.nodeName}, uid ${pod.uid}`);
  throw new CliError('CLI_USAGE', `"${selector.text}" means ${names.length} pods`, {
    remedy: `say one by namespace/name or uid:\n${names.slice(0, 8).join('\n')}`,
  });
}
