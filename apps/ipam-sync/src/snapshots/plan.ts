/**
 * State → desired snapshots in `bailiff_pods`, for each node and the cluster, in one canonical
 * order, with digests for comparison. Pure.
 */
import { createHash } from 'node:crypto';
import { MAX_REVISION } from '@bailiff/policy';
import {
  type ClusterIdentity,
  type ClusterSnapshot,
  encodeSnapshotValue,
  LIST_LIMITS,
  MAX_SNAPSHOT_BYTES,
  MAX_SNAPSHOT_JSON_BYTES,
  type NodeSnapshot,
  type PodIdentity,
  type TunnelService,
  workloadOf,
} from '@bailiff/schemas';
import { granted, type Permits } from '../pods/grants.ts';
import type { Owner, PodRecord } from '../pods/records.ts';
import type { ClusterState } from './cluster-state.ts';
import type { EndedPods } from './ended-pods.ts';
import { type Candidate, fitStored, inTurns, mostOmitted, precedes } from './fit.ts';

/** Confirmed controllers of a pod, lowest first. */
export type OwnerLookup = (pod: PodRecord) => Owner[];

export interface PlanInput {
  state: ClusterState;
  permits: Permits;
  ownersOf: OwnerLookup;
  /** Label names that policies select by. */
  selectedBy: ReadonlySet<string>;
  ended: Pick<EndedPods, 'of'>;
}

/** Snapshot of a node without revision; null if neither the node nor a pod on it exists. */
export function planNode(nodeName: string, input: PlanInput): Omit<NodeSnapshot, 'revision'> | null {
  const records = input.state.podsOf(nodeName);
  if (records === null) return null;
  const staticUids = staticUidsOf(records);
  const candidates = [
    ...records.map((record) => ({
      ...turnOf(record),
      identity: () => ({ ...identityOf(record, input), uid: staticUids.get(record) ?? record.uid }),
    })),
    ...input.ended.of(nodeName).map((pod) => ({
      namespace: pod.namespace,
      uid: pod.uid,
      createdAt: pod.createdAt,
      runs: true,
      identity: () => endedIdentity(pod, input),
    })),
  ];
  const pods = fitStored(
    inTurns(candidates).map(({ identity }) => identity()),
    input.selectedBy,
  ).sort((a, b) => compare(a.uid, b.uid));
  const byNamespace = new Map(input.state.withoutRecordOn(nodeName));
  const count = (namespace: string, by: number) => byNamespace.set(namespace, (byNamespace.get(namespace) ?? 0) + by);
  for (const { namespace } of candidates) count(namespace, 1);
  for (const { namespace } of pods) count(namespace, -1);
  const omitted = [...byNamespace.values()].reduce((sum, pods) => sum + pods, Number(input.state.hasUnknownPods));
  if (omitted === 0) return { nodeName, pods };
  return { nodeName, pods, omitted, omittedFrom: mostOmitted(byNamespace) };
}

/**
 * The UIDs of static pods, by which the node reports them. A tenant can claim one too, also before the kubelet
 * makes the mirror. The kubelet runs no pod that claims one, so only a mirror that runs has it, of several the
 * oldest: otherwise reports on the static pod would contradict the list, and count against the node.
 */
function staticUidsOf(records: readonly PodRecord[]): Map<PodRecord, string> {
  const byUid = new Map<string, PodRecord>();
  for (const record of records) {
    if (record.staticUid === undefined || !turnOf(record).runs) continue;
    const other = byUid.get(record.staticUid);
    if (!other || precedes(turnOf(record), turnOf(other))) byUid.set(record.staticUid, record);
  }
  return new Map([...byUid].map(([uid, record]) => [record, uid]));
}

/** Only the kubelet writes addresses and container ids, so they prove that it has started the pod. */
function turnOf({ namespace, uid, createdAt, addresses, containers }: PodRecord): Candidate {
  return { namespace, uid, createdAt, runs: addresses.length > 0 || containers.some(({ id }) => id !== '') };
}

/** An ended pod keeps the addresses that no other pod claims, and the grants that are permitted. */
function endedIdentity(pod: PodIdentity, { state, permits }: PlanInput): PodIdentity {
  const { allowedPrefixes, allowedMacs = [], allowedTunnels = [], allowedNeighbours = [], ...rest } = pod;
  const interfaces = pod.interfaces
    .map((one) => ({ ...one, addresses: one.addresses.filter((address) => !state.isClaimed(address)) }))
    .filter(({ addresses }) => addresses.length > 0);
  const had = (values: string[]) => ({ values, refused: 0 });
  const requests = {
    prefixes: had(allowedPrefixes),
    macs: had(allowedMacs),
    tunnels: had(allowedTunnels),
    neighbours: had(allowedNeighbours),
  };
  const { namespace, serviceAccount } = pod;
  const permitted = { namespace, serviceAccount, workload: workloadOf(pod) };
  return { ...rest, interfaces, ...grantFields(granted(requests, permitted, permits)) };
}

function grantFields({ prefixes, macs, tunnels, neighbours }: ReturnType<typeof granted>) {
  return {
    allowedPrefixes: prefixes,
    ...(macs.length > 0 ? { allowedMacs: macs } : {}),
    ...(tunnels.length > 0 ? { allowedTunnels: tunnels } : {}),
    ...(neighbours.length > 0 ? { allowedNeighbours: neighbours } : {}),
  };
}

const compare = (a: string, b: string): number => (a < b ? -1 : Number(a > b));

/** Snapshot of the cluster without revision. */
export function planCluster(
  state: ClusterState,
  tunnelServices: readonly TunnelService[] = [],
  cluster: ClusterIdentity = { uid: '', name: '' },
): Omit<ClusterSnapshot, 'revision'> {
  const nodes = state.nodes().sort((a, b) => (a.name < b.name ? -1 : 1));
  return {
    nodes,
    ...(tunnelServices.length === 0 ? {} : { tunnelServices: [...tunnelServices] }),
    ...(cluster.uid === '' && cluster.name === '' ? {} : { cluster }),
  };
}

export function identityOf(
  record: PodRecord,
  { state, permits, ownersOf }: Pick<PlanInput, 'state' | 'permits' | 'ownersOf'>,
): PodIdentity {
  const addresses = record.addresses.filter((address) => state.holds(record.uid, address));
  const owners = state.isAltered(record.uid) ? [] : ownersOf(record);
  const { namespace, serviceAccount, name } = record;
  const workload = workloadOf({ name, owners, unowned: owners.length === 0 });
  return {
    uid: record.uid,
    namespace: record.namespace,
    name: record.name,
    labels: record.labels,
    serviceAccount: record.serviceAccount,
    owners,
    // Without an address there is no interface entry; an empty one would contradict the node's CNI
    // record.
    interfaces: addresses.length === 0 ? [] : [{ name: 'eth0', addresses, mac: null }],
    hostNetwork: record.hostNetwork,
    containers: record.containers,
    ...grantFields(granted(record.requests, { namespace, serviceAccount, workload }, permits)),
    probePorts: record.probePorts,
    revision: record.revision,
    createdAt: record.createdAt,
    ...(record.cut ? { cut: true } : {}),
    ...(owners.length === 0 ? { unowned: true } : {}),
  };
}

/** Digest of a snapshot without revisions. Equal digests need no write. */
export function digestOf(snapshot: Omit<NodeSnapshot, 'revision'> | Omit<ClusterSnapshot, 'revision'>): string {
  const content =
    'pods' in snapshot ? { ...snapshot, pods: snapshot.pods.map((pod) => ({ ...pod, revision: 0 })) } : snapshot;
  return createHash('sha256')
    .update(JSON.stringify({ ...content, revision: 0 }))
    .digest('base64');
}

/**
 * Revision of the next write of a key: above the last one, and above those of a lost bucket
 * (milliseconds since the epoch exceed any number of writes). A foreign client may have stored the
 * highest one, after which the numbers begin again: readers follow the order of the bus.
 */
export function nextRevision(last: number, nowMs: number): number {
  return last < MAX_REVISION ? Math.max(last + 1, Math.floor(nowMs)) : Math.floor(nowMs);
}

/** Encodes a snapshot; `refused` is set if it exceeds a limit. */
export function encodeSnapshot(snapshot: object, revision: number): { refused: boolean; value: Buffer } {
  const json = JSON.stringify({ ...snapshot, revision });
  const value = encodeSnapshotValue(json);
  const { pods = [], nodes = [] } = snapshot as { pods?: unknown[]; nodes?: unknown[] };
  const isTooMany = pods.length > LIST_LIMITS.pods.items || nodes.length > LIST_LIMITS.nodes.items;
  const isTooLarge = value.length > MAX_SNAPSHOT_BYTES || Buffer.byteLength(json) > MAX_SNAPSHOT_JSON_BYTES;
  return { refused: isTooLarge || isTooMany, value };
}
