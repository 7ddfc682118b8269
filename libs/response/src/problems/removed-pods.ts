/**
 * Pods that a node still runs although their removal succeeded: the API server had no such pod. It may
 * be that of another cluster, or the containers outlive a removal by force. Pure.
 */
import type { InterfaceStatus } from '@bailiff/schemas';
import { shortList } from '../status/text.ts';
import type { ClusterFacts } from './facts.ts';
import { interfaceName } from './nodes.ts';
import { MAX_NAMED, notEnforced, type Problem } from './problem.ts';

/** Containers and their network end within this time of their object, also after a removal by force. */
const GONE_WITHIN_MS = 60_000;
const REMEDY =
  '`kubectl get pods -A` with the kubeconfig of this cluster: if it lists them, the responder uses the API server of another one. Otherwise end their containers on the node';

export function removedPodProblems({ nodes, services }: Pick<ClusterFacts, 'nodes' | 'services'>): Problem[] {
  const removed = new Map((services?.responder.removed ?? []).map(({ podUid, atMs }) => [podUid, atMs]));
  if (removed.size === 0) return [];
  return [...nodes].flatMap(([node, status]) => {
    if (typeof status === 'string') return [];
    const reportedMs = Date.parse(status.updatedAt);
    const isLeft = ({ podUid, orphaned }: InterfaceStatus): boolean =>
      !orphaned && reportedMs - (removed.get(podUid) ?? Number.POSITIVE_INFINITY) > GONE_WITHIN_MS;
    const left = status.interfaces.filter(isLeft);
    if (left.length === 0) return [];
    const names = shortList(left.map(interfaceName), MAX_NAMED);
    return [notEnforced(node, `still runs ${names}, although the removal of the pod succeeded`, REMEDY, 'services')];
  });
}
