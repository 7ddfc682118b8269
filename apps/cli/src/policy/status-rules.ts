/**
 * Where each policy is in force: what is stored against what every node says. Pure.
 *
 * A node counts when it says of this very revision that it holds; of one that is silent, or has not said anything yet, nothing is assumed.
 */
import type { NodeStatus, RuntimePolicyStatus } from '@bailiff/schemas';
import { EXIT, type ExitCode } from '@bailiff/service';
import { age } from '../text/time.ts';

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

export interface StatusInput {
  policies: readonly { key: string; revision: number; enabled: boolean }[];
  /** A string says why a status cannot be read. */
  nodes: ReadonlyMap<string, NodeStatus | string>;
  /** Nodes that the cluster has; null when nobody says. */
  expected: readonly string[] | null;
  nowMs: number;
  staleMs: number;
}

const INSTALL = 'start the collector there, or see why it does not come up (its log, `bailiff doctor` on the node)';

/** Why a node enforces no policy at all; null when it does. */
export function nodeObstacle(
  status: NodeStatus | string | undefined,
  nowMs: number,
  staleMs: number,
): Omit<Place, 'node'> | null {
  const none = { revision: null, subjects: 0 };
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
  const { runtime } = status;
  if (!runtime) {
    const remedy = `a newer one than ${status.collectorVersion}`;
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

/** By policy, in the order given. */
export function policyPlaces({ policies, nodes, expected, nowMs, staleMs }: StatusInput): PolicyPlaces[] {
  const names = [...new Set([...nodes.keys(), ...(expected ?? [])])].sort();
  const obstacles = new Map(names.map((node) => [node, nodeObstacle(nodes.get(node), nowMs, staleMs)]));
  return policies.map(({ key, revision, enabled }) => {
    const places = names.map((node): Place => {
      const obstacle = obstacles.get(node);
      if (obstacle) return { node, ...obstacle };
      const { runtime } = nodes.get(node) as NodeStatus;
      const found = runtime?.policies.find((one) => one.key === key);
      return { node, ...placeOf(found, revision, runtime?.policiesOmitted ?? 0) };
    });
    const inForce = places.filter(({ state }) => state === 'in-force');
    const subjects = inForce.reduce((sum, place) => sum + place.subjects, 0);
    return { key, revision, enabled, places, inForce: inForce.length, nodes: names.length, subjects };
  });
}

const EXIT_OF: Partial<Record<PlaceState, ExitCode>> = {
  missing: EXIT.dependencyUnreachable,
  silent: EXIT.dependencyUnreachable,
  pending: EXIT.dependencyUnreachable,
  unavailable: EXIT.kernelLacksFeature,
  refused: EXIT.badConfiguration,
};
const ORDER = [EXIT.dependencyUnreachable, EXIT.kernelLacksFeature, EXIT.badConfiguration];

/** Weighed as `bailiff status` does; a policy that is off asks nothing of a node. */
export function placesExitCode(policies: readonly PolicyPlaces[]): ExitCode {
  const asked = policies.filter(({ enabled }) => enabled);
  const codes = asked.flatMap(({ places }) => places.map(({ state }) => EXIT_OF[state] ?? EXIT.ok));
  return ORDER.find((code) => codes.includes(code)) ?? EXIT.ok;
}

export interface Reason {
  /** Of which policies; null when it is the node's and concerns all. */
  policies: string[] | null;
  nodes: string[];
  state: PlaceState;
  reason: string;
  remedy: string;
}

/** Every reason once, with the nodes and policies it is of; what concerns whole nodes first. */
export function reasonsOf(policies: readonly PolicyPlaces[]): Reason[] {
  const reasons = new Map<string, Reason>();
  for (const { key, enabled, places } of policies) {
    if (!enabled) continue;
    for (const { node, state, reason, remedy } of places) {
      if (state === 'in-force') continue;
      const ofNode = state !== 'pending' && state !== 'refused';
      const name = [ofNode ? '' : key, state, reason].join('\n');
      const known = reasons.get(name) ?? { policies: ofNode ? null : [key], nodes: [], state, reason, remedy };
      if (!known.nodes.includes(node)) known.nodes.push(node);
      reasons.set(name, known);
    }
  }
  return [...reasons.values()].sort((a, b) => Number(a.policies !== null) - Number(b.policies !== null));
}
