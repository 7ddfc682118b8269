/**
 * Where each policy is in force: compares the stored policies with the status of every node. Pure.
 *
 * A node counts only if its status reports this revision as in force. A node without a recent
 * status counts as `silent` or `missing`. Former nodes do not count: the bus keeps their status for a month.
 */
import type { NodeStatus, RuntimePolicyStatus } from '@bailiff/schemas';
import { age, lastQuoted, proposed, quoted, reportedName } from './text.ts';

/** The fields of a node's status that this file uses. */
export type PlaceStatus = Pick<
  NodeStatus,
  'updatedAt' | 'collectorVersion' | 'configRefused' | 'runtime' | 'spoofRevision'
>;

/**
 * pending: the node has not applied this revision yet. refused: the node rejected it. unavailable:
 * the node cannot enforce policies. off: disabled on the node. silent: its status is too old.
 * missing: it has no status.
 */
export type PlaceState = 'in-force' | 'pending' | 'refused' | 'unavailable' | 'off' | 'silent' | 'missing';

export interface Place {
  node: string;
  state: PlaceState;
  /** Revision on the node; null if its status has none. */
  revision: number | null;
  /** Number of pods and containers that it applies to. */
  subjects: number;
  /** Words of the node are quoted, here and in `remedy`. */
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
  /** Status by node; a string is the reason why it cannot be read. */
  nodes: ReadonlyMap<string, PlaceStatus | string>;
  /** Nodes of the cluster; null if unknown. */
  expected: readonly string[] | null;
  /** Age of that list. Default: it is current. */
  listAgeMs?: number;
  /** Bus time. */
  nowMs: number;
  staleMs: number;
}
export interface StatusInput extends NodesInput {
  policies: readonly { key: string; revision: number; enabled: boolean }[];
}

const INSTALL = 'start the collector on the node; if it does not start, see its log and `bailiff doctor` on the node';

/** Reason of `pending`: the node or the service has not applied this revision. */
export const NOT_APPLIED = 'not applied yet';

const none = { revision: null, subjects: 0 };

/** Why the status of a node does not count; null if it does. */
function silence(status: PlaceStatus | string | undefined, nowMs: number, staleMs: number): Omit<Place, 'node'> | null {
  if (status === undefined)
    return { ...none, state: 'missing', reason: 'no collector has ever reported', remedy: INSTALL };
  if (typeof status === 'string') {
    const remedy = 'upgrade its collector, or use the bailiff command of its version';
    return { ...none, state: 'missing', reason: `its status cannot be read: ${quoted(status)}`, remedy };
  }
  const ageMs = nowMs - Date.parse(status.updatedAt);
  if (ageMs > staleMs) {
    const reason = `silent for ${age(ageMs)}; its policies stay in force`;
    return { ...none, state: 'silent', reason, remedy: 'check its collector: run `collector status` on the node' };
  }
  return null;
}

/** Why a node enforces no policies; null if it does. */
export function nodeObstacle(
  status: PlaceStatus | string | undefined,
  nowMs: number,
  staleMs: number,
): Omit<Place, 'node'> | null {
  const silent = silence(status, nowMs, staleMs);
  if (silent) return silent;
  const { runtime, collectorVersion } = status as PlaceStatus;
  if (!runtime) {
    const remedy = `upgrade its collector (${reportedName(collectorVersion)})`;
    return { ...none, state: 'unavailable', reason: 'its collector does not support runtime policies', remedy };
  }
  if (runtime.state === 'available') return null;
  if (runtime.state === 'off') {
    return {
      ...none,
      state: 'off',
      reason: quoted(runtime.reason) || 'disabled on the node',
      remedy: proposed(runtime.remedy),
    };
  }
  return {
    ...none,
    state: 'unavailable',
    reason: `LSM ${runtime.state}: ${quoted(runtime.reason)}`,
    remedy: proposed(runtime.remedy),
  };
}

/** @param unsigned why the node refuses the newest value before it reads it; absent: it does not */
function placeOf(
  found: RuntimePolicyStatus | undefined,
  revision: number,
  omitted: number,
  unsigned: string | undefined,
): Omit<Place, 'node'> {
  if (unsigned !== undefined) {
    const { revision: present = null, subjects = 0 } = found ?? {};
    return { state: 'refused', revision: present, subjects, reason: lastQuoted(unsigned), remedy: '' };
  }
  if (!found) {
    const reason = omitted > 0 ? 'its status has no room for all policies' : NOT_APPLIED;
    return { state: 'pending', revision: null, subjects: 0, reason, remedy: '' };
  }
  const { state, reason, subjects } = found;
  const base = { revision: found.revision, subjects, remedy: '' };
  if (found.revision !== revision) return { ...base, state: 'pending', reason: `still at revision ${found.revision}` };
  if (state === 'refused') return { ...base, state, reason: lastQuoted(reason) };
  return { ...base, state: 'in-force', reason: '' };
}

/** Whether a node is no longer one of the cluster: it was silent when the list of nodes was current. */
export function isRemovedNode(
  node: string,
  ageMs: number,
  { expected, listAgeMs = 0, staleMs }: Pick<NodesInput, 'expected' | 'listAgeMs' | 'staleMs'>,
): boolean {
  return expected !== null && ageMs - listAgeMs > staleMs && !expected.includes(node);
}

/** Statuses by node, without those of nodes that are no longer of the cluster. */
export function presentStatuses<S extends PlaceStatus | string>(
  input: Omit<NodesInput, 'nodes'> & { nodes: ReadonlyMap<string, S> },
): (readonly [string, S])[] {
  return [...input.nodes].filter(
    ([node, status]) =>
      typeof status === 'string' || !isRemovedNode(node, input.nowMs - Date.parse(status.updatedAt), input),
  );
}

interface PlacedNode {
  node: string;
  /** Why its status does not count; null if it does. */
  silent: Omit<Place, 'node'> | null;
  /** Why it enforces no runtime policies; null if it does. */
  obstacle: Omit<Place, 'node'> | null;
  status: PlaceStatus | null;
  policies: ReadonlyMap<string, RuntimePolicyStatus>;
  /** Policies for which its status has no room. */
  omitted: number;
  /** Reason by refused key. */
  refused: ReadonlyMap<string, string>;
}

/** Nodes of one reading: what all policies need of them is read once, not for each policy. */
export class NodePlaces {
  readonly #nodes: readonly PlacedNode[];

  constructor(input: NodesInput) {
    const names = new Set([...presentStatuses(input).map(([node]) => node), ...(input.expected ?? [])]);
    this.#nodes = [...names].sort().map((node) => placedNode(node, input));
  }

  get size(): number {
    return this.#nodes.length;
  }

  /**
   * Where a spoof policy is in force: on each node that has read the bucket up to this revision and
   * did not refuse the key.
   * @param policy bucketRevision: revision of the bucket entry, not of the value
   */
  ofSpoof(policy: { key: string; bucketRevision: number }): Place[] {
    return this.#nodes.map(({ node, silent, status, refused }): Place => {
      if (silent) return { node, ...silent };
      const { spoofRevision, collectorVersion } = status as PlaceStatus;
      if (spoofRevision === undefined) {
        const remedy = `upgrade its collector (${reportedName(collectorVersion)})`;
        return {
          ...none,
          node,
          state: 'unavailable',
          reason: 'its collector does not report its spoof revision',
          remedy,
        };
      }
      const place = { node, revision: spoofRevision, subjects: 0, remedy: '' };
      if (spoofRevision < policy.bucketRevision) return { ...place, state: 'pending', reason: NOT_APPLIED };
      const reason = refused.get(policy.key);
      return reason === undefined
        ? { ...place, state: 'in-force', reason: '' }
        : { ...place, state: 'refused', reason: lastQuoted(reason) };
    });
  }

  /** Where a runtime policy is in force. */
  ofRuntime({ key, revision }: { key: string; revision: number }): Place[] {
    return this.#nodes.map(({ node, obstacle, policies, omitted, refused }): Place => {
      if (obstacle) return { node, ...obstacle };
      return { node, ...placeOf(policies.get(key), revision, omitted, refused.get(key)) };
    });
  }
}

function placedNode(node: string, { nodes, nowMs, staleMs }: NodesInput): PlacedNode {
  const read = nodes.get(node);
  const status = typeof read === 'object' ? read : null;
  const { policies: reported = [], policiesOmitted: omitted = 0 } = status?.runtime ?? {};
  // The first one of a key counts.
  const policies = reported.toReversed().map((one) => [one.key, one] as const);
  const refused = (status?.configRefused ?? []).toReversed().map(({ key, reason }) => [key, reason] as const);
  return {
    node,
    silent: silence(read, nowMs, staleMs),
    obstacle: nodeObstacle(read, nowMs, staleMs),
    status,
    policies: new Map(policies),
    omitted,
    refused: new Map(refused),
  };
}

/** Where each runtime policy is in force, in the given order. */
export function policyPlaces({ policies, ...input }: StatusInput): PolicyPlaces[] {
  const nodes = new NodePlaces(input);
  return policies.map(({ key, revision, enabled }) => {
    const places = nodes.ofRuntime({ key, revision });
    const inForce = places.filter(({ state }) => state === 'in-force');
    const subjects = inForce.reduce((sum, place) => sum + place.subjects, 0);
    return { key, revision, enabled, places, inForce: inForce.length, nodes: nodes.size, subjects };
  });
}
