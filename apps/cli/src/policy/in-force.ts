/**
 * Whether a pod's policies hold where it runs, so that what a set decides is not told as what happens where nothing enforces it. By
 * what its node reports: of the node, of each policy there, and of the pods for which what should hold cannot.
 */
import { nodeObstacle, type PlaceStatus, policyPlaces } from '@bailiff/response';
import type { NodeStatus } from '@bailiff/schemas';
import { readNodes } from '../shared/read/nodes.ts';
import type { PlacedPod } from '../shared/read/pods.ts';
import type { Session } from '../shared/session.ts';

/** A node that has said nothing for this long is silent; as `policy status` has it unless told otherwise. */
const STALE_MS = 60_000;

export type PodPlaceStatus = PlaceStatus & Pick<NodeStatus, 'interfaces' | 'snapshotRevision'>;
type Told = PodPlaceStatus | string | undefined;

/** `not in force on node-1: LSM unavailable: EPERM`; null when the node enforces, or is silent: what was in force there still is. Pure. */
export function notInForce(node: string, status: PlaceStatus | string | undefined, nowMs: number): string | null {
  const obstacle = nodeObstacle(status, nowMs, STALE_MS);
  if (!obstacle || obstacle.state === 'silent') return null;
  return `not in force on ${node}: ${obstacle.reason}`;
}

/** A decision of a set that nothing enforces: `would be blocked`. Pure. */
export const conditional = (text: string): string =>
  text.replace(/ is blocked( and its process killed)?: /, ' would be blocked$1: ');

export type PodPlaceState = 'in force' | 'not yet' | 'refused' | 'not in force' | 'not known';

/** Of one policy that selects the pod. */
export interface PodPlace {
  key: string;
  state: PodPlaceState;
  /** Empty when it is in force. */
  reason: string;
}

/** The pod may not be known to its node yet: nothing there speaks of it, and the list that it is in was not taken. */
function unheardOf({ uid, hostNetwork, listRevision }: PlacedPod, status: PodPlaceStatus): boolean {
  if (hostNetwork || status.interfaces.some(({ podUid }) => podUid === uid)) return false;
  return status.snapshotRevision < listRevision;
}

/**
 * Of each policy that selects a pod, whether the pod is held to it; in the order given. Pure.
 * @param policies revision: as stored
 */
export function podPlaces(
  pod: PlacedPod,
  policies: readonly { key: string; revision: number }[],
  status: Told,
  nowMs: number,
): PodPlace[] {
  const { nodeName: node, uid } = pod;
  const all = (state: PodPlaceState, reason: string) => policies.map(({ key }) => ({ key, state, reason }));
  const obstacle = nodeObstacle(status, nowMs, STALE_MS);
  if (obstacle?.state === 'silent') return all('not known', `${node} is ${obstacle.reason}`);
  if (obstacle) return all('not in force', `${node}: ${obstacle.reason}`);
  const told = status as PodPlaceStatus;
  const { refusedSubjects, refusedSubjectsOmitted = 0 } = told.runtime ?? {};
  const mine = refusedSubjects?.filter(({ podUid }) => podUid === uid) ?? [];
  if (mine[0]) {
    const { container, reason } = mine[0];
    const where = container === null ? '' : `container ${container}: `;
    return all('refused', `${where}${reason}; what it had before still holds`);
  }
  if (unheardOf(pod, told)) return all('not yet', `${node} has not taken the list that this pod is in`);
  const enabled = policies.map((one) => ({ ...one, enabled: true }));
  const nodes = new Map([[node, told]]);
  return policyPlaces({ policies: enabled, nodes, expected: null, nowMs, staleMs: STALE_MS }).map(({ key, places }) => {
    const place = places[0];
    if (!place || place.state === 'pending')
      return { key, state: 'not yet', reason: `${node}: ${place?.reason ?? ''}` };
    if (place.state !== 'refused') return { key, state: 'in force', reason: '' };
    // The node says so of a policy that any of its pods cannot have; which ones, it says beside.
    const ofAnother = refusedSubjects?.some(({ reason }) => reason.split('\n').at(-1) === place.reason) ?? false;
    if (ofAnother && refusedSubjectsOmitted === 0) return { key, state: 'in force', reason: '' };
    const state = ofAnother || refusedSubjects === undefined ? 'not known' : 'refused';
    const whose = state === 'not known' ? 'refused for a pod there, which may be this one: ' : '';
    return { key, state, reason: `${node}: ${whose}${place.reason}` };
  });
}

/** @throws BusError */
export async function readNotInForce(session: Session, node: string): Promise<string | null> {
  return notInForce(node, (await readNodes(session)).get(node), session.io.nowMs());
}

/** `not in force on node-1: LSM unavailable: EPERM`, `refused here: too many rules`. */
export const placeText = ({ state, reason }: Pick<PodPlace, 'state' | 'reason'>): string =>
  state === 'not in force' ? `not in force on ${reason}` : `${state} here: ${reason}`;

/** What keeps a decision about a pod from being more than one of the books; null when nothing is known to. Pure. */
export function podLacking(places: readonly PodPlace[]): string | null {
  const lacking = places.find(({ state }) => state !== 'in force' && state !== 'not known');
  return lacking ? placeText(lacking) : null;
}

/** @throws BusError */
export async function readPodPlaces(
  session: Session,
  pod: PlacedPod,
  policies: readonly { key: string; revision: number }[],
): Promise<PodPlace[]> {
  return podPlaces(pod, policies, (await readNodes(session)).get(pod.nodeName), session.io.nowMs());
}
