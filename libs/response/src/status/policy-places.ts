/**
 * Where each policy is in force: what is stored against what every node says. Pure.
 *
 * A node counts when it says of this very revision that it holds; of one that is silent, or has not said anything yet, nothing is assumed.
 */
import type { NodeStatus, RuntimePolicyStatus } from '@bailiff/schemas';
import { age } from './age.ts';

/** What is asked of a node's status here. */
export type PlaceStatus = Pick<
  NodeStatus,
  'updatedAt' | 'collectorVersion' | 'configRefused' | 'runtime' | 'spoofRevision'
>;

/**
 * pending: the node has not taken this revision yet. refused: it cannot hold there. unavailable: the node enforces no policies. off: not wanted
 * there. silent: what it said last is too old; missing: it never said anything.
 */
export type PlaceState = 'in-force' | 'pending' | 'refused' | 'unavailable' | 'off' | 'silent' | 'missing';

export interface Place {
  node: string;
  state: PlaceState;
  /** That the node has; null when it says none. */
  revision: number | null;
  /** Pods and containers that it holds for. */
  subjects: number;
  reason: string;
  remedy: string;
}

export interface PolicyPlaces {
  key: string;
  revision: number;
  enabled: boolean;
  places: Place[];
  inForce: number;
  nodes: number;
  subjects: number;
}

export interface NodesInput {
  /** A string says why a status cannot be read. */
  nodes: ReadonlyMap<string, PlaceStatus | string>;
  /** Nodes that the cluster has; null when nobody says. */
  expected: readonly string[] | null;
  nowMs: number;
  staleMs: number;
}
export interface StatusInput extends NodesInput {
  policies: readonly { key: string; revision: number; enabled: boolean }[];
}

const INSTALL = 'start the collector there, or see why it does not come up (its log, `bailiff doctor` on the node)';

const none = { revision: null, subjects: 0 };

/** Why nothing that a node says counts; null when it does. */
function silence(status: PlaceStatus | string | undefined, nowMs: number, staleMs: number): Omit<Place, 'node'> | null {
  if (status === undefined)
    return { ...none, state: 'missing', reason: 'no collector has ever reported', remedy: INSTALL };
  if (typeof status === 'string') {
    const remedy = 'its collector is of another version';
    return { ...none, state: 'missing', reason: `its status cannot be read: ${status}`, remedy };
  }
  const ageMs = nowMs - Date.parse(status.updatedAt);
  if (ageMs > staleMs) {
    const reason = `silent for ${age(ageMs)}: what was in force there still is`;
    return { ...none, state: 'silent', reason, remedy: 'is its collector running? On the node: collector status' };
  }
  return null;
}

/** Why a node enforces no policy at all; null when it does. */
export function nodeObstacle(
  status: PlaceStatus | string | undefined,
  nowMs: number,
  staleMs: number,
): Omit<Place, 'node'> | null {
  const silent = silence(status, nowMs, staleMs);
  if (silent) return silent;
  const { runtime, collectorVersion } = status as PlaceStatus;
  if (!runtime) {
    const remedy = `a newer one than ${collectorVersion}`;
    return { ...none, state: 'unavailable', reason: 'its collector knows no runtime policies', remedy };
  }
  if (runtime.state === 'available') return null;
  if (runtime.state === 'off') {
    return { ...none, state: 'off', reason: runtime.reason || 'not wanted there', remedy: runtime.remedy };
  }
  return { ...none, state: 'unavailable', reason: `LSM ${runtime.state}: ${runtime.reason}`, remedy: runtime.remedy };
}

function placeOf(found: RuntimePolicyStatus | undefined, revision: number, omitted: number): Omit<Place, 'node'> {
  if (!found) {
    const reason = omitted > 0 ? 'its status has no room for all policies' : 'it has not taken it yet';
    return { state: 'pending', revision: null, subjects: 0, reason, remedy: '' };
  }
  const { state, reason, subjects } = found;
  const base = { revision: found.revision, subjects, remedy: '' };
  if (found.revision !== revision) return { ...base, state: 'pending', reason: `still at revision ${found.revision}` };
  if (state === 'refused') return { ...base, state, reason: reason.split('\n').at(-1) ?? reason };
  return { ...base, state: 'in-force', reason: '' };
}

const namesOf = ({ nodes, expected }: Pick<NodesInput, 'nodes' | 'expected'>) =>
  [...new Set([...nodes.keys(), ...(expected ?? [])])].sort();

/**
 * Of a spoof policy: in force where the node has read the configuration as far as this and refused nothing under the key.
 * @param policy bucketRevision: of the bucket, not the value's
 */
export function spoofPlaces(
  policy: { key: string; bucketRevision: number },
  { nodes, expected, nowMs, staleMs }: NodesInput,
): Place[] {
  return namesOf({ nodes, expected }).map((node): Place => {
    const silent = silence(nodes.get(node), nowMs, staleMs);
    if (silent) return { node, ...silent };
    const { spoofRevision, configRefused, collectorVersion } = nodes.get(node) as PlaceStatus;
    if (spoofRevision === undefined) {
      const remedy = `a newer one than ${collectorVersion}`;
      return { ...none, node, state: 'unavailable', reason: 'its collector does not tell what it has read', remedy };
    }
    const place = { node, revision: spoofRevision, subjects: 0, remedy: '' };
    if (spoofRevision < policy.bucketRevision) return { ...place, state: 'pending', reason: 'it has not taken it yet' };
    const refused = configRefused.find(({ key }) => key === policy.key);
    return refused
      ? { ...place, state: 'refused', reason: refused.reason }
      : { ...place, state: 'in-force', reason: '' };
  });
}

/** By policy, in the order given. */
export function policyPlaces({ policies, nodes, expected, nowMs, staleMs }: StatusInput): PolicyPlaces[] {
  const names = namesOf({ nodes, expected });
  const obstacles = new Map(names.map((node) => [node, nodeObstacle(nodes.get(node), nowMs, staleMs)]));
  return policies.map(({ key, revision, enabled }) => {
    const places = names.map((node): Place => {
      const obstacle = obstacles.get(node);
      if (obstacle) return { node, ...obstacle };
      const { runtime } = nodes.get(node) as PlaceStatus;
      const found = runtime?.policies.find((one) => one.key === key);
      return { node, ...placeOf(found, revision, runtime?.policiesOmitted ?? 0) };
    });
    const inForce = places.filter(({ state }) => state === 'in-force');
    const subjects = inForce.reduce((sum, place) => sum + place.subjects, 0);
    return { key, revision, enabled, places, inForce: inForce.length, nodes: names.length, subjects };
  });
}
