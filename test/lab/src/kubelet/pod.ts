/**
 * The part of a Pod that kubelet and replica controller look at, and the API paths they use. Pure.
 */
import { apiPath, type KubeObject, type Pod } from '@bailiff/kube';

/** A pod that shows what a node runs by itself: no kubelet starts it from what the API server says. */
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
  /** Empty when nobody controls it. */
  controllerUid: string;
  /** Null while the pod is not being deleted; then the seconds between SIGTERM and SIGKILL. */
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
