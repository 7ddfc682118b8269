/**
 * Snapshots that ipam-sync writes under `bailiff_pods/<node>` and `bailiff_pods/_cluster`, one per key,
 * encoded by snapshot-value.ts. A collector applies a snapshot only if its revision is newer than the
 * last one.
 */
import * as z from 'zod';
import { filled, list, record, text } from './limited.ts';

export const podIdentity = z.object({
  uid: filled('uid'),
  namespace: filled('name'),
  name: filled('name'),
  labels: record('labels', text('label'), text('label')),
  serviceAccount: text('name'),
  /** From the pod upwards: [{ReplicaSet}, {Deployment}]. Only owners that the API server confirms. */
  owners: list('owners', z.object({ kind: text('name'), name: text('name'), uid: text('uid') })),
  /** `name` is the interface in the pod (eth0). The API server knows no MAC, so it is null. */
  interfaces: list(
    'addresses',
    z.object({ name: text('word'), addresses: list('addresses', text('word')), mac: text('word').nullable() }),
  ),
  hostNetwork: z.boolean(),
  containers: list('containers', z.object({ name: text('name'), id: text('uid') })),
  /** Prefixes granted by both annotation and administrator. */
  allowedPrefixes: list('addresses', text('word')),
  /** MACs granted in the same way. Absent: none. */
  allowedMacs: list('addresses', text('word')).optional(),
  /** Networks that the pod may send tunnels to, granted in the same way. Absent: none. */
  allowedTunnels: list('addresses', text('word')).optional(),
  /** Prefixes that the pod may also announce in ARP and ND, granted in the same way. Absent: none. */
  allowedNeighbours: list('addresses', text('word')).optional(),
  /** Ports that the kubelet probes: a quarantined pod still answers them. */
  probePorts: list('addresses', z.object({ port: z.number().int(), protocol: z.enum(['TCP', 'UDP']) })),
  /** Grows with the pod's resourceVersion. */
  revision: z.number(),
  /** Creation time (ISO), to order pods with the same address. */
  createdAt: text('word'),
  /** Labels, containers, ports or owners were omitted or cut at their limits. Absent: none. */
  cut: z.boolean().optional(),
  /** No confirmed controller. Absent: confirmed, or written by an older ipam-sync. */
  unowned: z.boolean().optional(),
  /** The API server no longer has the pod, but its node reports it. Absent: it has. */
  ended: z.boolean().optional(),
});
export type PodIdentity = z.infer<typeof podIdentity>;

/** A digest. UIDs of the API server have dashes, without which they are the same for the kernel's maps. */
const STATIC_UID = /^[0-9a-f]{32}$/;

/** Whether a UID is that of a static pod, which the API server does not know. */
export const isStaticUid = (uid: string): boolean => STATIC_UID.test(uid);

/**
 * Name of the workload at the top of the owner chain; null for a pod without a confirmed controller.
 * The pod's own name does not count: a user who may create pods can choose the name of a workload.
 */
export function workloadOf(pod: Pick<PodIdentity, 'name' | 'owners' | 'unowned'>): string | null {
  if (pod.unowned === true) return null;
  return pod.owners.at(-1)?.name ?? pod.name;
}

/** Pods that lists omit, by namespace. */
export const omittedFrom = list('listed', z.object({ namespace: text('name'), pods: z.number().int().nonnegative() }));

export const nodeSnapshot = z.object({
  nodeName: filled('name'),
  /** Grows for each key. Readers follow the order of the bucket. */
  revision: z.number().int().nonnegative(),
  pods: list('pods', podIdentity),
  /**
   * Pods of the node beyond the limits of the list: pods, bytes, memory. Absent: none. A node may report them without a
   * consequence.
   */
  omitted: z.number().int().nonnegative().optional(),
  /** Namespaces with most omitted pods. Absent: none, or written by an older ipam-sync. */
  omittedFrom: omittedFrom.optional(),
});
export type NodeSnapshot = z.infer<typeof nodeSnapshot>;

/** Names the cluster in events of several clusters. */
export const clusterIdentity = z.object({
  /** UID of the namespace `kube-system`; empty if ipam-sync may not read it. */
  uid: text('uid'),
  /** As the operator calls it; empty without a name. */
  name: text('name'),
});
export type ClusterIdentity = z.infer<typeof clusterIdentity>;

export const clusterSnapshot = z.object({
  revision: z.number().int().nonnegative(),
  /** Absent: neither is known, or written by an older ipam-sync. */
  cluster: clusterIdentity.optional(),
  nodes: list(
    'nodes',
    z.object({
      name: text('name'),
      addresses: list('addresses', text('word')),
      podCidrs: list('addresses', text('word')),
    }),
  ),
  /**
   * Addresses and UDP ports of Services that nodes translate to a tunnel port. An empty address is
   * every address of a node. Absent: none.
   */
  tunnelServices: list(
    'services',
    z.object({ address: text('word'), port: z.number().int().min(1).max(65_535) }),
  ).optional(),
});
export type TunnelService = NonNullable<z.infer<typeof clusterSnapshot>['tunnelServices']>[number];
export type ClusterSnapshot = z.infer<typeof clusterSnapshot>;

export const CLUSTER_KEY = '_cluster';
