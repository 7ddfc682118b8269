/**
 * What ipam-sync puts under `bailiff_pods/<node>` and `bailiff_pods/_cluster`: one snapshot a key, as snapshot-value.ts stores it. A collector
 * applies a snapshot only when its revision is newer than the one it has.
 */
import * as z from 'zod';
import { filled, list, record, text } from './limited.ts';

export const podIdentity = z.object({
  uid: filled('uid'),
  namespace: filled('name'),
  name: filled('name'),
  labels: record('labels', text('label'), text('label')),
  serviceAccount: text('name'),
  /** From the pod upwards: [{ReplicaSet}, {Deployment}]. Only those that the API server confirms. */
  owners: list('owners', z.object({ kind: text('name'), name: text('name'), uid: text('uid') })),
  /** `name` is the interface inside the pod (eth0); the API server knows no MAC, so ipam-sync writes null. */
  interfaces: list(
    'addresses',
    z.object({ name: text('word'), addresses: list('addresses', text('word')), mac: text('word').nullable() }),
  ),
  hostNetwork: z.boolean(),
  containers: list('containers', z.object({ name: text('name'), id: text('uid') })),
  /** Prefixes granted by annotation and by the administrator, both. */
  allowedPrefixes: list('addresses', text('word')),
  /** Ports that the kubelet probes: a quarantined pod still answers them. */
  probePorts: list('addresses', z.object({ port: z.number().int(), protocol: z.enum(['TCP', 'UDP']) })),
  /** Grows with the pod's resourceVersion; a late message of a dead pod never wins. */
  revision: z.number(),
  /** ISO time; when the pod was created, to order users of one address. */
  createdAt: text('word'),
  /** Labels, containers, ports or owners were left out or cut, because they were above their limits. Absent: none. */
  cut: z.boolean().optional(),
  /** No controller is confirmed to have made it. Absent: one is, or an older ipam-sync wrote the snapshot. */
  unowned: z.boolean().optional(),
});
export type PodIdentity = z.infer<typeof podIdentity>;

/**
 * Name of the workload at the top of the owner chain; null for a pod that no controller is confirmed to have made. Its own name does not count: who may
 * create a pod may give it the name of a workload.
 */
export function workloadOf(pod: Pick<PodIdentity, 'name' | 'owners' | 'unowned'>): string | null {
  if (pod.unowned === true) return null;
  return pod.owners.at(-1)?.name ?? pod.name;
}

export const nodeSnapshot = z.object({
  nodeName: filled('name'),
  /** Monotonic for the key: a snapshot with a lower one is refused. */
  revision: z.number().int().nonnegative(),
  pods: list('pods', podIdentity),
  /** Pods of the node that are not in the list, because it is full. Absent: none. A node is not blamed for reporting one. */
  omitted: z.number().int().nonnegative().optional(),
});
export type NodeSnapshot = z.infer<typeof nodeSnapshot>;

export const clusterSnapshot = z.object({
  revision: z.number().int().nonnegative(),
  nodes: list(
    'nodes',
    z.object({
      name: text('name'),
      addresses: list('addresses', text('word')),
      podCidrs: list('addresses', text('word')),
    }),
  ),
});
export type ClusterSnapshot = z.infer<typeof clusterSnapshot>;

export const CLUSTER_KEY = '_cluster';
