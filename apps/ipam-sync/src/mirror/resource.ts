/** The fields of a custom resource that the mirror keeps. Pure. */
import type { KubeObject } from '@bailiff/kube';
import type { ResourceKind } from '@bailiff/policy';

export interface Condition {
  type: string;
  status: 'True' | 'False' | 'Unknown';
  observedGeneration?: number;
  /** RFC 3339, whole seconds. */
  lastTransitionTime: string;
  reason: string;
  message: string;
}
export interface ResourceStatus {
  observedGeneration?: number;
  configKey?: string;
  configRevision?: number;
  inForce?: string;
  conditions?: Condition[];
}

export interface MirroredResource {
  kind: ResourceKind;
  name: string;
  uid: string;
  generation: number;
  resourceVersion: string;
  createdAt: string;
  spec: Readonly<Record<string, unknown>>;
  status: ResourceStatus;
}

/** Converts an object of the API server. */
export function mirroredResource(kind: ResourceKind, object: KubeObject): MirroredResource {
  const { metadata, spec, status } = object as KubeObject & {
    metadata: { generation?: number };
    spec?: Record<string, unknown>;
    status?: ResourceStatus;
  };
  return {
    kind,
    name: metadata.name,
    uid: metadata.uid,
    generation: metadata.generation ?? 0,
    resourceVersion: metadata.resourceVersion,
    createdAt: metadata.creationTimestamp ?? '',
    spec: spec ?? {},
    status: status ?? {},
  };
}
