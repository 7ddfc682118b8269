/** The fields of a Pod that kubelet and replica controller use, and their API paths. Pure. */
import { apiPath, type KubeObject, type Pod } from '@bailiff/kube';

/** Marks a mirror of a process that the node runs by itself; the kubelet does not start it. */
export const MIRROR_ANNOTATION = 'kubernetes.io/config.mirror';

export interface LabPod {
  uid: string;
  namespace: string;
  name: string;
  /** Empty while the pod is not bound. */
  nodeName: string;
  annotations: Record<string, string>;
  phase: string;
  ready: boolean;
  /** Empty without a controller. */
  controllerUid: string;
  /** Seconds between SIGTERM and SIGKILL; null unless the pod is terminating. */
  deletionGraceSeconds: number | null;
  containerName: string;
  image: string;
}

type PodWithDeletion = Pod & { metadata: { deletionGracePeriodSeconds?: number } };

export function readPod(object: KubeObject): LabPod {
  const { metadata, spec, status } = object as PodWithDeletion;
  const container = spec?.containers?.[0] as { name: string; image?: string } | undefined;
  return {
    uid: metadata.uid,
    namespace: metadata.namespace ?? '',
    name: metadata.name,
    nodeName: spec?.nodeName ?? '',
    annotations: metadata.annotations ?? {},
    phase: status?.phase ?? 'Pending',
    ready: status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') ?? false,
    controllerUid: metadata.ownerReferences?.find((owner) => owner.controller)?.uid ?? '',
    deletionGraceSeconds: metadata.deletionTimestamp ? (metadata.deletionGracePeriodSeconds ?? 0) : null,
    containerName: container?.name ?? '',
    image: container?.image ?? '',
  };
}

export const podPath = (pod: Pick<LabPod, 'namespace' | 'name'>) =>
  apiPath`/api/v1/namespaces/${pod.namespace}/pods/${pod.name}`;
