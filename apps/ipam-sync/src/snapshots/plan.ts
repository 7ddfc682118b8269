/**
 * State → desired snapshots in `bailiff_pods`, for each node and the cluster, in one canonical
 * order, with digests for comparison. Pure.
 */
import { createHash } from 'node:crypto';
import { MAX_REVISION } from '@bailiff/policy';
import {
  type ClusterSnapshot,
  encodeSnapshotValue,
  LIST_LIMITS,
  MAX_SNAPSHOT_BYTES,
  MAX_SNAPSHOT_JSON_BYTES,
  type NodeSnapshot,
  PLAIN_SNAPSHOT_BYTES,
  type PodIdentity,
  type TunnelService,
  workloadOf,
} from '@bailiff/schemas';
import { granted, type Permits } from '../pods/grants.ts';
import type { Owner, PodRecord } from '../pods/records.ts';
import type { ClusterState } from './cluster-state.ts';
import type { EndedPods } from './ended-pods.ts';

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
  const kept = fairly(records, LIST_LIMITS.pods.items);
  const ended = input.ended.of(nodeName).slice(0, LIST_LIMITS.pods.items - kept.length);
  const pods = [
    ...kept.map((record) => identityOf(record, input)),
    ...ended.map((pod) => withoutAddresses(pod, input.state)),
  ].sort((a, b) => (a.uid < b.uid ? -1 : 1));
  const omitted = records.length - kept.length + input.state.omittedOn(nodeName);
  return { nodeName, pods: fitStored(pods, input.selectedBy), ...(omitted > 0 ? { omitted } : {}) };
}

/**
 * At most `most` pods. Namespaces add their oldest pods in turn, so that no namespace displaces
 * another.
 */
function fairly(records: readonly PodRecord[], most: number): readonly PodRecord[] {
  if (records.length <= most) return records;
  const turns = new Map<string, number>();
  const oldestFirst = records.toSorted((a, b) => compare(a.createdAt, b.createdAt) || compare(a.uid, b.uid));
  const ranked = oldestFirst.map((record, index) => {
    const turn = turns.get(record.namespace) ?? 0;
    turns.set(record.namespace, turn + 1);
    return { record, turn, index };
  });
  const order = ranked.sort((a, b) => a.turn - b.turn || a.index - b.index);
  return order.slice(0, most).map(({ record }) => record);
}

/** An ended pod keeps the addresses that no other pod claims. */
function withoutAddresses(pod: PodIdentity, state: ClusterState): PodIdentity {
  const interfaces = pod.interfaces
    .map((one) => ({ ...one, addresses: one.addresses.filter((address) => !state.isClaimed(address)) }))
    .filter(({ addresses }) => addresses.length > 0);
  return { ...pod, interfaces };
}

const compare = (a: string, b: string): number => (a < b ? -1 : Number(a > b));

/** Size of a snapshot without pods. */
const FRAME_BYTES = 1024;

/**
 * Pods that fit into a stored snapshot. Tenants control how well the JSON compresses, for example
 * with random labels. While the compressed snapshot is too large, the limit of its JSON is halved;
 * PLAIN_SNAPSHOT_BYTES of JSON always fit.
 */
function fitStored(pods: readonly PodIdentity[], selectedBy: ReadonlySet<string>): PodIdentity[] {
  for (let maxBytes = MAX_SNAPSHOT_JSON_BYTES; ; maxBytes /= 2) {
    const fitted = fitPods(pods, maxBytes - FRAME_BYTES, selectedBy);
    if (maxBytes <= PLAIN_SNAPSHOT_BYTES) return fitted;
    if (encodeSnapshotValue(JSON.stringify(fitted)).length <= MAX_SNAPSHOT_BYTES - FRAME_BYTES) return fitted;
  }
}

/** Pods of a namespace, by their place in the list, and their bytes. */
interface NamespacePods {
  bytes: number;
  smallestFirst: { index: number; size: number }[];
}

/**
 * Pods that fit into a snapshot. While they do not fit, the largest pod of the namespace with most bytes
 * is reduced to the fields needed for enforcement, so that pods of one namespace remove neither
 * addresses nor containers of others. Labels that policies select by stay.
 */
export function fitPods(
  pods: readonly PodIdentity[],
  maxBytes: number,
  selectedBy: ReadonlySet<string>,
): PodIdentity[] {
  const fitted = [...pods];
  let total = 0;
  const namespaces = new Map<string, NamespacePods>();
  for (const [index, pod] of pods.entries()) {
    const size = sizeOf(pod);
    const own = namespaces.get(pod.namespace) ?? { bytes: 0, smallestFirst: [] };
    namespaces.set(pod.namespace, own);
    own.bytes += size;
    own.smallestFirst.push({ index, size });
    total += size;
  }
  if (total <= maxBytes) return fitted;
  for (const { smallestFirst } of namespaces.values())
    smallestFirst.sort((a, b) => a.size - b.size || b.index - a.index);
  while (total > maxBytes && namespaces.size > 0) {
    const [namespace, own] = mostBytes(namespaces);
    const largest = own.smallestFirst.pop();
    if (largest === undefined) {
      namespaces.delete(namespace);
      continue;
    }
    const pod = fitted[largest.index] as PodIdentity;
    const labels = Object.fromEntries(Object.entries(pod.labels).filter(([name]) => selectedBy.has(name)));
    const bare: PodIdentity = { ...pod, labels, containers: [], owners: pod.owners.slice(-1), cut: true };
    fitted[largest.index] = bare;
    const saved = largest.size - sizeOf(bare);
    total -= saved;
    own.bytes -= saved;
  }
  return fitted;
}

function mostBytes(namespaces: ReadonlyMap<string, NamespacePods>): [string, NamespacePods] {
  let most: [string, NamespacePods] = ['', { bytes: -1, smallestFirst: [] }];
  for (const one of namespaces) if (one[1].bytes > most[1].bytes) most = one;
  return most;
}

const sizeOf = (pod: PodIdentity): number => Buffer.byteLength(JSON.stringify(pod)) + 1;

/** Snapshot of the cluster without revision. */
export function planCluster(
  state: ClusterState,
  tunnelServices: readonly TunnelService[] = [],
): Omit<ClusterSnapshot, 'revision'> {
  const nodes = state.nodes().sort((a, b) => (a.name < b.name ? -1 : 1));
  return tunnelServices.length === 0 ? { nodes } : { nodes, tunnelServices: [...tunnelServices] };
}

export function identityOf(
  record: PodRecord,
  { state, permits, ownersOf }: Pick<PlanInput, 'state' | 'permits' | 'ownersOf'>,
): PodIdentity {
  const addresses = record.addresses.filter((address) => state.holds(record.uid, address));
  const owners = state.isAltered(record.uid) ? [] : ownersOf(record);
  const { namespace, serviceAccount, name } = record;
  const workload = workloadOf({ name, owners, unowned: owners.length === 0 });
  const grants = granted(record.requests, { namespace, serviceAccount, workload }, permits);
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
    allowedPrefixes: grants.prefixes,
    ...(grants.macs.length > 0 ? { allowedMacs: grants.macs } : {}),
    ...(grants.tunnels.length > 0 ? { allowedTunnels: grants.tunnels } : {}),
    ...(grants.neighbours.length > 0 ? { allowedNeighbours: grants.neighbours } : {}),
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
