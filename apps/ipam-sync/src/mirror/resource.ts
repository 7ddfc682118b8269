/** The fields of a custom resource that the mirror keeps. Pure. */
import type { KubeObject } from '@bailiff/kube';
import {
  parseSignature,
  type ResourceChange,
  type ResourceKind,
  resourceChange,
  SIGNATURE_ANNOTATION,
} from '@bailiff/policy';

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
  /** Null: this generation has no record of its author. */
  change: ResourceChange | null;
  spec: Readonly<Record<string, unknown>>;
  /** Annotation; empty: there is none, or it is no signature. */
  signature: string;
  status: ResourceStatus;
}

/** Converts an object of the API server. */
export function mirroredResource(kind: ResourceKind, object: KubeObject): MirroredResource {
  const { metadata, spec, status } = object as KubeObject & {
    metadata: { generation?: number; annotations?: Record<string, string> };
    spec?: Record<string, unknown>;
    status?: ResourceStatus;
  };
  const generation = metadata.generation ?? 0;
  const signature = metadata.annotations?.[SIGNATURE_ANNOTATION] ?? '';
  return {
    kind,
    name: metadata.name,
    uid: metadata.uid,
    generation,
    change: resourceChange(metadata.annotations, { uid: metadata.uid, generation }),
    resourceVersion: metadata.resourceVersion,
    createdAt: metadata.creationTimestamp ?? '',
    spec: spec ?? {},
    signature: parseSignature(signature) ? signature : '',
    status: status ?? {},
  };
}
