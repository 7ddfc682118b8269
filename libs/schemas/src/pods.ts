/**
 * What ipam-sync puts under `bailiff_pods/<node>` and `bailiff_pods/_cluster`: plain JSON, one snapshot a key. A collector applies
 * a snapshot only when its revision is newer than the one it has.
 */
import * as z from 'zod';

export const podIdentity = z.object({
  uid: z.string().min(1),
  namespace: z.string().min(1),
  name: z.string().min(1),
  labels: z.record(z.string(), z.string()),
  serviceAccount: z.string(),
  /** From the pod upwards: [{ReplicaSet}, {Deployment}]. */
  owners: z.array(z.object({ kind: z.string(), name: z.string(), uid: z.string() })),
  /** `name` is the interface inside the pod (eth0); the API server knows no MAC, so ipam-sync writes null. */
  interfaces: z.array(z.object({ name: z.string(), addresses: z.array(z.string()), mac: z.string().nullable() })),
  hostNetwork: z.boolean(),
  containers: z.array(z.object({ name: z.string(), id: z.string() })),
  /** Prefixes granted by annotation and by the administrator, both. */
  allowedPrefixes: z.array(z.string()),
  /** Ports that the kubelet probes: a quarantined pod still answers them. */
  probePorts: z.array(z.object({ port: z.number().int(), protocol: z.enum(['TCP', 'UDP']) })),
  /** Grows with the pod's resourceVersion; a late message of a dead pod never wins. */
  revision: z.number(),
  /** ISO time; when the pod was created, to order users of one address. */
  createdAt: z.string(),
});
export type PodIdentity = z.infer<typeof podIdentity>;

/** Name of the workload at the top of the owner chain; a bare pod is its own. */
export function workloadOf(pod: Pick<PodIdentity, 'name' | 'owners'>): string {
  return pod.owners.at(-1)?.name ?? pod.name;
}

export const nodeSnapshot = z.object({
  nodeName: z.string().min(1),
  /** Monotonic for the key: a snapshot with a lower one is refused. */
  revision: z.number().int().nonnegative(),
  pods: z.array(podIdentity),
});
export type NodeSnapshot = z.infer<typeof nodeSnapshot>;

export const clusterSnapshot = z.object({
  revision: z.number().int().nonnegative(),
  nodes: z.array(z.object({ name: z.string(), addresses: z.array(z.string()), podCidrs: z.array(z.string()) })),
});
export type ClusterSnapshot = z.infer<typeof clusterSnapshot>;

/** Largest snapshot that is put, in bytes of JSON; a larger one is refused and counted. */
export const MAX_SNAPSHOT_BYTES = 512 * 1024;
export const CLUSTER_KEY = '_cluster';
