/**
 * Whether a pod's policies are in force on its node, from the node's status. Prevents decisions of
 * a policy set from being shown as facts where no engine enforces them.
 */

import type { PlacedPod } from '@bailiff/insight';
import { readBusTime, readNodes } from '@bailiff/insight';
import {
  lastQuoted,
  nodeObstacle,
  type PlaceStatus,
  policyPlaces,
  quoted,
  reportedName,
  STALE_NODE_MS,
} from '@bailiff/response';
import type { NodeStatus } from '@bailiff/schemas';
import type { Session } from '../session.ts';

export type PodPlaceStatus = PlaceStatus & Pick<NodeStatus, 'interfaces' | 'snapshotRevision'>;
type ReportedStatus = PodPlaceStatus | string | undefined;

/**
 * `not in force on node-1: LSM unavailable: EPERM`. Null if the node enforces, or is silent: then
 * its last policies stay in force. Pure.
 */
export function notInForce(node: string, status: PlaceStatus | string | undefined, nowMs: number): string | null {
  const obstacle = nodeObstacle(status, nowMs, STALE_NODE_MS);
  if (!obstacle || obstacle.state === 'silent') return null;
  return `not in force on ${node}: ${obstacle.reason}`;
}

/** The text of a decision that is not enforced: `would be blocked`. Pure. */
export const asHypothetical = (text: string): string =>
  text.replace(/ is blocked( and its process killed)?: /, ' would be blocked$1: ');

export type PodPlaceState = 'in force' | 'not yet' | 'refused' | 'not in force' | 'not known';

/** One policy that selects the pod. */
export interface PodPlace {
  key: string;
  state: PodPlaceState;
  /** Empty if it is in force. */
  reason: string;
}

/**
 * The node may not know the pod yet: it reports no interface of the pod, and has not received its
 * snapshot.
 */
function isUnknownToNode({ uid, hostNetwork, listRevision }: PlacedPod, status: PodPlaceStatus): boolean {
  if (hostNetwork || status.interfaces.some(({ podUid }) => podUid === uid)) return false;
  return status.snapshotRevision < listRevision;
}

/**
 * Whether each policy that selects a pod is in force for it, in the given order. Pure.
 * @param policies with their stored revisions
 */
export function podPlaces(
  pod: PlacedPod,
  policies: readonly { key: string; revision: number }[],
  status: ReportedStatus,
  nowMs: number,
): PodPlace[] {
  const { nodeName: node, uid } = pod;
  const all = (state: PodPlaceState, reason: string) => policies.map(({ key }) => ({ key, state, reason }));
  const obstacle = nodeObstacle(status, nowMs, STALE_NODE_MS);
  if (obstacle?.state === 'silent') return all('not known', `${node} is ${obstacle.reason}`);
  if (obstacle) return all('not in force', `${node}: ${obstacle.reason}`);
  const reported = status as PodPlaceStatus;
  const { refusedSubjects, refusedSubjectsOmitted = 0 } = reported.runtime ?? {};
  const own = refusedSubjects?.filter(({ podUid }) => podUid === uid) ?? [];
  if (own[0]) {
    const { container, reason } = own[0];
    const where = container === null ? '' : `container ${reportedName(container)}: `;
    return all('refused', `${where}${quoted(reason)}; its previous policies stay in force`);
  }
  if (isUnknownToNode(pod, reported)) return all('not yet', `${node} has not received the snapshot with this pod`);
  const enabled = policies.map((one) => ({ ...one, enabled: true }));
  const nodes = new Map([[node, reported]]);
  return policyPlaces({ policies: enabled, nodes, expected: null, nowMs, staleMs: STALE_NODE_MS }).map(
    ({ key, places }) => {
      const place = places[0];
      if (!place || place.state === 'pending')
        return { key, state: 'not yet', reason: `${node}: ${place?.reason ?? ''}` };
      if (place.state !== 'refused') return { key, state: 'in force', reason: '' };
      // A node reports a policy as refused if it does not fit one of its pods; `refusedSubjects`
      // lists those pods.
      const ofAnother = refusedSubjects?.some(({ reason }) => lastQuoted(reason) === place.reason) ?? false;
      if (ofAnother && refusedSubjectsOmitted === 0) return { key, state: 'in force', reason: '' };
      const state = ofAnother || refusedSubjects === undefined ? 'not known' : 'refused';
      const whose = state === 'not known' ? 'refused for a pod there, possibly this one: ' : '';
      return { key, state, reason: `${node}: ${whose}${place.reason}` };
    },
  );
}

/** `not in force on node-1: LSM unavailable: EPERM`, `refused here: too many rules`. */
export const placeText = ({ state, reason }: Pick<PodPlace, 'state' | 'reason'>): string =>
  state === 'not in force' ? `not in force on ${reason}` : `${state} here: ${reason}`;

/** Why a decision about the pod is not enforced; null if no obstacle is known. Pure. */
export function podObstacle(places: readonly PodPlace[]): string | null {
  const obstacle = places.find(({ state }) => state !== 'in force' && state !== 'not known');
  return obstacle ? placeText(obstacle) : null;
}

/** @throws BusError */
export async function readPodPlaces(
  session: Session,
  pod: PlacedPod,
  policies: readonly { key: string; revision: number }[],
): Promise<PodPlace[]> {
  const [nodes, nowMs] = await Promise.all([readNodes(session), readBusTime(session)]);
  return podPlaces(pod, policies, nodes.get(pod.nodeName), nowMs);
}
